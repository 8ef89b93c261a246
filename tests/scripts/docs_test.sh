#!/bin/bash
# docs_test.sh ROOT PROGRAM: what the documents say exists. Relative links resolve; every ./dev and moxie command in an ```sh block is
# one that the help lists, with flags that its help lists; blocks marked ```sh run are run.
set -uo pipefail
cd "$1" || exit 1
program=$2
passed=0 failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

ok() { passed=$((passed + 1)); }
bad() { echo "FAILED $*"; failed=$((failed + 1)); }

dev_help=$(./dev help)
program_help=$("$program" help 2>/dev/null)
documents=(README.md DESIGN.md CONTRIBUTING.md CHANGELOG.md SECURITY.md docs/*.md docs/*/*.md)

check_link() { # FILE TARGET
  local target=${2%%#*}
  if [[ -z $target || $target == http* ]]; then return; fi
  if [[ -e $(dirname "$1")/$target ]]; then ok; else bad "$1: the link $2 leads nowhere"; fi
}

# Names of long flags in a command's own help; aliases that only a model card would use are not listed there.
check_moxie() { # FILE COMMAND WORDS...
  local file=$1 command=$2 help word
  shift 2
  if ! grep -qE "^ +$command\b" <<<"$program_help"; then
    bad "$file: moxie has no command $command"
    return
  fi
  help=$("$program" help "$command" 2>/dev/null)
  for word; do
    [[ $word == -* ]] || continue
    word=${word%%=*}
    if [[ $word =~ ^-[0-9.]+$ ]]; then continue; fi
    if ! grep -qE -- "(^|[ ,|[])$word([] ,=|]|\$)" <<<"$help"; then bad "$file: moxie $command knows no flag $word"; return; fi
  done
  ok
}

check_line() { # FILE LINE
  local file=$1 words
  # Comments, redirections and what comes after a pipe are the shell's.
  read -ra words <<<"$(sed -E 's/(^|[[:space:]])#.*//; s/"[^"]*"/TEXT/g; s/'"'[^']*'"'/TEXT/g; s/[|>].*//' <<<"$2")"
  while [[ ${words[0]:-} == *=* ]]; do words=("${words[@]:1}"); done
  case ${words[0]:-} in
    ./dev)
      if grep -qE "^  ${words[1]:-help}( |\$)" <<<"$dev_help" || [[ ${words[1]} == help ]]; then ok; else bad "$file: ./dev has no command ${words[1]}"; fi
      ;;
    moxie | build/moxie | ./build/moxie)
      if [[ ${words[1]:-} == -* ]]; then check_moxie "$file" run "${words[@]:1}"; else check_moxie "$file" "${words[@]:1}"; fi
      ;;
    fuzz/*.sh | tools/* | tests/*) if [[ -x ${words[0]} ]]; then ok; else bad "$file: there is no ${words[0]}"; fi ;;
  esac
}

run_block() { # FILE TEXT
  local folder="$work/run"
  rm -rf "$folder" && mkdir -p "$folder"
  ln -s "$program" "$folder/moxie"
  ln -s "$PWD/models" "$PWD/tests" "$folder/" 2>/dev/null
  if (cd "$folder" && PATH="$folder:$PATH" bash -euo pipefail -c "$2") >"$work/out" 2>&1 </dev/null; then
    ok
  else
    bad "$1: a block marked to run fails: $(tail -n 3 "$work/out")"
  fi
}

for file in "${documents[@]}"; do
  if [[ ! -f $file ]]; then bad "there is no $file"; continue; fi
  while read -r target; do check_link "$file" "$target"; done < <(grep -oE '\]\([^) ]+\)' "$file" | sed 's/^](//; s/)$//')
  in_block="" block="" line="" joined=""
  while IFS= read -r line; do
    if [[ $line == '```'* ]]; then
      if [[ -n $in_block ]]; then
        if [[ $in_block == "sh run" ]]; then run_block "$file" "$block"; fi
        in_block="" block=""
      else
        in_block=${line#'```'}
        in_block=${in_block:-text}
      fi
      continue
    fi
    if [[ $in_block == sh || $in_block == "sh run" ]]; then
      block+=$line$'\n'
      joined+=${line%\\}
      if [[ $line != *\\ ]]; then
        check_line "$file" "$joined"
        joined=""
      fi
    fi
  done <"$file"
  if [[ -n $in_block ]]; then bad "$file: a block is not closed"; fi
done

if [[ $(sed -n '1,15p' README.md | grep -cE '^\./dev ') -lt 3 ]]; then bad "README.md: three commands by line 15"; else ok; fi
echo "$passed passed, $failed failed"
[[ $failed -eq 0 ]]
