#!/bin/bash
# layers.sh ROOT: includes point down. Compares every #include of src/ and include/ with src/LAYERS; also, a main() stands only in
# src/cli/main.cpp, and the library neither prints, exits nor reads the environment.
set -uo pipefail
cd "$1" || exit 1
shopt -s globstar nullglob

problems=$(mktemp)
trap 'rm -f "$problems"' EXIT
sources=(src/**/*.cpp src/**/*.h src/**/*.inc include/moxie/*.h)
if [[ ${#sources[@]} -lt 10 ]]; then
  echo "found only ${#sources[@]} sources below $1"
  exit 1
fi

awk '
  function bad(text) { print FILENAME ":" FNR ": " text }
  FILENAME == "src/LAYERS" {
    sub(/#.*/, "")
    if (NF == 0) next
    layer = $1
    sub(/:$/, "", layer)
    known[layer] = 1
    for (i = 2; i <= NF; i++) allowed[layer, $i] = 1
    next
  }
  FNR == 1 {
    n = split(FILENAME, part, "/")
    layer = part[1] == "include" ? "include" : part[2]
    test = FILENAME ~ /_test(ing\.h|\.cpp)$/
    simd = FILENAME ~ /\.simd\.cpp$/
    conditional = 0
    if (part[1] == "src" && !(layer in known)) bad("folder " layer " has no line in src/LAYERS")
  }
  /^#[ ]*if/ { conditional++ }
  /^#[ ]*endif/ { conditional-- }
  !/^#[ ]*include/ { next }
  {
    name = $0
    sub(/^#[ ]*include[ ]*/, "", name)
    sub(/[ \t]*(\/\/.*)?$/, "", name)
    quoted = name ~ /^"/
    if (layer == "include") {
      if (!(name ~ /^"moxie\//) && !(name ~ /^<[a-z0-9_]+(\.h)?>$/)) bad("a public header includes " name)
      next
    }
    if (simd && !quoted) {
      # Intrinsics stand under an #if, beside the portable loop.
      intrinsics = name == "<immintrin.h>" || name == "<arm_neon.h>"
      if (!(("simd", name) in allowed) && !(intrinsics && conditional > 0)) bad("a *.simd.cpp file includes " name)
    }
    if (!quoted) next
    gsub(/"/, "", name)
    split(name, to, "/")
    if (name == "moxie/error.h" || name == "moxie/options.h") {
      if (simd) bad("a *.simd.cpp file includes " name)
    } else if (to[1] == "moxie") {
      if (!((layer, "api") in allowed)) bad(layer " includes " name " (src/LAYERS does not list api for it)")
    } else if (to[1] == "support" && test) {  # helpers of the tests, tests/support
    } else if (to[1] == layer || (!simd && ((layer, name) in allowed))) {
    } else if (test && ((layer "_test", name) in allowed)) {
    } else if (!(to[1] in known)) {
      bad("includes \"" name "\", which names no folder of src/")
    } else if (!((layer, to[1]) in allowed)) {
      bad(layer " includes " name " (src/LAYERS does not list " to[1] " for it)")
    } else if (simd && !(("simd", name) in allowed)) {
      bad("a *.simd.cpp file includes " name)
    }
  }
' src/LAYERS "${sources[@]}" >"$problems"

library=()
for file in "${sources[@]}"; do
  case $file in
    src/cli/* | *_test.cpp) ;;
    src/core/check.cpp) ;;  # the one place where a bug in moxie itself ends the process
    *) library+=("$file") ;;
  esac
done
{
  grep -nHE '\b(std::(cout|cerr|clog|abort|exit|getenv|puts|printf)|f?printf|fmt::print|getenv|secure_getenv|_?exit|quick_exit|abort)\b *[(<;]' "${library[@]}" |
    grep -vE '^[^:]*:[0-9]+: *//' | sed 's/$/   <- the library neither prints, exits nor reads the environment/'
  grep -nHE '^int main\(' "${sources[@]}" | grep -v '^src/cli/main.cpp:' | sed 's/$/   <- programs do not live in library folders/'
} >>"$problems"

cat "$problems"
if [[ -s $problems ]]; then exit 1; fi
echo "${#sources[@]} sources follow src/LAYERS"
