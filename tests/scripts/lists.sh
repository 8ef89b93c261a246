#!/bin/bash
# lists.sh ROOT: every entry of a list (src/FOLDER/NAME.inc) is defined in a file of src/FOLDER/NAME/, and every entry defined
# there is listed: one that is not would be compiled and never reached.
set -uo pipefail
cd "$1" || exit 1
shopt -s globstar nullglob
bad=0 entries=0 lists=0
for list in src/**/*.inc; do
  folder=${list%.inc}
  [[ -d $folder ]] || continue
  lists=$((lists + 1))
  names=$(sed -n 's/^MOXIE_[A-Z]*(\([a-z0-9_]*\)[,)].*/\1/p' "$list")
  sources=()
  for source in "$folder"/*.cpp; do
    case $source in
      *_test.cpp | */table.simd.cpp) ;;  # the latter gathers the entries of one CPU target
      *) sources+=("$source") ;;
    esac
  done
  defined=$(cat /dev/null "${sources[@]}" | sed -nE 's/^ *extern (constinit )?const [A-Za-z]+ ([a-z0-9_]+)( *=|\{|\().*/\2/p; s/^MOXIE_[A-Z_]+\(([a-z0-9_]+)[,)].*/\1/p')
  while read -r name; do
    [[ -n $name ]] || continue
    entries=$((entries + 1))
    if ! grep -qxF "$name" <<<"$defined"; then
      echo "$list: no file of $folder/ defines $name"
      bad=1
    fi
  done <<<"$names"
  if [[ $(sort <<<"$names" | uniq -d) ]]; then
    echo "$list: listed twice: $(sort <<<"$names" | uniq -d | paste -sd' ')"
    bad=1
  fi
  while read -r name; do
    if [[ -n $name ]] && ! grep -qxF "$name" <<<"$names"; then
      echo "$folder/ defines $name, which $list does not list"
      bad=1
    fi
  done <<<"$defined"
done
if [[ $entries -eq 0 ]]; then
  echo "no list found below $1/src"
  exit 1
fi
if [[ $bad -ne 0 ]]; then exit 1; fi
echo "$entries entries in $lists lists"
