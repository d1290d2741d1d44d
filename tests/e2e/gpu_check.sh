#!/usr/bin/env bash
# scripts/gpu_check.sh goes through its steps (under emulation) and refuses what it cannot do.
#   gpu_check.sh PROGRAM
source "$(dirname "$0")/lib.sh"
script=$here/../../scripts/gpu_check.sh
bin=$(dirname "$(dirname "$frcnn")")
export FRCNN_GPU_CHECK_BIN=$bin

expect "rehearsal" "$script" --rehearse results
for part in tests device_tests compare training determinism bench_conv bench_boxes bench_layers model; do
  holds "rehearsal: $part" results/results.md "^\\| $part \\| passed \\|"
  holds "rehearsal: $part" results/results.json "\"name\":\"$part\",\"result\":\"passed\""
done
holds "rehearsal: times of a kernel" results/results.md '^  forward +mma_tf32 '
expect "rehearsal: rows of a benchmark" "$frcnn" bench kernels --op relu --shapes small --seconds 0.001 \
  --against results/bench_boxes.json
if command -v python3 > /dev/null; then
  expect "rehearsal: results.json is JSON" python3 -m json.tool results/results.json
fi

# A part that fails is reported, and the others run: here the program is one that does nothing.
mkdir -p none/apps none/tests
for name in apps/frcnn tests/test_gpu tests/test_engine tests/test_model; do
  printf '#!/bin/sh\nexit 1\n' > none/$name
  chmod +x none/$name
done
checks=$((checks + 1))
FRCNN_GPU_CHECK_BIN=$work/none "$script" --rehearse broken > out.txt 2>&1 && fail "broken programs pass"
holds "broken programs" broken/results.md '^\| tests \| failed \(1\) \|'
holds "broken programs" broken/results.md '^\| model \| failed \(1\) \|'

checks=$((checks + 1))
"$script" > out.txt 2> err.txt
[[ $? -eq 2 ]] || fail "no argument: expected exit code 2"
if ! command -v nvidia-smi > /dev/null; then
  checks=$((checks + 1))
  "$script" --run nothing > out.txt 2> err.txt
  [[ $? -eq 1 ]] || fail "--run without a GPU: expected exit code 1"
  holds "--run without a GPU" err.txt 'no GPU here'
  absent "--run without a GPU" nothing
fi
finish
