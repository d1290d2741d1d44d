#!/usr/bin/env bash
# House rules that a pattern can see: headers are guarded, libraries neither print nor exit nor
# assert, randomness comes from kernels/random, files stay readable in length.
#   sources.sh [root of the source tree]
set -euo pipefail
cd "${1:-$(dirname "$0")/../..}"
kWarnLines=400
kMostLines=600

folders=()
for folder in kernels engine weights model data apps tests; do
  [[ -d $folder ]] && folders+=("$folder")
done
libraries=()
for folder in kernels engine weights model data; do
  [[ -d $folder ]] && libraries+=("$folder")
done
failures=0
report() { echo "$1"; failures=$((failures + 1)); }
sources=(--include='*.h' --include='*.cpp' --include='*.cu' --include='*.cuh')

# forbid <what it is> <pattern> <files to leave out> <folders...>
forbid() {
  local what=$1 pattern=$2 except=$3
  shift 3
  while IFS= read -r hit; do
    report "$what: $hit"
  done < <(grep -rnE "$pattern" "${sources[@]}" "$@" | grep -vE "^($except):" \
    | grep -vE '^[^:]+:[0-9]+:[[:space:]]*(//|\*)' || true)
}

forbid 'a library prints' \
  'std::(cout|cerr|clog)|\b(std::)?f?(printf|puts|putchar)\(|fmt::print' \
  'kernels/launch/check\.cpp' "${libraries[@]}"
forbid 'a library exits' '(^|[^_[:alnum:].>])(std::)?(_?exit|quick_exit|abort|terminate)\(' \
  'kernels/launch/check\.cpp|weights/apart\.cpp' "${libraries[@]}"
forbid 'assert() is lost in release builds: use check() or FRCNN_INVARIANT' \
  '(^|[^_[:alnum:]])assert\(' 'none' "${folders[@]}"
forbid 'random numbers come from kernels/random/philox.h' \
  'std::(mt19937|random_device|default_random_engine|minstd_rand)|(^|[^_[:alnum:]])s?rand\(' \
  'none' "${folders[@]}"
forbid 'using namespace in a header' '^[[:space:]]*using namespace' '[^:]*\.(cpp|cu)' "${folders[@]}"

while IFS= read -r header; do
  report "no #pragma once: $header"
done < <(find "${folders[@]}" \( -name '*.h' -o -name '*.cuh' \) -print0 \
  | xargs -0 -r grep -L '^#pragma once' || true)

while read -r lines file; do
  if [[ $lines -gt $kMostLines ]]; then
    report "$file has $lines lines (at most $kMostLines)"
  else
    echo "warning: $file has $lines lines (more than $kWarnLines)"
  fi
done < <(find "${folders[@]}" scripts \( -name '*.h' -o -name '*.cpp' -o -name '*.cu' \
  -o -name '*.cuh' -o -name '*.sh' -o -name '*.py' \) -exec awk -v most=$kWarnLines \
  'END { if (NR > most) print NR, FILENAME }' {} \;)

if [[ $failures -gt 0 ]]; then echo "$failures findings"; exit 1; fi
echo "sources follow the house rules"
