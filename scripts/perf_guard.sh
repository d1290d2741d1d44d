#!/usr/bin/env bash
# Counts the instructions of the ten hottest paths of the kernels (tests/perf/hot_paths.cpp) and
# compares them with tests/perf/instructions.txt: a path that takes more than 10 % over its recorded
# number fails. Instructions are counted by callgrind on a processor that it plays (AVX2), so the
# load and kind of the machine don't matter, and no clock is read; what the compiler does with the
# code does, so another compiler than the recorded one is a reason to skip (status 0, said).
#   scripts/perf_guard.sh [BUILD]            compare; BUILD: a Release build folder (build/release)
#   scripts/perf_guard.sh --record [BUILD]   write the numbers anew, after a change that is meant
set -euo pipefail
cd "$(dirname "$0")/.."
margin=10  # per cent
record=false
if [[ ${1:-} == --record ]]; then record=true; shift; fi
build=${1:-build/release}
numbers=tests/perf/instructions.txt
grep -q '^CMAKE_BUILD_TYPE:STRING=Release$' "$build/CMakeCache.txt" 2> /dev/null || {
  echo "perf_guard.sh: $build is no Release build folder (cmake --preset release)" >&2; exit 2; }
command -v valgrind > /dev/null || {
  echo "perf_guard.sh: no valgrind (scripts/setup.sh --dev)" >&2; exit 2; }
compiler=$(sed -n 's/^CMAKE_CXX_COMPILER:[A-Z]*=//p' "$build/CMakeCache.txt")
compiler="$(basename "$compiler") $("$compiler" -dumpfullversion)"
if ! grep -qw avx2 /proc/cpuinfo; then
  echo "perf_guard.sh: skipped: this processor has no AVX2, callgrind would count other code"; exit 0
fi
if ! $record && ! grep -qxF "# compiler: $compiler" "$numbers"; then
  echo "perf_guard.sh: skipped: recorded with $(sed -n 's/^# compiler: //p' "$numbers"), here is $compiler"
  exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cmake --build "$build" --target hot_paths > "$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }
valgrind --tool=callgrind --toggle-collect=measured_path --dump-after=measured_path \
  --callgrind-out-file="$work/calls" "$build/tests/hot_paths" > "$work/names" 2> "$work/log" \
  || { cat "$work/log"; exit 1; }

# One dump per path, numbered in order; "totals:" is its count.
number=0
while read -r path; do
  number=$((number + 1))
  echo "$path $(sed -n 's/^totals: //p' "$work/calls.$number")"
done < "$work/names" > "$work/counts"

if $record; then
  { echo "# Instructions of each path of tests/perf/hot_paths.cpp, written by scripts/perf_guard.sh --record"
    echo "# compiler: $compiler"
    cat "$work/counts"; } > "$numbers.new"
  mv "$numbers.new" "$numbers"
  cat "$numbers"
  exit 0
fi
awk -v margin=$margin '
  FNR == NR { if ($1 != "#") expected[$1] = $2; next }
  { found[$1] = 1
    if (!($1 in expected)) { printf "%-20s is not recorded\n", $1; bad = 1; next }
    change = 100 * ($2 / expected[$1] - 1)
    verdict = ""
    if (change < -margin) verdict = "  (fewer: record anew)"
    if (change > margin) { verdict = "  TOO MANY"; bad = 1 }
    printf "%-20s %12d instructions, recorded %12d: %+6.1f %%%s\n", $1, $2, expected[$1], change, verdict }
  END {
    for (path in expected) if (!(path in found)) { printf "%-20s was not run\n", path; bad = 1 }
    exit bad }' "$numbers" "$work/counts" || {
  echo "perf_guard.sh: more than $margin % over the recorded number; --record if that is meant" >&2
  exit 1; }
