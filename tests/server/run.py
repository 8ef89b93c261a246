#!/usr/bin/env python3
"""run.py PROGRAM [PATTERN of *_test.py]: the server as its clients see it. Last line: N passed, N failed, N skipped."""

import os
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


def main():
    folder = Path(__file__).resolve().parent
    os.environ["MOXIE_PROGRAM"] = sys.argv[1]
    sys.path.insert(0, str(folder))
    suite = unittest.defaultTestLoader.discover(str(folder), sys.argv[2] if len(sys.argv) > 2 else "*_test.py")
    if suite.countTestCases() == 0:
        raise SystemExit("no test matches")
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
