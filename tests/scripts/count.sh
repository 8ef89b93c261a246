#!/bin/bash
# count.sh RESULT COMMAND...: runs a test command and leaves how many single tests passed, failed and were skipped in RESULT.count,
# their names in RESULT.failed and RESULT.skipped, and all it said in RESULT.log. Prints what it said; of a GoogleTest program only
# the cases that failed, so that one among hundreds is in sight. Understands GoogleTest's output, a last line
# `N passed, N failed[, N skipped]`, or, for a command that prints neither, its exit status (0 passed, 77 skipped).
set -uo pipefail
result=$1
shift
mkdir -p "$(dirname "$result")"
rm -f "$result".{count,failed,skipped,log}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# Each test gets a folder of its own, so that tests running side by side never share a file, nor touch the user's cache.
export TMPDIR=$scratch TEST_TMPDIR=$scratch XDG_CACHE_HOME=$scratch/cache
"$@" >"$result.log" 2>&1 </dev/null
status=$?

name=$(basename "$result")
touch "$result.failed" "$result.skipped"
if ! grep -aq '\[==========\] Running' "$result.log"; then cat "$result.log"; fi
summary=$(grep -aE '^[0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?$' "$result.log" | tail -n 1)
if grep -aq '\[==========\] Running' "$result.log"; then
  # One RUN line per case, then OK, FAILED or SKIPPED with a duration; a case with none of these crashed.
  awk -v result="$result" '
    /\[ RUN      \] / { sub(/.*\[ RUN      \] /, ""); running = $1; state[running] = "failed"; order[++n] = running; next }
    /\[       OK \] .* \([0-9]+ ms\)$/ { state[running] = "passed" }
    /\[  SKIPPED \] .* \([0-9]+ ms\)$/ { state[running] = "skipped" }
    END {
      for (i = 1; i <= n; i++) {
        count[state[order[i]]]++
        if (state[order[i]] == "failed") print "FAILED " order[i] > (result ".failed")
        if (state[order[i]] == "skipped") print "SKIPPED " order[i] > (result ".skipped")
      }
      print count["passed"] + 0, count["failed"] + 0, count["skipped"] + 0 > (result ".count")
    }' "$result.log"
  awk '
    /\[ RUN      \] / { block = $0; inside = 1; next }
    /\[       OK \] .* \([0-9]+ ms\)$/ { inside = 0; next }
    inside { block = block "\n" $0 }
    /\[  SKIPPED \] .* \([0-9]+ ms\)$/ { inside = 0; next }
    /\[  FAILED  \] .* \([0-9]+ ms\)$/ { if (inside) print block; inside = 0; next }
    !inside && !/^\[[-=]+\]/ && !/^$/ { print }
    END { if (inside) print block }' "$result.log"
elif [[ -n $summary ]]; then
  read -r passed _ failed _ skipped _ <<<"${summary//,/} 0"
  [[ $summary == *skipped* ]] || skipped=0
  grep -aE '^SKIPPED ' "$result.log" >"$result.skipped"
  grep -aE '^FAILED ' "$result.log" >"$result.failed"
  echo "$passed $failed $skipped" >"$result.count"
elif [[ $status -eq 0 ]]; then
  echo "1 0 0" >"$result.count"
elif [[ $status -eq 77 ]]; then
  echo "SKIPPED $name: $(tail -n 1 "$result.log")" >"$result.skipped"
  echo "0 0 1" >"$result.count"
else
  echo "FAILED $name" >"$result.failed"
  echo "0 1 0" >"$result.count"
fi
# A non-zero status with no failed case (a crash between cases, a leak report at exit) is a failure of its own.
read -r passed failed skipped <"$result.count"
if [[ $status -ne 0 && $status -ne 77 && $failed -eq 0 ]]; then
  echo "FAILED $name: exit status $status" >>"$result.failed"
  echo "$passed 1 $skipped" >"$result.count"
  failed=1
fi
if [[ $failed -ne 0 ]]; then exit 1; fi
if [[ $passed -eq 0 && $skipped -ne 0 ]]; then exit 77; fi
exit 0
