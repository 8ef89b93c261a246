#!/usr/bin/env python3
"""Runs the checks against other implementations: run.py [PATTERN of *_test.py]. Last line: N passed, N failed, N skipped."""

import sys
import unittest
from pathlib import Path


class Result(unittest.TextTestResult):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.passed = 0

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1

    def addExpectedFailure(self, test, err):
        raise AssertionError("a known failure must not be expected")


def main():
    folder = Path(__file__).resolve().parent
    pattern = sys.argv[1] if len(sys.argv) > 1 else "*_test.py"
    sys.path.insert(0, str(folder))
    suite = unittest.defaultTestLoader.discover(str(folder), pattern)
    if suite.countTestCases() == 0:
        raise SystemExit(f"no test matches {pattern}")
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=Result).run(suite)
    for test, reason in result.skipped:
        print(f"SKIPPED {test}: {reason}")
    failed = result.failures + result.errors
    for test, _ in failed:
        print(f"FAILED {test}")
    print(f"{result.passed} passed, {len(failed)} failed, {len(result.skipped)} skipped")
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
