#!/bin/bash
# run.sh [PATTERN]: the checks against other implementations, with the Python that has their packages.
set -euo pipefail
exec "${MOXIE_ORACLE_PYTHON:-python3}" "$(dirname "${BASH_SOURCE[0]}")/run.py" "$@"
