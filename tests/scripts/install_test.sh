#!/bin/bash
# install_test.sh BUILD_FOLDER SOURCE_FOLDER MODEL: installs to a fresh prefix, builds a foreign project against the package with
# find_package(moxie), and runs that program and the installed moxie far from the source tree.
set -uo pipefail
build=$(realpath "$1") source=$(realpath "$2") model=$(realpath "$3")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0
check() {
  local name=$1
  shift
  if "$@" >"$work/log" 2>&1; then
    passed=$((passed + 1))
  else
    echo "FAILED install: $name"
    tail -n 30 "$work/log"
    failed=$((failed + 1))
  fi
}
same() { diff <(echo "$1") <(echo "$2"); }

check "cmake --install" cmake --install "$build" --prefix "$work/prefix"
cp -r "$source/tests/consumer" "$work/consumer"
compiler=$(sed -n 's/^CMAKE_CXX_COMPILER:[A-Z]*=//p' "$build/CMakeCache.txt")
check "find_package(moxie)" cmake -G Ninja -S "$work/consumer" -B "$work/consumer/build" -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_PREFIX_PATH="$work/prefix"
check "the consumer builds" cmake --build "$work/consumer/build"

# The program's answer with the same model and prompt is what the library must give. From here on nothing reads the source tree's
# models but the copy.
cp -r "$model" "$work/model"
cd / || exit 1
answer=$("$work/prefix/bin/moxie" run -m "$work/model" -p "Once upon a time" -n 8 --temp 0 2>"$work/errors")
check "the installed program answers: $(tail -n 3 "$work/errors")" test -n "$answer"
check "the consumer gives the program's text" same "$("$work/consumer/build/consumer" "$work/model" 2>&1)" "$answer"
if [[ -e $source/models/demo/config.json ]]; then
  check "the demo model is found in share/" test -e "$work/prefix/share/moxie/models/demo/config.json"
  check "the installed program runs it" test -n "$("$work/prefix/bin/moxie" run -p "Once upon a time" -n 8 --temp 0)"
fi
ln -s moxie "$work/prefix/bin/llama-cli"
check "as llama-cli" same "$("$work/prefix/bin/llama-cli" -m "$work/model" -p "Once upon a time" -n 8 --temp 0 2>/dev/null)" "$answer"

echo "$passed passed, $failed failed"
[[ $failed -eq 0 ]]
