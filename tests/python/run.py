#!/usr/bin/env python3
"""Runs the tests of the Python package that is installed for this Python: run.py [PATTERN of test_*.py]."""

import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent / "support"))
from counted import run_folder  # noqa: E402

if __name__ == "__main__":
    run_folder(FOLDER, sys.argv[1] if len(sys.argv) > 1 else "test_*.py")
