#!/usr/bin/env bash
# scripts/get_voc.sh and get_coco.sh on small archives from a file:// mirror: layout, resuming,
# refused checksums.
#   get_data.sh PROGRAM
source "$(dirname "$0")/lib.sh"
scripts=$here/../../scripts
command -v curl > /dev/null || { echo "[skipped] curl is not installed"; exit 77; }

# voc_tar FILE YEAR SPLIT SEED: a small VOC folder packed as VOC's archives are.
voc_tar() {
  rm -rf made VOCdevkit
  "$frcnn" synth --out made --images 4 --width 96 --height 64 --min-size 12 --max-size 30 --seed "$4" > /dev/null
  mkdir -p VOCdevkit "$(dirname "$1")"
  mv made "VOCdevkit/VOC$2"
  for file in "VOCdevkit/VOC$2"/{Annotations,JPEGImages}/*; do mv "$file" "$(dirname "$file")/$3$(basename "$file")"; done
  (cd "VOCdevkit/VOC$2/Annotations" && ls -- *.xml | sed 's/\.xml$//') > list.txt
  rm "VOCdevkit/VOC$2"/ImageSets/Main/*
  mv list.txt "VOCdevkit/VOC$2/ImageSets/Main/$3.txt"
  tar -cf "$1" VOCdevkit
  rm -rf VOCdevkit
}
voc_tar mirror/voc2007/VOCtrainval_06-Nov-2007.tar 2007 trainval 1
voc_tar mirror/voc2007/VOCtest_06-Nov-2007.tar 2007 test 2
voc_tar mirror/voc2012/VOCtrainval_11-May-2012.tar 2012 trainval 3
(cd mirror && md5sum voc*/*.tar | sed 's: .*/:  :') > sums.txt
export FRCNN_VOC_MIRROR="file://$work/nothing file://$work/mirror"
get=("$scripts/get_voc.sh" --dest got)

expect "dry run" "${get[@]}" --dry-run
holds "dry run" out.txt 'VOCtrainval_06-Nov-2007.tar: 460 MB to download, .* md5 c52e279531787c972589f7e41ab4ae64'
absent "dry run" got
# The published sums do not fit these archives.
checks=$((checks + 1))
if "${get[@]}" > out.txt 2> err.txt; then fail "a wrong checksum was accepted"; fi
holds "wrong checksum" err.txt 'VOCtrainval_06-Nov-2007.tar: expected md5 c52e27.*, found [0-9a-f]{32}; the download was deleted'
absent "wrong checksum" got/VOCdevkit got/VOCtrainval_06-Nov-2007.tar got/VOCtrainval_06-Nov-2007.tar.part
# Cut off in the middle: what is there is kept.
head -c 3000 mirror/voc2007/VOCtrainval_06-Nov-2007.tar > got/VOCtrainval_06-Nov-2007.tar.part
expect "get_voc" "${get[@]}" --checksums sums.txt
holds "resumed" out.txt 'going on behind 3000 bytes'
absent "archives" got/*.tar got/*.part
for split in trainval test all; do
  expect "inspect 2007 $split" "$frcnn" inspect got/VOCdevkit/VOC2007 --split $split --json
done
holds "both archives" out.txt '"images": 8,'
expect "inspect 2012" "$frcnn" inspect got/VOCdevkit/VOC2012 --split trainval
expect "again" "${get[@]}" --checksums sums.txt
holds "again" out.txt 'VOCtest_06-Nov-2007.tar: is there already'
checks=$((checks + 1))
if FRCNN_VOC_MIRROR=file://$work/nothing "$scripts/get_voc.sh" --dest no --years 2012 > out.txt 2> err.txt; then
  fail "a missing mirror was accepted"
fi
holds "no mirror" err.txt 'no mirror could be read; run again to go on'
checks=$((checks + 1))
"$scripts/get_voc.sh" --year 2007 > out.txt 2> err.txt
[[ $? -eq 2 ]] || fail "an unknown option was accepted"

if command -v zip > /dev/null && command -v unzip > /dev/null; then
  small_set voc
  "$frcnn" convert voc --out coco --to coco --split train --split val > /dev/null
  for split in train val; do
    mv coco/$split coco/${split}2017
    mv coco/annotations/instances_$split.json coco/annotations/instances_${split}2017.json
  done
  echo '{}' > coco/annotations/captions_val2017.json
  mkdir -p mirror/zips
  (cd coco && zip -q -r ../mirror/annotations_trainval2017.zip annotations &&
    zip -q -r ../mirror/zips/train2017.zip train2017 && zip -q -r ../mirror/zips/val2017.zip val2017)
  (cd mirror && md5sum ./*.zip zips/*.zip | sed 's: .*/:  :') > sums.txt
  export FRCNN_COCO_MIRROR=file://$work/mirror
  expect "get_coco" "$scripts/get_coco.sh" --dest got-coco --checksums sums.txt --keep-archives
  expect "inspect COCO" "$frcnn" inspect got-coco --split train
  holds "inspect COCO" out.txt 'splits: train2017 val2017'
  absent "other tasks" got-coco/annotations/captions_val2017.json
  checks=$((checks + 1))
  [[ -s got-coco/train2017.zip ]] || fail "--keep-archives kept nothing"
else
  echo "zip or unzip is not installed: get_coco.sh is not tested"
fi
finish
