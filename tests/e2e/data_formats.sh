#!/usr/bin/env bash
# Data sets in every format through the commands: convert, inspect, train, eval, score; mixed sources.
#   data_formats.sh PROGRAM
source "$(dirname "$0")/lib.sh"
config=$here/tiny.toml
small_set voc

for to in coco yolo csv voc; do
  expect "convert to $to" "$frcnn" convert voc --out as-$to --to $to --pictures link
  expect "inspect $to" "$frcnn" inspect as-$to --json
  holds "inspect $to" out.txt "\"format\": \"$to\""
  grep -E '"(boxes|images|repaired|left_out|name)":' out.txt | grep -v '"name": "as-' > $to.txt
done
for to in coco yolo csv; do same "inspect $to" voc.txt $to.txt; done
# synth writes what convert makes of its VOC folder, but for what is found from pixels.
for to in coco yolo csv; do
  expect "synth as $to" "$frcnn" synth --out made-$to --format $to --images 20 --width 64 --height 48 \
    --min-size 12 --max-size 24 --seed 1
  expect "inspect made-$to" "$frcnn" inspect made-$to --json
  grep -E '"(boxes|images|repaired|left_out|name)":' out.txt | grep -v '"name": "made-' > made.txt
  checks=$((checks + 1))
  [[ $(grep -m1 -oE '"images": [0-9]+' made.txt) == '"images": 20' ]] || fail "synth as $to: $(head -2 made.txt)"
done
absent "synth" made-*.tmp
refuses "convert onto a folder" 1 'expected a new or empty folder' "$frcnn" convert voc --out as-csv --to csv
refuses "convert of nothing" 1 'there is no such data set' "$frcnn" convert nothing --out x --to csv
mkdir other && touch other/readme.txt
refuses "convert of something else" 1 'instances_<split>.json.*data.yaml.*readme.txt' \
  "$frcnn" convert other --out x --to csv
absent "convert" x ./*.tmp

# One detector from each format: the same pictures and boxes, so the same file.
train=(--set train.steps=2 --threads 1 --set data.val_split=val)
for to in voc coco yolo csv; do
  expect "train on $to" "$frcnn" train "$config" --data as-$to --out run-$to "${train[@]}" \
    --set 'data.train_split="train"' --set 'data.classes=["circle","square","triangle"]'
  expect "parameters of $to" "$frcnn" inspect run-$to --json
  grep -E '"loss|"best|"map' out.txt > $to.txt
  expect "eval on $to" "$frcnn" eval run-voc --data as-$to --split test --json
  cp out.txt eval-$to.json
done
for to in coco yolo csv; do
  same "train on $to" voc.txt $to.txt
  same "eval on $to" eval-voc.json eval-$to.json
done

# Files that are one split by themselves.
coco=as-coco/annotations
expect "train on files" "$frcnn" train "$config" --data $coco/instances_train.json \
  --val-data as-csv/val.csv --out run-files --set train.steps=2
holds "run.json" run-files/run.json '"val_data": ".*val.csv"'
expect "resume of it" "$frcnn" train --resume --out run-files
refuses "train on a file without validation" 2 'instances_train.json: is one split by itself.*--val-data' \
  "$frcnn" train "$config" --data $coco/instances_train.json --out no
expect "eval on a file" "$frcnn" eval run-voc --data $coco/instances_test.json --detections found.json --json
same "eval on a file" out.txt eval-voc.json
expect "score by COCO's numbers" "$frcnn" score found.json --data $coco/instances_test.json --json
same "score by COCO's numbers" out.txt eval-voc.json
holds "detections" found.json '"image_id": [0-9]+,'
cp -r $coco labels-only
expect "score without pictures" "$frcnn" score found.json --data labels-only/instances_test.json --json
same "score without pictures" out.txt eval-voc.json

# Mixed sources, classes renamed and chosen.
"$frcnn" synth --out second --images 10 --classes 2 --seed 8 > /dev/null
expect "mixed training" "$frcnn" train "$config" --data as-coco --data second --out run-mixed \
  --set train.steps=2 --set 'data.class_map={"square"="box"}' --set 'data.classes=["circle","box"]'
holds "mixed training" err.txt ': 16 pictures, 2 classes: circle, box'
holds "class map" run-mixed/config.toml 'class_map = \{"square" = "box"\}'
expect "splits by source" "$frcnn" eval run-mixed --data as-csv --data second --split test,all --json
refuses "too many splits" 2 'names 3 splits for 1 data sets' "$frcnn" eval run-voc --data voc --split a,b,c
refuses "the same pictures twice" 1 'is in two of the sets' "$frcnn" eval run-voc --data voc --data voc --split test
refuses "class map without class" 2 'which data.classes does not have' "$frcnn" train "$config" --data voc \
  --out no --set 'data.class_map={"a"="b"}' --set 'data.classes=["c"]'
expect "convert with renamed classes" "$frcnn" convert as-coco second --split trainval --out joined --to voc \
  --rename square=box --class box --json
holds "convert with renamed classes" out.txt '"box"'
absent "refused runs" no
finish
