#!/usr/bin/env bash
# Builds a fuzz target of tests/fuzz, or all, with Clang, AddressSanitizer and UBSan, and runs each
# for a while on one core. Ends with 1 when there was a finding, whose input is then in build/fuzz.
#   scripts/fuzz.sh torch 600      the target tests/fuzz/torch_fuzz.cpp for 600 seconds
#   scripts/fuzz.sh all 60         every target for 60 seconds (the default)
# FRCNN_FUZZ_CXX chooses the compiler (clang++-14), FRCNN_FUZZ_BUILD the folder (build/fuzz).
set -euo pipefail
cd "$(dirname "$0")/.."

[ $# -ge 1 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }
target=$1
seconds=${2:-60}
build=${FRCNN_FUZZ_BUILD:-build/fuzz}
compiler=${FRCNN_FUZZ_CXX:-clang++-14}
command -v "$compiler" > /dev/null || { echo "fuzz.sh: no $compiler: run scripts/setup.sh --fuzz" >&2; exit 1; }

targets=()
for source in tests/fuzz/*_fuzz.cpp; do
  name=$(basename "$source" _fuzz.cpp)
  if [ "$target" = all ] || [ "$target" = "$name" ]; then targets+=("$name"); fi
done
[ ${#targets[@]} -gt 0 ] || { echo "fuzz.sh: there is no tests/fuzz/${target}_fuzz.cpp" >&2; exit 2; }

mkdir -p "$build"
[ -f "$build/build.ninja" ] || cmake -S . -B "$build" -G Ninja -DCMAKE_CXX_COMPILER="$compiler" \
  -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_CXX_FLAGS_RELWITHDEBINFO="-O1 -g1" -DFRCNN_FUZZ=ON \
  -DFRCNN_TESTS=OFF -DFRCNN_EMULATION=OFF > "$build/configure.log" 2>&1 \
  || { cat "$build/configure.log" >&2; exit 1; }
nice ninja -C "$build" "${targets[@]/#/fuzz_}" > "$build/build.log" 2>&1 \
  || { grep -E -A5 'FAILED|error' "$build/build.log" >&2; exit 1; }

# libhdf5 leaks on damaged files; the program reads them in a child process that ends.
export LSAN_OPTIONS=suppressions=$PWD/tests/support/lsan.supp:print_suppressions=0
failed=0
for name in "${targets[@]}"; do
  # What the fuzzer finds worth keeping goes to the build folder; only seeds and fixed findings are
  # in the repository. A seed may come from the files of the tests, too.
  found=$build/corpus/$name
  mkdir -p "$found" "$build/findings"
  seeds=()
  [ -d "tests/fuzz/corpus/$name" ] && seeds=("tests/fuzz/corpus/$name")
  echo "== $name, $seconds s"
  if ! nice "$build/tests/fuzz/fuzz_$name" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 \
      -max_len=65536 -print_final_stats=1 -artifact_prefix="$build/findings/$name-" \
      "$found" "${seeds[@]}" > "$build/$name.log" 2>&1; then
    failed=1
    grep -E 'ERROR|SUMMARY|runtime error|Test unit written' "$build/$name.log" | head -10
  fi
  grep -E 'stat::number_of_executed_units|DONE' "$build/$name.log" || true
done
exit $failed
