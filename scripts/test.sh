#!/usr/bin/env bash
# Installs what is missing, builds, and runs all tests; the last lines are ctest's summary.
#   scripts/test.sh [arguments for ctest, e.g. -R data]
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh
jobs=$(nproc)
log=build/release/setup.log
mkdir -p build/release
cmake --preset release -DFRCNN_TESTS=ON > "$log" 2>&1 || { cat "$log" >&2; exit 1; }
echo "Building with $jobs jobs (build/release) ..."
cmake --build --preset release -j "$jobs" > build/release/build.log 2>&1 \
  || { grep -E -A5 'FAILED|error' build/release/build.log >&2 || tail -50 build/release/build.log >&2; exit 1; }

# Each Catch2 case is a test of its own, so ctest spreads them evenly. Waiting OpenMP threads sleep
# instead of spinning: tests run side by side.
export OMP_WAIT_POLICY=passive
exec ctest --test-dir build/release --no-tests=error --output-on-failure -j "$jobs" --progress "$@"
