#!/bin/bash
# checks_test.sh ROOT: the checks themselves can fail. Each case spoils a small tree in one way and expects the complaint.
set -uo pipefail
scripts=$(cd "$1/tests/scripts" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

# expect STATUS TEXT NAME COMMAND...: the command's status is 0 or not, as wanted, and its output holds TEXT.
expect() {
  local wanted=$1 text=$2 name=$3 output status
  shift 3
  output=$("$@" 2>&1)
  status=$?
  if [[ ($wanted == ok && $status -ne 0) || ($wanted == bad && $status -eq 0) || $output != *"$text"* ]]; then
    echo "FAILED $name: status $status, output: $output"
    failed=$((failed + 1))
  else
    passed=$((passed + 1))
  fi
}

# A tree that follows the rules.
fresh_tree() {
  rm -rf "$work/tree"
  mkdir -p "$work"/tree/{src/core,src/quant,src/cli,include/moxie,tests/data/one}
  cd "$work/tree" || exit 1
  cp "$scripts/../../src/LAYERS" src/LAYERS
  local i
  for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    printf '#include <string>\n#include "core/file1.h"\n' >"src/core/file$i.h"
  done
  printf '#include <cstdint>\n' >include/moxie/error.h
  printf 'int main() {}\n' >src/cli/main.cpp
  echo "Made for the test." >tests/data/README.md
  git init -q . >/dev/null 2>&1
}

check_layers() { # TEXT NAME FILE LINE
  fresh_tree
  printf '%s\n' "$4" >"$3"
  expect bad "$1" "$2" "$scripts/layers.sh" .
}
fresh_tree
expect ok "follow" "layers accept a good tree" "$scripts/layers.sh" .
check_layers "core includes quant/a.h" "upward include" src/core/up.cpp '#include "quant/a.h"'
check_layers "public header includes" "public header with a private include" include/moxie/a.h '#include "core/a.h"'
check_layers "public header includes" "public header with a foreign library" include/moxie/a.h '#include <fmt/format.h>'
check_layers "does not list api" "core includes the engine" src/core/up.cpp '#include "moxie/engine.h"'
check_layers "names no folder" "include without a folder" src/core/up.cpp '#include "up.h"'
check_layers "simd.cpp file includes <vector>" "vector in simd code" src/quant/a.simd.cpp '#include <vector>'
check_layers "simd.cpp file includes <immintrin.h>" "intrinsics without an if" src/quant/a.simd.cpp '#include <immintrin.h>'
check_layers "simd.cpp file includes core/file1.h" "core header in simd code" src/quant/a.simd.cpp '#include "core/file1.h"'
check_layers "neither prints" "print in the library" src/core/up.cpp 'void f() { std::printf("x"); }'
check_layers "neither prints" "environment in the library" src/core/up.cpp 'auto f() { return getenv("x"); }'
check_layers "programs do not live" "main in the library" src/core/up.cpp 'int main() {}'
mkdir -p "$work/tree/src/novel" && printf '\n' >"$work/tree/src/novel/a.h"
expect bad "has no line in src/LAYERS" "unknown folder" "$scripts/layers.sh" "$work/tree"

check_lists() { # WANTED TEXT NAME LISTED DEFINED
  fresh_tree
  mkdir -p src/quant/types
  printf 'MOXIE_ENTRY(%s)\n' $4 >src/quant/types.inc
  printf 'extern constinit const QuantType %s = make();\n' $5 >src/quant/types/a.simd.cpp
  expect "$1" "$2" "$3" "$scripts/lists.sh" .
}
check_lists ok "2 entries in 1 lists" "lists and files agree" "a b" "b a"
check_lists bad "no file of src/quant/types/ defines b" "listed without a file" "a b" "a"
check_lists bad "defines b, which" "a file that is not listed" "a" "a b"
check_lists bad "listed twice: a" "listed twice" "a b a" "a b"

check_hygiene() { # TEXT NAME FILE CONTENT
  fresh_tree
  printf "$4" >"$3"
  expect bad "$1" "$2" "$scripts/hygiene.sh" .
}
fresh_tree
expect ok "are clean" "hygiene accepts a good tree" "$scripts/hygiene.sh" .
check_hygiene "notes to self" "unfinished work" src/core/a.h '// TO''DO: more\n'
check_hygiene "conflict markers" "conflict marker" src/core/a.h '<<<<<<''< HEAD\n'
check_hygiene "trailing blanks" "trailing blank" src/core/a.h 'int a; \n'
check_hygiene "trailing blanks" "carriage return" src/core/a.h 'int a;\r\n'
check_hygiene "tabs" "tab" src/core/a.h '\tint a;\n'
check_hygiene "paths of one machine" "private path" src/core/a.h '// see /ho''me/somebody/x\n'
check_hygiene "unlisted hosts" "unknown host" src/core/a.h '// https:''//registry.invalid/x\n'
check_hygiene "no newline" "missing newline" src/core/a.h 'int a;'
check_hygiene "not executable" "script without permission" src/a.sh '#!/bin/bash\n'
fresh_tree
head -c 300000 /dev/zero >"$work/tree/src/blob"
expect bad "larger than" "large file" "$scripts/hygiene.sh" .
fresh_tree
rm "$work/tree/tests/data/README.md"
expect bad "no README" "data of unknown origin" "$scripts/hygiene.sh" .

# Objects of two CPU targets: a function of the target's namespace, then one of everybody.
check_weak() { # WANTED TEXT NAME CODE
  rm -rf "$work/build" "$work/source"
  mkdir -p "$work/build/CMakeFiles/moxie_simd_avx2.dir" "$work/source/src"
  printf '%s\n' "$4" >"$work/source/src/a.simd.cpp"
  "${CXX:-c++}" -O0 -c "$work/source/src/a.simd.cpp" -o "$work/build/CMakeFiles/moxie_simd_avx2.dir/a.o" || failed=$((failed + 1))
  expect "$1" "$2" "$3" "$scripts/weak_symbols.sh" "$work/build" "$work/source"
}
check_weak ok "no foreign weak symbol" "inline function of the target" \
  'namespace moxie::avx2 { template <int n> int f() { return n; } int g() { return f<3>(); } }'
check_weak bad "moxie::f()" "inline function of everybody" 'namespace moxie { inline int f() { return 1; } int g() { return f(); } }'
check_weak bad "moxie::avx512" "inline function of another target" \
  'namespace moxie::avx512 { inline int f() { return 1; } } int g() { return moxie::avx512::f(); }'
rm -f "$work/build/CMakeFiles/moxie_simd_avx2.dir/a.o"
expect bad "found 0 objects" "no objects" "$scripts/weak_symbols.sh" "$work/build" "$work/source"

check_count() { # WANTED_COUNT NAME SHELL_TEXT
  "$scripts/count.sh" "$work/result" bash -c "$3" >/dev/null 2>&1
  expect ok "$1" "$2" cat "$work/result.count"
}
check_count "1 0 0" "plain command that passes" true
check_count "0 1 0" "plain command that fails" false
check_count "0 0 1" "plain command that skips" 'exit 77'
check_count "3 1 0" "summary line" 'echo "3 passed, 1 failed"; exit 1'
check_count "3 0 2" "summary line with skipped" 'echo "3 passed, 0 failed, 2 skipped"'
check_count "3 1 0" "summary without failure, bad status" 'echo "3 passed, 0 failed"; exit 1'
run='echo "[==========] Running 3 tests"; echo "[ RUN      ] A.a"; echo "[       OK ] A.a (0 ms)"; echo "[ RUN      ] A.b"; '
check_count "1 1 0" "crash inside a case" "$run kill -SEGV \$\$"
check_count "1 0 1" "skipped case" "$run echo '[  SKIPPED ] A.b (0 ms)'; echo '[  SKIPPED ] 1 test, listed below:'"
check_count "2 1 0" "crash after the cases" "$run echo '[       OK ] A.b (0 ms)'; kill -SEGV \$\$"
check_count "1 1 0" "failed case" "$run echo '[  FAILED  ] A.b, where GetParam() = 3 (0 ms)'; exit 1"

echo "$passed passed, $failed failed"
[[ $failed -eq 0 ]]
