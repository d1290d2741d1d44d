#!/usr/bin/env bash
# The documents say what is there: relative links lead to files, and scripts, configs, presets and
# `frcnn` subcommands that they name exist.
#   documents.sh [root of the source tree] [the frcnn program]
set -euo pipefail
program=${2:-}
cd "${1:-$(dirname "$0")/../..}"

failures=0
report() { echo "$1"; failures=$((failures + 1)); }

mapfile -t documents < <(find . -name '*.md' -not -path './build/*' -not -path './.git/*' | sort)
[[ ${#documents[@]} -gt 0 ]] || report "no documents found"

for document in "${documents[@]}"; do
  folder=$(dirname "$document")
  while IFS= read -r link; do
    path=${link%%#*}
    [[ -z "$path" || "$path" =~ ^[a-z]+: ]] && continue
    [[ -e "$folder/$path" ]] || report "$document: link to '$link' leads nowhere"
  done < <(grep -oE '\]\([^) ]+\)' "$document" | sed -E 's/^\]\(|\)$//g' || true)

  while IFS= read -r name; do
    if [[ ! -e "$name" ]]; then
      report "$document: names $name, which does not exist"
    elif [[ "$name" == *.sh && ! -x "$name" ]]; then
      report "$document: $name is not executable"
    fi
  done < <(grep -oE '(^|[ `(])(scripts|configs|docs|tests)/[A-Za-z0-9_/.-]+\.(sh|toml|md|py|h5|cmake)' \
    "$document" | sed -E 's/^[ `(]//' | sort -u || true)

  while IFS= read -r preset; do
    # Of CMake, or one of the program's own.
    grep -q "\"name\": \"$preset\"" CMakePresets.json || [[ -e "configs/$preset.toml" ]] ||
      report "$document: no preset '$preset'"
  done < <(grep -oE -- '--preset[ =][a-z][a-z0-9-]+' "$document" | sed -E 's/--preset[ =]//' \
    | sort -u || true)

  # weights/FORMAT.md quotes strings of the file format that look like commands.
  [[ -n "$program" && "$document" != ./weights/* ]] || continue
  while IFS= read -r command; do
    "$program" "$command" --help > /dev/null 2>&1 \
      || report "$document: 'frcnn $command' is not a command of the program"
  done < <(awk '/^```/ { code = !code; next } code' "$document" | cat - <(grep -oE '`[^`]+`' "$document") \
    | grep -oE '(^|`|\$ |/)frcnn [a-z][a-z-]+' | sed -E 's/.*frcnn //' | sort -u || true)
done

if [[ $failures -gt 0 ]]; then echo "$failures findings"; exit 1; fi
echo "${#documents[@]} documents name only what is there"
