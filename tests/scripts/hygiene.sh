#!/bin/bash
# hygiene.sh ROOT: every text file of the repository is finished and clean: no notes to self, no conflict markers, no trailing
# blanks, no private paths, no links to hosts outside a short list, no large files outside models/ and tests/data/.
set -uo pipefail
cd "$1" || exit 1
files=()
if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
  while IFS= read -r -d '' file; do [[ -f $file ]] && files+=("$file"); done < <(git ls-files -z -co --exclude-standard)
else  # an unpacked archive
  while IFS= read -r -d '' file; do files+=("${file#./}"); done < <(find . -type f -not -path './build*' -not -path './.git/*' -print0)
fi
if [[ ${#files[@]} -lt 20 ]]; then
  echo "found only ${#files[@]} files below $1"
  exit 1
fi
hosts='huggingface\.co|github\.com|raw\.githubusercontent\.com|arxiv\.org|(www\.|cdimage\.|packages\.|snapshot\.|deb\.)?debian\.org|(www\.)?apache\.org|(www\.)?gutenberg\.org|(www\.)?unicode\.org|keepachangelog\.com|semver\.org|creativecommons\.org|json-schema\.org|(www\.)?w3\.org|(www\.)?wikipedia\.org|example\.(com|org)|localhost|127\.0\.0\.1|git-lfs\.github\.com'
bad=0
report() {
  if [[ -n $2 ]]; then
    echo "$1:"
    echo "$2"
    bad=1
  fi
}

text=() ours=()
for file in "${files[@]}"; do
  case $file in
    models/*/* | tests/data/*) [[ $file == *.md ]] && text+=("$file") && ours+=("$file") ;;
    LICENSE) ;;
    *) text+=("$file"); ours+=("$file") ;;
  esac
done

report "notes to self" "$(grep -nHIE "\b(TO""DO|FIX""ME|XX""X|HA""CK)\b" "${text[@]}")"
report "conflict markers" "$(grep -nHIE '^(<<<<<<<|>>>>>>>) ' "${text[@]}")"
report "trailing blanks or carriage returns" "$(grep -nHI -E '([[:blank:]]|'$'\r'')$' "${text[@]}" | head -n 20)"
report "tabs outside make files" "$(grep -nHIP '^ *\t' "${text[@]}" | head -n 20)"
report "paths of one machine" "$(grep -nHIE '(^|[^a-z.])/(work|home|Users)/[a-z]' "${ours[@]}" | grep -vE '/home/(user|me)\b')"
report "links to unlisted hosts" "$(grep -noHIE 'https?://[A-Za-z0-9.-]+[A-Za-z0-9]' "${ours[@]}" | grep -vE "https?://($hosts)\$")"

unended=()
for file in "${text[@]}"; do
  if [[ -s $file ]]; then unended+=("$file"); fi
done
if [[ $(tail -q -c 1 "${unended[@]}" | tr -cd '\n' | wc -c) -ne ${#unended[@]} ]]; then  # slow only when something is wrong
  for file in "${unended[@]}"; do
    if [[ -n $(tail -c 1 "$file" | tr -d '\n\0') ]] && grep -qI . "$file"; then report "no newline at the end" "$file"; fi
  done
fi
while read -r bytes file; do
  case $file in
    models/* | tests/data/*) limit=41943040 ;;
    *) limit=262144 ;;
  esac
  if [[ $bytes -gt $limit ]]; then report "larger than $limit bytes" "$file ($bytes)"; fi
done < <(wc -c "${files[@]}" | sed '$d')
for file in "${files[@]}"; do
  IFS= read -r -n 2 magic <"$file"
  if [[ $magic == '#!' ]]; then
    if [[ ! -x $file ]]; then report "a script that is not executable" "$file"; fi
    if head -n 1 "$file" | grep -q bash; then report "not valid bash" "$(bash -n "$file" 2>&1)"; fi
  fi
done
for folder in tests/data/*/; do
  if [[ ! -e ${folder}README.md && ! -e tests/data/README.md ]]; then report "no README names origin and licence" "$folder"; fi
done
if [[ $bad -ne 0 ]]; then exit 1; fi
echo "${#files[@]} files are clean"
