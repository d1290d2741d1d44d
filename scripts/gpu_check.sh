#!/usr/bin/env bash
# Everything that only a GPU can show, in one command and under nine minutes: tests, memory and race
# checks, training against the CPU, determinism, benchmarks beside cuDNN and PyTorch.
#
#   scripts/gpu_check.sh --build [--arch LIST]   on any machine with the CUDA toolkit, no GPU needed:
#                                                fills build/gpu_check/ and packs gpu_check.tar.xz
#   scripts/gpu_check.sh --run OUT               on the machine with the GPU, where nothing else needs to
#                                                be installed: writes OUT/results.md, results.json, logs
#   scripts/gpu_check.sh --rehearse OUT          the same steps under emulation, few and small, without a
#                                                GPU: shows that this script works; times mean nothing
#
# --build takes CMake's list of architectures, default "80-real;90a-real;90-virtual". --run uses
# build/gpu_check/ or build/gpu_check.tar.xz beside it, and PyTorch where python3 can import it.
# Parts that fail or run out of time are reported, and the others run. Exit code: 0 when every check
# passed, 1 otherwise or without a GPU, 2 wrong usage.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
box=$root/build/gpu_check
limit_s=${FRCNN_GPU_CHECK_SECONDS:-530}

usage() { sed -n '2,19s/^# \{0,1\}//p' "$0"; }
die() { echo "gpu_check.sh: $*" >&2; exit 1; }

# ---------------------------------------------------------------------------- build
build_box() {
  local arch=${1:-}
  cd "$root" || exit 1
  cmake --preset gpu-check ${arch:+"-DCMAKE_CUDA_ARCHITECTURES=$arch"} || die "configuring failed"
  cmake --build --preset gpu-check -j "$(nproc)" \
    --target frcnn test_gpu test_engine test_model test_apps || die "the build failed"
  rm -rf "$box" && mkdir -p "$box/bin" "$box/lib"
  local built=$root/build/gpu-check
  cp "$built"/apps/frcnn "$built"/tests/test_{gpu,engine,model,apps} "$box/bin/"
  strip "$box"/bin/*
  # All shared libraries but those of the C library, which must be the machine's own.
  for binary in "$box"/bin/*; do
    ldd "$binary" | awk '$2 == "=>" && $3 ~ /^\// { print $3 }'
  done | sort -u | grep -vE '/(libc|libm|libdl|librt|libpthread|libresolv)\.so' \
    | xargs -I{} cp -L {} "$box/lib/"
  git rev-parse HEAD > "$box/commit" 2> /dev/null || echo unknown > "$box/commit"
  [[ -z "$(git status --porcelain -uno 2> /dev/null)" ]] || echo "with changes" >> "$box/commit"
  tar -C "$root/build" -cJf "$root/build/gpu_check.tar.xz" gpu_check
  du -h "$root/build/gpu_check.tar.xz"
}

# ---------------------------------------------------------------------------- run
began=$SECONDS
failed=0
parts_json=""
left() { echo $((limit_s - (SECONDS - began))); }

# part NAME LIMIT COMMAND...: runs it with output in OUT/NAME.log, notes result and time. A part that
# writes OUT/NAME.json has that in the results.
part() {
  local name=$1 seconds=$2 rc=0 from=$SECONDS
  shift 2
  (($(left) < seconds)) && seconds=$(left)
  if ((seconds < 3)); then
    rc=124
    echo "no time was left" > "$out/$name.log"
  else
    timeout -k 5 "$seconds" "$@" > "$out/$name.log" 2>&1
    rc=$?
  fi
  local took=$((SECONDS - from)) verdict=passed
  case $rc in
    0) ;;
    77) verdict=skipped ;;
    124 | 137) verdict="out of time"; failed=1 ;;
    *) verdict="failed ($rc)"; failed=1 ;;
  esac
  printf '| %s | %s | %d s |\n' "$name" "$verdict" "$took" | tee -a "$out/.table"
  local data=null
  [[ -s $out/$name.json ]] && data=$(cat "$out/$name.json")
  parts_json+="${parts_json:+,}{\"name\":\"$name\",\"result\":\"$verdict\",\"seconds\":$took,\"data\":$data}"
}

# Each is a function that `part` starts through this script, so that a time limit can end it.
do_tests() {
  local which="*"
  [[ $device == cuda ]] || which="GPU fill*"
  "$bin/test_gpu" -w NoTests "$which"
}
do_device_tests() {
  local rc=0 engine="device*" model="device*,A17: a GPU*"
  [[ $device == cuda ]] || engine="device: tensors keep*" model="device: detections*"
  "$bin/test_engine" -w NoTests "$engine" || rc=1
  "$bin/test_model" -w NoTests "$model" || rc=1
  return $rc
}
do_compare() {  # every operation, every version
  local rc=0
  $frcnn op --compare "cpu,$device" --cases "$cases" || rc=1
  for op in roi_pool roi_align precise_roi nms iou_match box_loss softmax_cross_entropy sigmoid_cross_entropy; do
    $frcnn op "$op" --compare "cpu,$device" --cases "$many" || rc=1
  done
  return $rc
}
sanitizer() {
  local tool=$1 found
  found=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2> /dev/null | head -1)
  [[ -n $found ]] || { echo "compute-sanitizer is not on this machine"; return 77; }
  "$found" --tool "$tool" --error-exitcode 9 --print-limit 20 $frcnn op --compare "cpu,$device" --cases 1
}
do_training() {
  local rc=0
  $frcnn synth --out "$out/shapes" --images 60 --width 96 --height 80 --max-size 40 --seed 3
  for where in cpu "$device"; do
    $frcnn --device "$where" train "$root/tests/e2e/tiny.toml" --data "$out/shapes" --out "$out/run-$where" \
      --set train.steps="$steps" --set train.log_every=1 --set roi.dropout=0 || return 1
  done
  # Losses of the first steps agree closely; later ones part ways as rounding grows, their mean does not.
  paste -d, <(cut -d, -f1,3 "$out/run-cpu/log.csv") <(cut -d, -f3 "$out/run-$device/log.csv") \
    | awk -F, -v steps="$steps" 'NR > 1 {
        gap = $2 - $3; if (gap < 0) gap = -gap
        if (!(gap <= 1e9)) { print "step " $1 ": not finite"; bad = 1 }
        if ($1 <= 10 && gap > 2e-3 * $2) { print "step " $1 ": cpu " $2 ", gpu " $3; bad = 1 }
        if ($1 > steps * 3 / 4) { cpu += $2; gpu += $3; n += 1 }
      }
      END {
        if (n == 0) { print "no losses were logged"; exit 1 }
        printf "mean loss of the last %d steps: cpu %.5f, gpu %.5f\n", n, cpu / n, gpu / n
        if (gpu < 0.9 * cpu || gpu > 1.1 * cpu) bad = 1
        exit bad }' || rc=1
  return $rc
}
do_determinism() {
  for run in a b; do
    $frcnn --device "$device" train "$root/tests/e2e/tiny.toml" --data "$out/shapes" --out "$out/same-$run" \
      --set train.steps=$((steps / 2)) || return 1
  done
  sha256sum "$out"/same-?/model.h5
  cmp "$out/same-a/model.h5" "$out/same-b/model.h5" && echo "two runs, same bytes"
}
bench() {  # NAME, then arguments of bench kernels
  local name=$1
  shift
  $frcnn --device "$device" bench kernels --shapes "$shapes" --seconds "$sample" --save "$out/$name.json" "$@" \
    && [[ -s $out/$name.json ]]
}
do_bench_conv() { bench bench_conv --op conv2d --op conv2d_relu_pool --skip naive --plot "$out/roofline.svg"; }
do_bench_boxes() {
  bench bench_boxes --op roi_pool --op roi_align --op precise_roi --op nms --op iou_match --op top_k --skip naive
}
do_bench_layers() { bench bench_layers --op linear --op max_pool --op batch_norm_train --op softmax_cross_entropy --op sgd --op adam --skip naive; }
do_model() {
  local rc=0
  for math in f32 tf32 bf16; do
    $frcnn --device "$device" --gpu-math "$math" bench model "${model[@]}" --json > "$out/model_$math.txt" || rc=1
    cat "$out/model_$math.txt"
  done
  { printf '['; cat "$out"/model_*.txt | paste -sd,; printf ']'; } > "$out/model.json"
  return $rc
}
has_torch() {
  python3 -c 'import torch, torchvision; assert torch.cuda.is_available()' 2> /dev/null \
    || { echo "python3 has no PyTorch that sees the GPU"; return 77; }
}
do_peer_kernels() {
  has_torch || return 77
  python3 "$root/tests/peers/gpu.py" --json "$out/peer_kernels.json" --against "$out"/bench_conv.json "$out"/bench_boxes.json
}
do_peer_model() {
  has_torch || return 77
  local rc=0
  for math in tf32 bf16; do
    python3 "$root/tests/peers/vgg16.py" --device cuda --precision "$math" --width 1000 --rounds 2 --iterations 5 \
      --variants channels_last --ours "$frcnn --device cuda --gpu-math $math bench model --width 1000 --json" \
      | tee "$out/peer_model_$math.txt" || rc=1
  done
  { printf '['; tail -qn1 "$out"/peer_model_*.txt | paste -sd,; printf ']'; } > "$out/peer_model.json"
  return $rc
}

write_results() {
  local gpu=$1
  {
    echo "# GPU check: $gpu"
    echo
    echo "- date: $(date -u '+%Y-%m-%d %H:%M UTC')"
    echo "- commit: $(paste -sd' ' "$box/commit" 2> /dev/null || echo unknown)"
    echo "- command: \`scripts/gpu_check.sh $mode OUT\`, $((SECONDS - began)) s"
    echo "- program: $($frcnn --version 2>&1 | paste -sd' ')"
    echo
    echo "| part | result | time |"
    echo "|---|---|---|"
    cat "$out/.table"
    for log in "$out"/*.log; do
      echo
      echo "## $(basename "$log" .log)"
      echo '```'
      tail -n 200 "$log" | cut -c1-200
      echo '```'
    done
  } > "$out/results.md.tmp" && mv "$out/results.md.tmp" "$out/results.md"
  printf '{"gpu":"%s","date":"%s","commit":"%s","parts":[%s]}\n' "$gpu" "$(date -u +%FT%TZ)" \
    "$(paste -sd' ' "$box/commit" 2> /dev/null)" "$parts_json" > "$out/results.json.tmp" \
    && mv "$out/results.json.tmp" "$out/results.json"
}

unpack() {
  [[ -x $box/bin/frcnn ]] && return
  [[ -s $root/build/gpu_check.tar.xz ]] || die "build/gpu_check is not there: run scripts/gpu_check.sh --build first"
  tar -C "$root/build" -xJf "$root/build/gpu_check.tar.xz" || die "build/gpu_check.tar.xz is damaged"
}

# settings OUT DEVICE: what the functions above use.
settings() {
  out=$(realpath -m "$1") device=$2
  mkdir -p "$out" || die "cannot make $out"
  if [[ $device == emulated ]]; then
    bin=${FRCNN_GPU_CHECK_BIN:-$root/build/release}
    frcnn=$bin/apps/frcnn bin=$bin/tests
    cases=1 many=2 steps=8 shapes=small sample=0.0005
    model=("$root/tests/e2e/tiny.toml" --height 64 --width 96 --repeat 1 --warmup 0)
  else
    bin=$box/bin frcnn=$box/bin/frcnn
    cases=20 many=200 steps=200 shapes=vgg16 sample=0.03
    model=(--width 1000 --repeat 7)
  fi
  export LD_LIBRARY_PATH="$box/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" FRCNN_TEST_SOURCE=$root OMP_WAIT_POLICY=passive
  if [[ $device != cuda ]]; then
    unset LD_LIBRARY_PATH
  elif [[ -z ${FRCNN_CUDA_LIBRARIES:-} ]]; then  # cuBLAS and cuDNN that came with PyTorch
    FRCNN_CUDA_LIBRARIES=$(python3 - << 'PYTHON' 2> /dev/null
import glob, importlib.util, os
spec = importlib.util.find_spec("nvidia")
print(":".join(sorted(f for root in spec.submodule_search_locations for f in glob.glob(os.path.join(root, "*", "lib")))))
PYTHON
    ) || FRCNN_CUDA_LIBRARIES=""
    export FRCNN_CUDA_LIBRARIES
  fi
}

run_all() {
  local gpu=$1
  rm -f "$out"/*.log "$out"/*.json "$out/.table"
  echo "$gpu; results in $out"
  local again=("$0" --part "$out" "$device")
  [[ $device == emulated ]] || nvidia-smi > "$out/nvidia-smi.txt" 2>&1
  part tests 110 "${again[@]}" do_tests
  part device_tests 60 "${again[@]}" do_device_tests
  part compare 90 "${again[@]}" do_compare
  part training 40 "${again[@]}" do_training
  part determinism 20 "${again[@]}" do_determinism
  part bench_conv 70 "${again[@]}" do_bench_conv
  part bench_boxes 25 "${again[@]}" do_bench_boxes
  part bench_layers 20 "${again[@]}" do_bench_layers
  part model 45 "${again[@]}" do_model
  if [[ $device == cuda ]]; then
    part peer_kernels 60 "${again[@]}" do_peer_kernels
    part peer_model 90 "${again[@]}" do_peer_model
    part memcheck 80 "${again[@]}" sanitizer memcheck
    part racecheck 80 "${again[@]}" sanitizer racecheck
  fi
  write_results "$gpu"
  echo "$out/results.md"
}

mode=${1:-}
case "$mode" in
  --build)
    arch=""
    if [[ ${2:-} == --arch ]]; then arch=${3:?--arch needs a list}; fi
    build_box "$arch"
    exit
    ;;
  --part)  # a part of --run in a process of its own
    settings "$2" "$3"
    shift 3
    "$@"
    exit
    ;;
  --run)
    [[ $# -eq 2 ]] || { usage; exit 2; }
    gpu=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2> /dev/null | head -1)
    [[ -n $gpu ]] || die "no GPU here (nvidia-smi shows none); --rehearse OUT runs the steps without one"
    unpack
    settings "$2" cuda
    run_all "$gpu"
    ;;
  --rehearse)
    [[ $# -eq 2 ]] || { usage; exit 2; }
    settings "$2" emulated
    [[ -x $frcnn ]] || die "$frcnn is not there: build the release preset with tests first"
    run_all "rehearsal under emulation, no GPU"
    ;;
  -h | --help) usage; exit 0 ;;
  *) usage >&2; exit 2 ;;
esac
exit $failed
