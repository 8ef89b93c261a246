#!/bin/bash
# weak_symbols.sh BUILD_FOLDER SOURCE_FOLDER: objects of *.simd.cpp files hold no weak symbol outside the namespace of their CPU
# target. The linker keeps one copy of a weak function for everyone: one compiled for AVX-512 would crash older machines.
set -uo pipefail
objects=() bad=0
while IFS= read -r object; do objects+=("$object"); done < <(find "$1/CMakeFiles" -path '*moxie_simd_*' -name '*.o' | sort)
sources=$(find "$2/src" -name '*.simd.cpp' | wc -l)
targets=$(find "$1/CMakeFiles" -maxdepth 1 -name 'moxie_simd_*.dir' | wc -l)
if [[ ${#objects[@]} -lt $((sources * targets)) || ($sources -gt 0 && $targets -eq 0) ]]; then
  echo "found ${#objects[@]} objects for $sources *.simd.cpp files and $targets CPU targets in $1"
  exit 1
fi
for object in "${objects[@]}"; do
  target=$(sed 's/.*moxie_simd_\([a-z0-9_]*\)\.dir.*/\1/' <<<"$object")
  # Weak: W and w functions, V and v objects, u unique ones. Undefined weak symbols (no address) are references, not copies.
  weak=$(nm -C --defined-only "$object" | awk '$2 ~ /^[WwVvu]$/' |
    grep -vE " [WwVvu] (guard variable for |vtable for |typeinfo (name )?for )?(.* )?moxie::$target::" || true)
  if [[ -n $weak ]]; then
    echo "$object: weak symbols outside moxie::$target:"
    echo "$weak"
    bad=1
  fi
done
if [[ $bad -ne 0 ]]; then exit 1; fi
echo "${#objects[@]} objects hold no foreign weak symbol"
