#!/bin/bash
# with_python.sh SCRIPT ARGUMENTS...: runs a check that needs Python's standard library alone; skipped where there is no Python.
command -v python3 >/dev/null || { echo "no python3 here"; exit 77; }
exec python3 "$@"
