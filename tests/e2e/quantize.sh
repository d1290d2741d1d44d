#!/usr/bin/env bash
# `frcnn quantize`: a trained detector loses less than half a point of mAP, in 8 bits and in bfloat16;
# what cannot be done with an 8-bit model is refused.
#   quantize.sh PROGRAM
# With FRCNN_BCCD_MODEL, a detector of blood cells, and the BCCD data (tests/support), the limit is
# also held there.
source "$(dirname "$0")/lib.sh"

# map <output of eval --json>: the mean average precision in percent
map_of() {
  sed -n 's/.*"map_area": \([0-9.]*\).*/\1/p' "$1" | head -n 1 | awk '{print 100 * $1}'
}
# within <what> <file> <file>: the mAP of the second is at most half a point below the first's.
within() {
  local before after
  checks=$((checks + 1))
  before=$(map_of "$2") after=$(map_of "$3")
  awk -v a="$before" -v b="$after" 'BEGIN { exit !(a != "" && b != "" && b > a - 0.5) }' \
    || fail "$1: mAP $before before, $after after"
}

"$frcnn" synth --out data --images 600 --width 96 --height 64 --min-size 16 --max-size 40 --seed 3 \
  > /dev/null || exit 1
# Many objects: with the 360 of the test split one detection more or less is a quarter of a point.
"$frcnn" synth --out more --images 800 --width 96 --height 64 --min-size 16 --max-size 40 --seed 9 \
  > /dev/null || exit 1
expect "train" "$frcnn" train "$here/tiny.toml" --data data --out run --threads 1 \
  --set train.steps=1500 --set train.iter_size=1 --set train.batch=4 --set train.log_every=300 \
  --set train.checkpoint_every=3000 --set 'backbone.tiny_channels=[16,32,32,48]' \
  --set 'backbone.tiny_strides=[2,1,2,2]' --set backbone.init.method=he --set rpn.channels=32 \
  --set roi.init.method=he --set 'roi.hidden=[64,64]' --set roi.dropout=0.0 --set roi.batch=32 \
  --set roi.pooled_height=4 --set roi.pooled_width=4 --set optimizer.clip_norm=5.0 \
  --set optimizer.warmup_steps=50 --set 'optimizer.lr_steps=[0.7,0.9]'
expect "quantize" "$frcnn" quantize run --data data --images 32 --out int8.h5 --table
holds "its table" out.txt 'head.fc7.weight .* 0 to 255'
holds "what it made" out.txt 'precision int8 [(].* layers; percentile 99.99 over 32 pictures[)]'
expect "inspect" "$frcnn" inspect int8.h5
holds "the version of the file" out.txt 'checkpoint, format version 2'
holds "precision" out.txt '^precision   int8 [(]'
expect "detect" "$frcnn" detect int8.h5 data/JPEGImages/000001.jpg --json
holds "detect says what it computes with" err.txt '^precision int8 [(]'
if [[ $(wc -c < int8.h5) -gt $(($(wc -c < run/model.h5) / 3)) ]]; then
  fail "the 8-bit file is not far smaller"
fi

evaluate() {
  expect "eval $1" "$frcnn" eval "$2" --data "$3" --split "$4" --json "${@:5}"
  cp out.txt "$1.json"
}
evaluate f32 run more all
evaluate int8 int8.h5 more all
awk -v map="$(map_of f32.json)" 'BEGIN { exit !(map > 80) }' || fail "the detector learned nothing"
within "8 bits" f32.json int8.json
for range in max entropy; do
  expect "--range $range" "$frcnn" quantize run --data data --images 32 --out $range.h5 \
    --range $range
  evaluate $range $range.h5 more all
  within "--range $range" f32.json $range.json
done
if "$frcnn" detect run data/JPEGImages/000001.jpg --json --cpu-math bf16 > out.txt 2> err.txt; then
  evaluate bf16 run more all --cpu-math bf16
  within "bfloat16" f32.json bf16.json
else
  refuses "bfloat16 without the processor's help" 1 'no bfloat16 arithmetic' \
    "$frcnn" detect run data/JPEGImages/000001.jpg --json --cpu-math bf16
fi

refuses "quantise twice" 1 'cannot be quantised again' \
  "$frcnn" quantize int8.h5 --data data --out again.h5
refuses "training from 8 bits" 1 '8-bit weight for inference' "$frcnn" train run/config.toml \
  --data data --out run2 --set backbone.weights=int8.h5 --set backbone.weights_preprocess=any
refuses "an unknown layer" 2 'keep head.fc9: no layer' \
  "$frcnn" quantize run --data data --keep head.fc9 --out again.h5
refuses "the model as its own result" 1 'is the model itself' \
  "$frcnn" quantize run --data data --out run/model.h5
refuses "bf16 of an 8-bit model" 1 'the model is int8' \
  "$frcnn" detect int8.h5 data/JPEGImages/000001.jpg --json --cpu-math bf16
refuses "training in --cpu-math" 2 'is for inference' \
  "$frcnn" train "$here/tiny.toml" --data data --out run2 --cpu-math bf16
absent "refusals" again.h5 again.h5.tmp
expect "export" "$frcnn" export int8.h5 --format safetensors --out int8.safetensors
expect "bench" "$frcnn" bench model "$here/tiny.toml" --height 64 --width 96 --precision int8 \
  --no-train --repeat 1 --warmup 0
holds "bench says what it measured" out.txt 'inference in int8'

data=${FRCNN_TEST_DATA:-$here/../../../shared/data}/bccd/BCCD
if [[ -n ${FRCNN_BCCD_MODEL:-} && -d $data ]]; then
  expect "quantize for bccd" "$frcnn" quantize "$FRCNN_BCCD_MODEL" --data "$data" --out bccd.h5
  evaluate bccd32 "$FRCNN_BCCD_MODEL" "$data" test
  evaluate bccd8 bccd.h5 "$data" test
  within "8 bits on bccd" bccd32.json bccd8.json
fi
finish
