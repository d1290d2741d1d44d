#!/usr/bin/env bash
# From nothing to a trained detector on the CPU: installs what is missing, builds, draws a labelled
# data set, trains a small Faster R-CNN, evaluates it on held-out pictures and draws what it finds.
#   scripts/quickstart.sh [folder for the results, default quickstart-out]
# FRCNN_QUICKSTART_SET holds extra `--set` arguments of the training, e.g. "train.steps=20".
set -euo pipefail
out=$(realpath -m "${1:-quickstart-out}")
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }
step "1/6 install what is missing"
scripts/setup.sh

step "2/6 build (build/quickstart)"
mkdir -p build/quickstart "$out"
log=build/quickstart/build.log
{ cmake -G Ninja -S . -B build/quickstart -DCMAKE_BUILD_TYPE=Release -DFRCNN_TESTS=OFF \
  && cmake --build build/quickstart -j "$(nproc)" --target frcnn; } > "$log" 2>&1 \
  || { tail -40 "$log" >&2; exit 1; }
frcnn=$PWD/build/quickstart/apps/frcnn
"$frcnn" --version

step "3/6 draw a labelled data set: $out/data"
rm -rf "$out/data" "$out/run" "$out/pictures"
"$frcnn" synth --out "$out/data" --images 400 --seed 1

step "4/6 train: $out/run"
settings=()
for setting in ${FRCNN_QUICKSTART_SET:-}; do settings+=(--set "$setting"); done
"$frcnn" train configs/quickstart.toml "${settings[@]}" --data "$out/data" --out "$out/run"

step "5/6 evaluate on pictures that training has not seen"
"$frcnn" eval "$out/run" --data "$out/data" --split test

step "6/6 detect on some of them"
mapfile -t names < <(head -n 8 "$out/data/ImageSets/Main/test.txt")
pictures=()
for name in "${names[@]}"; do pictures+=("$out/data/JPEGImages/${name%% *}".*); done
"$frcnn" detect "$out/run" "${pictures[@]}" --score 0.5 --out "$out/pictures"

cat <<END

Pictures with boxes: $out/pictures
Report of the training: $out/run/report.html
END
