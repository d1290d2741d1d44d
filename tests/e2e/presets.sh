#!/usr/bin/env bash
# Every preset trains two steps from anywhere, made small by --set; what it resolves to can be seen.
#   presets.sh PROGRAM
source "$(dirname "$0")/lib.sh"
small_set data 4
data=(--data data --set data.train_split=all --set data.val_split= --threads 1)
short=(--set train.epochs=0 --set train.steps=2 --set train.iter_size=1 --set train.batch=1)
pictures=(--set preprocess.shorter_side=64 --set preprocess.longer_side=96)
head=(--set 'roi.hidden=[16, 16]' --set roi.batch=16 --set rpn.train.post_nms=50)

expect "--list-presets" "$frcnn" train --list-presets
for name in paper-vgg16 paper-zf d2l-resnet18 keras-rpn-inception-resnet-v2 torchvision-alexnet \
  pytorch-vgg16-800 quickstart bccd-tiny; do
  holds "--list-presets" "$work/out.txt" "^$name +[a-z]"
done
refuses "an unknown preset" 2 "did you mean 'paper-zf'" \
  "$frcnn" train --preset paper-zff --data data --out none
absent "an unknown preset" none

train() {
  local name=$1
  shift
  expect "$name" "$frcnn" train --preset "$name" --out "run-$name" "${data[@]}" "${short[@]}" \
    "${head[@]}" "$@"
  checks=$((checks + 1))
  [[ -s run-$name/model.h5 && -s run-$name/report.html ]] || fail "$name left no model"
}
small=(--set 'anchors.sizes=[16, 32]')
for name in paper-vgg16 paper-zf pytorch-vgg16-800 torchvision-alexnet; do
  train $name "${pictures[@]}" "${small[@]}"
done
train d2l-resnet18 --set preprocess.shorter_side=64 --set preprocess.longer_side=64
train quickstart
train bccd-tiny --set 'data.classes=[]' "${pictures[@]}"
# The Keras preset wants the user's network: any that is not an ONNX file stands for it here.
refuses "no network" 2 'needs backbone.onnx, the file of the network' \
  "$frcnn" train --preset keras-rpn-inception-resnet-v2 --out run-keras "${data[@]}"
train keras-rpn-inception-resnet-v2 --set backbone.name=tiny --set backbone.cut= "${pictures[@]}"

# What it resolves to is a config of its own; a file and --set change the preset further.
expect "--print-config" "$frcnn" train --preset paper-zf --print-config --set train.seed=9
holds "--print-config" out.txt '^seed = 9$'
cp out.txt zf.toml
expect "--print-config of the printed" "$frcnn" train zf.toml --print-config
same "--print-config of the printed" out.txt zf.toml
printf '[rpn]\nbatch = 32\n' > more.toml
expect "CONFIG on top" "$frcnn" train more.toml --preset paper-zf --print-config
holds "CONFIG on top" out.txt '^name = "zf"$'
holds "CONFIG on top" out.txt '^batch = 32$'

# A run goes on with its own settings, whether or not the preset is named again.
expect "resume" "$frcnn" train --resume --preset d2l-resnet18 --out run-d2l-resnet18 "${data[@]}" \
  "${short[@]}" "${head[@]}" --set preprocess.shorter_side=64 --set preprocess.longer_side=64
refuses "resume with another preset" 2 'cannot become' \
  "$frcnn" train --resume --preset paper-zf --out run-d2l-resnet18 --data data
# The losses as a drawing.
expect "report --curve" "$frcnn" report run-paper-zf --curve losses.svg
holds "report --curve" losses.svg '^<svg xmlns=.*2000/svg'
holds "report --curve" losses.svg 'detector class'
refuses "report --curve of no run" 1 'holds no' "$frcnn" report data --curve none.svg
absent "report --curve of no run" none.svg
finish
