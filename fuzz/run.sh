#!/bin/bash
# run.sh SECONDS [TARGET...]: runs every fuzz target of build-fuzz (or those named) for that long from its seeds. A crash, a hang, a leak
# or an oversized allocation fails; its input is left in build-fuzz/findings. The last line is `N passed, N failed`.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
seconds=${1:?usage: fuzz/run.sh SECONDS [TARGET...]}
shift
build=$PWD/build-fuzz
if [[ ! -x $build/moxie_make_seeds ]]; then
  echo "the fuzz targets are not built; run ./dev build fuzz"
  echo "0 passed, 1 failed"
  exit 1
fi
targets=("$@")
if [[ ${#targets[@]} -eq 0 ]]; then
  for program in "$build"/*_fuzz; do
    name=${program##*/}
    targets+=("${name%_fuzz}")
  done
fi
mkdir -p "$build/findings" "$build/corpus"
"$build/moxie_make_seeds" "$build/seeds" || exit 1

run_target() {
  local name=$1 options seeds folder status log
  log=$(mktemp)
  # Small inputs may ask for little memory: 64 MB in one piece is taken on an untrusted number.
  options=(-max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -malloc_limit_mb=64 -max_len=8192 -print_final_stats=1
           -artifact_prefix="$build/findings/$name-")
  if [[ -f fuzz/dictionaries/$name.dict ]]; then options+=(-dict="fuzz/dictionaries/$name.dict"); fi
  seeds=("$build/seeds/$name")
  while IFS= read -r folder; do
    if [[ -d $folder ]]; then seeds+=("$folder"); fi
  done <"$build/seeds/$name.folders"
  mkdir -p "$build/corpus/$name" "$build/seeds/$name"
  "$build/${name}_fuzz" "${options[@]}" "$build/corpus/$name" "${seeds[@]}" >"$log" 2>&1
  status=$?
  if [[ $status -eq 0 ]]; then
    echo "$name: $(awk '/number_of_executed_units/ {print $2}' "$log") runs in $seconds s, passed"
  else
    echo "$name: FAILED (status $status)"
    tail -n 60 "$log"
  fi
  rm -f "$log"
  return "$status"
}
export -f run_target
export build seconds

results=$(printf '%s\0' "${targets[@]}" | xargs -0 -P "$(nproc)" -I{} bash -c 'run_target "$1" && echo OK || echo BAD' _ {})
grep -vxE 'OK|BAD' <<<"$results"
passed=$(grep -cx OK <<<"$results")
failed=$((${#targets[@]} - passed))
echo "$passed passed, $failed failed"
[[ $failed -eq 0 && $passed -gt 0 ]]
