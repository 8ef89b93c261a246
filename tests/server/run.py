#!/usr/bin/env python3
"""run.py PROGRAM [PATTERN of *_test.py]: the server as its clients see it. Last line: N passed, N failed, N skipped."""

import os
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent / "support"))
from counted import run_folder  # noqa: E402

if __name__ == "__main__":
    os.environ["MOXIE_PROGRAM"] = sys.argv[1]
    run_folder(FOLDER, sys.argv[2] if len(sys.argv) > 2 else "*_test.py")
