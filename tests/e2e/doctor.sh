#!/usr/bin/env bash
# frcnn doctor: exit codes, places, JSON, and the repaired copy.
#   doctor.sh PROGRAM
source "$(dirname "$0")/lib.sh"
small_set data 40
sums() { find "$1" -type f -exec md5sum {} + | sort; }

expect 'a clean set passes' "$frcnn" doctor data
holds 'it says so' out.txt '^0 errors, 0 warnings'
holds 'classes are counted' out.txt '^  class +objects +pictures'
holds 'anchors are judged' out.txt '^anchors of the defaults: anchors.sizes = \[128, 256, 512\]'
holds 'others are suggested' out.txt '^suggested by k-means on IoU: anchors.sizes = \['
expect 'JSON of a clean set' "$frcnn" doctor data --json
holds 'JSON counts' out.txt '"errors": 0'

# An empty box in the last line but one of the first annotation, a PNG named .jpg, a copy in test.
first=$(find data/Annotations -name '*.xml' | sort | head -n 1)
id=$(basename "$first" .xml)
sed -i 's#^</annotation>#<object><name>circle</name><bndbox><xmin>5</xmin><ymin>5</ymin>'\
'<xmax>5</xmax><ymax>9</ymax></bndbox></object>\n</annotation>#' "$first"
line=$(grep -n '<xmin>5</xmin><ymin>5</ymin><xmax>5' "$first" | cut -d: -f1)
picture=$(find data/JPEGImages -name "$id.*")
one=$(head -n 1 data/ImageSets/Main/train.txt)
echo "$one" >> data/ImageSets/Main/test.txt
sums data > before.txt

rc=0
"$frcnn" doctor data --fix fixed > out.txt 2> err.txt || rc=$?
[[ $rc -eq 1 ]] || fail "a set with errors: exit code $rc, expected 1"
holds 'the box with its line' out.txt "^  data/Annotations/$id.xml:$line: left out: 'circle'"
holds 'its code' out.txt '^error \[box-empty\] boxes without area: 1$'
holds 'the picture in two splits' out.txt '^error \[split-leak\]'
holds 'with its line' out.txt "^  data/ImageSets/Main/train.txt:1: picture '$one'"
holds 'the repair is told' out.txt '^fixed: repaired copy with 40 pictures'
holds 'and listed' fixed/repairs.txt "$id.xml:$line: removed: 'circle'"
sums data > after.txt
same 'the original is untouched' before.txt after.txt
expect 'the copy has no errors' "$frcnn" doctor fixed
expect 'and can be read strictly' "$frcnn" inspect fixed --strict
[[ -e $picture ]] || fail 'a picture of the original is gone'

refuses 'a copy over another folder' 1 'fixed: --fix expects a folder that does not exist yet' \
  "$frcnn" doctor data --fix fixed
refuses 'no data set' 1 'there is no such data set' "$frcnn" doctor nowhere
refuses 'no split' 1 "split 'x' does not exist" "$frcnn" doctor data --split x
rc=0
"$frcnn" doctor fixed --strict --rare 1000 > out.txt 2> err.txt || rc=$?
[[ $rc -eq 1 ]] || fail "--strict with notes: exit code $rc, expected 1"
absent 'temporary folders' ./*.tmp
finish
