#!/usr/bin/env bash
# `frcnn detect`: what it reads (files, folders, patterns, lists, videos) and what it writes.
#   detect.sh PROGRAM
source "$(dirname "$0")/lib.sh"
small_set data
expect "train" "$frcnn" train "$here/tiny.toml" --data data --out run --set train.steps=4 --threads 1
pictures=data/JPEGImages
rows() { grep -c '"image_id"' "$1"; }

expect "detect" "$frcnn" detect run $pictures --score 0 --json
cp out.txt one.json
expect "batches" "$frcnn" detect run $pictures --score 0 --json --batch 5
same "a batch finds what single pictures do" one.json out.txt
"$frcnn" synth --out other --images 4 --width 70 --height 90 --min-size 12 \
  --max-size 30 --seed 5 > /dev/null
expect "two sizes" "$frcnn" detect run $pictures other/JPEGImages --score 0 --json
cp out.txt mixed.json
expect "two sizes in batches" \
  "$frcnn" detect run $pictures other/JPEGImages --score 0 --json --batch 8
same "a batch of pictures of different sizes" mixed.json out.txt
expect "list" bash -c "ls $pictures/* | '$frcnn' detect run - --score 0 --json"
same "a list on standard input" one.json out.txt
refuses "list of nothing" 1 'names no picture' bash -c "echo | '$frcnn' detect run - --json"
refuses "list of what is missing" 1 "line 2: 'nowhere.jpg' is not a file" \
  bash -c "printf '%s\nnowhere.jpg\n' $pictures/000001.jpg | '$frcnn' detect run - --json"

mkdir -p deep/below/further
cp $pictures/000001.jpg deep/below/a.jpg
cp $pictures/000002.jpg deep/below/further/a.jpg
refuses "folder without pictures of its own" 1 'holds no pictures' "$frcnn" detect run deep --json
expect "--recursive" "$frcnn" detect run deep --recursive --score 0 --out found --format csv,json,text
absent "--format without pictures" found/a.jpg
holds "names that two pictures share" found/detections.json '"a-2"'
checks=$((checks + 1))
[[ $(wc -l < found/detections.csv) -eq $(($(rows found/detections.json) + 1)) ]] \
  || fail "CSV and JSON differ in their number of detections"
holds "CSV" found/detections.csv '^image,class,score,xmin,ymin,xmax,ymax$'
refuses "unknown format" 2 'excel' "$frcnn" detect run deep --recursive --out found --format excel
refuses "a format without a folder" 2 'needs --out' "$frcnn" detect run $pictures --json --format csv

expect "labels by a model" "$frcnn" detect run $pictures --score 0 --out labels --format voc
expect "labels by a model are a data set" "$frcnn" inspect labels/voc --json
holds "labels by a model: pictures" out.txt '"images": 12'
expect "labels by a model train" \
  "$frcnn" train "$here/tiny.toml" --data labels/voc --out again --set train.steps=1 --threads 1 \
  --set data.train_split=all --set data.val_split=all
refuses "labels are not overwritten" 1 'labels/voc: exists' \
  "$frcnn" detect run $pictures --out labels --format voc

expect "--track-time" "$frcnn" detect run $pictures --out timed --track-time --no-pictures
holds "--track-time" out.txt '^detect +[0-9.]+ +[0-9.]+ +[0-9.]+$'
checks=$((checks + 1))
[[ $(grep -cE '^[0-9]{6},96,64,[0-9]+,[0-9.]+,[0-9.]+,[0-9.]+$' timed/timing.csv) -eq 12 ]] \
  || fail "timing.csv: not one row per picture"

head -c 300 $pictures/000003.jpg > deep/broken.jpg
refuses "a broken picture among others" 1 '1 of 3 pictures could not be read; the first: deep/broken' \
  "$frcnn" detect run deep --recursive --score 0 --out partly
checks=$((checks + 1))
[[ $(ls partly/*.txt | wc -l) -eq 2 ]] || fail "a broken picture kept the others from being done"

# Videos: frames are pictures, the result is a video.
touch empty.mp4
refuses "no ffmpeg" 1 'need the program ffprobe.*install ffmpeg' \
  env PATH=/nowhere "$frcnn" detect run empty.mp4 --json
if command -v ffmpeg > /dev/null; then
  ffmpeg -v error -framerate 5 -i "$pictures/%06d.jpg" -vf 'crop=95:63:0:0' -pix_fmt bgr0 \
    -c:v ffv1 film.mkv
  expect "video" "$frcnn" detect run film.mkv $pictures/000001.jpg --score 0 --out video --batch 5
  holds "frames in order" video/detections.json '"film-000012"'
  holds "pictures beside a video" video/detections.json '"000001"'
  absent "text files of frames" video/film-000001.txt
  checks=$((checks + 1))
  shape=$(ffprobe -v error -count_frames -select_streams v:0 \
    -show_entries stream=width,height,nb_read_frames,avg_frame_rate -of csv=p=0 video/film.mp4)
  [[ $shape == 96,64,5/1,12 ]] || fail "video: expected 12 frames of 96x64 at 5/s, found $shape"
  echo "no video" > junk.mp4
  refuses "a file that is no video" 1 'junk.mp4: holds no video that ffmpeg can read' \
    "$frcnn" detect run junk.mp4 --out junk
  mkdir -p taken/film.mp4  # a folder of the video's name
  refuses "a video that cannot be put in place" 1 'film.mp4' \
    "$frcnn" detect run film.mkv --out taken
  absent "half a video" taken/.part-film.mp4
else
  [[ -z ${CI:-} ]] || fail "CI has no ffmpeg: the checks of videos did not run"
fi
finish
