#!/usr/bin/env bash
# clang-tidy 14 with the checks of .clang-tidy over the sources of the program and its libraries.
#   scripts/lint.sh [build folder with compile_commands.json, default build/release] [files...]
# A file that was clean is not read again until it or anything it includes changes: the stamps are
# in $FRCNN_LINT_CACHE, ~/.cache/frcnn-lint by default.
set -euo pipefail
cd "$(dirname "$0")/.."
export build=${1:-build/release}
shift || true
[[ -f "$build/compile_commands.json" ]] || { echo "lint.sh: configure $build first" >&2; exit 2; }
export cache=${FRCNN_LINT_CACHE:-$HOME/.cache/frcnn-lint}
mkdir -p "$cache"
files=("$@")
if [[ ${#files[@]} -eq 0 ]]; then
  mapfile -t files < <(find kernels engine weights model data apps -name '*.cpp' | sort)
fi

lint_one() {
  local file=$1 seen stamp output
  # The file, every header of ours that it includes, and the configuration.
  seen=$(g++ -std=c++20 -I. -MM "$file" 2> /dev/null | tr -d '\\\n' | cut -d: -f2)
  # shellcheck disable=SC2086  # a list of names without spaces
  stamp=$cache/$({ cat $seen .clang-tidy; clang-tidy-14 --version; } < /dev/null | sha256sum | cut -d' ' -f1)
  [[ -n "$seen" && -e "$stamp" ]] && return 0
  if ! output=$(clang-tidy-14 --quiet --extra-arg=-Wno-unknown-warning-option --extra-arg=-Wno-error -p "$build" "$file" 2>&1); then
    printf '%s\n' "$output" | grep -vE '^[0-9]+ warnings? |^Suppressed|^Use -header-filter'
    return 1
  fi
  [[ -z "$seen" ]] || touch "$stamp"
}
export -f lint_one

# shellcheck disable=SC2016
printf '%s\0' "${files[@]}" | xargs -0 -n 1 -P "$(nproc)" bash -c 'lint_one "$0"' \
  || { echo "lint.sh: findings above"; exit 1; }
echo "lint.sh: ${#files[@]} files are clean"
