"""Runs a suite of unittest and ends with the line that the test runner counts: N passed, N failed, N skipped."""

import sys
import unittest


class Result(unittest.TextTestResult):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.passed = 0

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1

    def addExpectedFailure(self, test, err):
        raise AssertionError("a known failure must not be expected")


def run(suite):
    if suite.countTestCases() == 0:
        raise SystemExit("no test matches")
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=Result).run(suite)
    for test, reason in result.skipped:
        print(f"SKIPPED {test}: {reason}")
    failed = result.failures + result.errors
    for test, _ in failed:
        print(f"FAILED {test}")
    print(f"{result.passed} passed, {len(failed)} failed, {len(result.skipped)} skipped", flush=True)
    raise SystemExit(1 if failed else 0)


def run_folder(folder, pattern):
    sys.path.insert(0, str(folder))
    run(unittest.defaultTestLoader.discover(str(folder), pattern))
