#!/usr/bin/env bash
# A backbone from an ONNX file: what can be cut, training on it, and a checkpoint that needs no file.
#   backbone.sh PROGRAM
source "$(dirname "$0")/lib.sh"
corpus=$here/../fuzz/corpus/onnx
cp "$corpus/seed_mobile_dynamo.onnx" net.onnx
cut=$("$frcnn" backbone net.onnx --json | sed -n 's/^  "chosen": "\(.*\)",$/\1/p')

small_set data
expect "backbone" "$frcnn" backbone net.onnx
holds "backbone" out.txt "^  $cut +stride 16 x 16, 8 channels, a cell sees 31 x 31 pixels  \(default\)"
holds "backbone" out.txt "\(Softplus\): this operation is not known"
holds "backbone" out.txt "^cut at '$cut': 11 steps"
expect "backbone --all" "$frcnn" backbone net.onnx --all
refuses "a cut that does not exist" 1 "no node or output 'nowhere'; maps to cut at are " \
  "$frcnn" backbone net.onnx --cut nowhere
refuses "a cut behind what is not known" 1 "cannot be used: node [0-9]+ '.*' \(Softplus\)" \
  "$frcnn" backbone net.onnx --cut softplus
refuses "no map of stride 16" 1 'no map of stride 16 or 32 to cut at.*\(stride 2, 8 channels\)' \
  "$frcnn" train "$here/tiny.toml" --backbone "$corpus/seed_residual_script_norm.onnx" \
  --data data --out none
refuses "no ONNX file" 1 'broken.onnx: is cut short, damaged or not an ONNX file' \
  bash -c "head -c 999 net.onnx > broken.onnx; '$frcnn' backbone broken.onnx"
refuses "--run without --out" 2 'belong together' "$frcnn" backbone net.onnx --run a.npy

expect "train" "$frcnn" train "$here/tiny.toml" --backbone net.onnx --data data --out run \
  --set train.steps=4 --set backbone.frozen_until=
holds "train" err.txt "^backbone +net.onnx up to '$cut' \(chosen; .*\): 8 channels"
rm net.onnx
expect "detect without the file" "$frcnn" detect run data/JPEGImages --score 0 --json
expect "eval without the file" "$frcnn" eval run --data data
expect "resume without the file" "$frcnn" train --resume --out run
refuses "resume with another cut" 2 'started with backbone.cut = "", which cannot become "n4"' \
  "$frcnn" train --resume --out run --cut n4
refuses "train without the file" 1 'net.onnx: cannot be read' \
  "$frcnn" train "$here/tiny.toml" --backbone net.onnx --data data --out other
finish
