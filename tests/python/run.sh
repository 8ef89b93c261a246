#!/bin/bash
# run.sh ROOT FOLDER [DEFINITION...]: installs the package into a new virtual environment under FOLDER, as docs/python.md says, and runs
# its tests there. Skipped where Python's headers or the tools that build packages are not to be had. Each DEFINITION goes to CMake:
# the build tree gives its library, which is not compiled again then, unless MOXIE_PYTHON_WHOLE=1 (as users build it).
set -uo pipefail
root=$1
folder=$2
shift 2
python=${MOXIE_PYTHON:-python3}
command -v "$python" >/dev/null || { echo "no python3 here"; exit 77; }
header=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')/Python.h
[[ -f $header ]] || { echo "no $header (Debian: python3-dev)"; exit 77; }
rm -rf "$folder"
"$python" -m venv "$folder" || { echo "no virtual environments here (Debian: python3-venv)"; exit 77; }
"$folder/bin/pip" download --quiet --no-deps --dest "$folder/probe" scikit-build-core >/dev/null 2>&1 ||
  { echo "no package index in reach"; exit 77; }
settings=()
if [[ ${MOXIE_PYTHON_WHOLE:-} != 1 ]]; then
  settings=(--config-settings "build-dir=$folder/build")
  for definition in "$@"; do settings+=(--config-settings "cmake.define.$definition"); done
fi
begin=$SECONDS
"$folder/bin/pip" install --quiet "${settings[@]}" "$root[test]" || exit 1
echo "built and installed in $((SECONDS - begin)) s"
exec "$folder/bin/python" "$root/tests/python/run.py"
