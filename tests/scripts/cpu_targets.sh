#!/bin/bash
# cpu_targets.sh ROOT: the CPU targets that this machine can run, one per line, best first.
flags=$(grep -m 1 '^flags' /proc/cpuinfo 2>/dev/null)
sed -n 's/^MOXIE_CPU_TARGET(\([a-z0-9_]*\),.*/\1/p' "$1/src/kernels/targets.inc" | awk '!seen[$1]++' | while read -r target; do
  case $target in
    amx) needed="avx2 avx512f avx512bw avx512cd avx512dq avx512vl avx512_vnni avx512_bf16 amx_tile amx_int8 amx_bf16" ;;
    avx512) needed="avx2 avx512f avx512bw avx512cd avx512dq avx512vl avx512_vnni" ;;
    avxvnni) needed="avx2 bmi1 bmi2 f16c fma abm movbe avx_vnni" ;;
    avx2) needed="avx2 bmi1 bmi2 f16c fma abm movbe" ;;
    *) needed="" ;;
  esac
  missing=no
  for flag in $needed; do [[ " $flags " == *" $flag "* ]] || missing=yes; done
  [[ $missing == yes ]] || echo "$target"
done
