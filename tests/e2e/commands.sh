#!/usr/bin/env bash
# The commands do what their help says on sound input.
#   commands.sh PROGRAM
source "$(dirname "$0")/lib.sh"
config=$here/tiny.toml
small_set data

expect "--version" "$frcnn" --version
holds "--version" out.txt 'oneDNN [0-9.]+, HDF5 [0-9.]+'
# How long waiting threads spin: briefly, unless the user says something else.
spins() { env -u OMP_WAIT_POLICY -u GOMP_SPINCOUNT OMP_DISPLAY_ENV=verbose "$@" "$frcnn" --version 2>&1 \
  | sed -n "s/.*GOMP_SPINCOUNT = '\(.*\)'/\1/p" | tail -1; }
expect "spin count" test "$(spins env)" = 10000
expect "spin count of the user" test "$(spins env GOMP_SPINCOUNT=7)" = 7
expect "wait policy of the user" test "$(spins env OMP_WAIT_POLICY=passive)" = 0
loader=$(ls /lib64/ld-linux-x86-64.so.2 2> /dev/null || true)
[[ -z $loader ]] || expect "through the dynamic loader" env -u OMP_WAIT_POLICY "$loader" "$frcnn" --version

for command in train eval score detect show why inspect synth report op import; do
  expect "$command --help" "$frcnn" $command --help
  holds "$command --help" out.txt "Example: frcnn $command "
done
expect "--help-config" "$frcnn" train --help-config
holds "--help-config" out.txt 'positive_iou = 0.7'
expect "--help-config markdown" "$frcnn" train --help-config markdown
same "docs/config.md" out.txt "$here/../../docs/config.md"

expect "train" "$frcnn" train "$config" --data data --out run --set train.steps=4 --threads 1
for file in config.toml run.json log.csv metrics.json evaluation.json report.html model.h5; do
  checks=$((checks + 1))
  [[ -s run/$file ]] || fail "train wrote no $file"
done
holds "report" run/report.html 'data:image/jpeg;base64'
for section in 'COCO metric' 'Error shares' 'Confusion matrix' 'Worst and best pictures'; do
  holds "report" run/report.html "<h2[^>]*>$section</h2>"
done
checks=$((checks + 1))
! grep -qE '(src|href)=.?https?:' run/report.html || fail "the report links to the network"
cp run/report.html report.html
expect "report" "$frcnn" report run
same "report" report.html run/report.html

expect "eval" "$frcnn" eval run --data data --split test --detections found.json --out eval.json
holds "eval" out.txt 'AP@0.5 \(VOC07 11-point\)'
expect "eval --json" "$frcnn" eval run --data data --split test --json
same "eval --json" out.txt eval.json
expect "score of the same detections" "$frcnn" score found.json --data data --split test --json
same "score of the same detections" out.txt eval.json

expect "eval --metrics all" "$frcnn" eval run --data data --split test --metrics all --resamples 20
for line in 'AP@0.5 \(VOC07' 'COCO metric' 'ar_large' 'AR@N' 'error shares' 'duplicate' 'calibration of' \
            'confusion matrix' '95 % intervals .*20 resamples' 'latency per picture on cpu'; do
  holds "eval --metrics all" out.txt "$line"
done
expect "score --metrics coco" "$frcnn" score found.json --data data --split test --metrics coco,errors
holds "score --metrics coco" out.txt 'COCO metric'
checks=$((checks + 1))
! grep -q 'VOC07' out.txt || fail "score --metrics coco: the VOC table was not asked for"
holds "eval --json" eval.json '"expected_calibration_error"'
refuses "score: metric" 2 'latency' "$frcnn" score found.json --data data --metrics latency

expect "detect" "$frcnn" detect run 'data/JPEGImages/*0[12].*' data/JPEGImages --out pictures --score 0
checks=$((checks + 1))
[[ $(ls pictures/*.txt | wc -l) -eq 12 ]] || fail "detect: not one text file per picture"
holds "detect" pictures/detections.json '"category_name"'
expect "detect --json" "$frcnn" detect run data/JPEGImages --score 0 --json
same "detect --json" out.txt pictures/detections.json

expect "show" "$frcnn" show truth,inside-anchors,samples,filters run --data data --out shown
checks=$((checks + 1))
[[ $(ls shown/*.png | wc -l) -eq 5 ]] || fail "show: not one picture of each kind, two of samples"
expect "why" "$frcnn" why run --data data --split test --score 0 --out shown
holds "why" out.txt '^[0-9]+ pictures, [0-9]+ objects: [0-9]+ found, [0-9]+ missed$'
holds "why" out.txt '^detections: [0-9]+ right, [0-9]+ false'
checks=$((checks + 1))
ls shown/*-why.png >/dev/null || fail "why: wrote no picture"
expect "why --json" "$frcnn" why run --data data --split test --score 0 --json
holds "why --json" out.txt '"lost_at"'

for path in run run/model.h5 data "$config" data/JPEGImages/000001.*; do
  expect "inspect $path" "$frcnn" inspect "$path"
  expect "inspect $path --json" "$frcnn" inspect "$path" --json
  holds "inspect $path --json" out.txt '"kind"'
done

# The same settings give the same bytes.
expect "train again" "$frcnn" train "$config" --data data --out run2 --set train.steps=4 --threads 1 \
  --serve 0
holds "train --serve" err.txt '^serving +http://127\.0\.0\.1:[0-9]+/$'
holds "log.jsonl" run2/log.jsonl '^\{"step": 4, "epoch": [0-9.]+, "loss": [0-9.]+,.*"stage": 1\}$'
checks=$((checks + 1))
grep -qa "brain.Event:2" run2/tensorboard/events.out.tfevents.* || fail "train wrote no event file"
refuses "train --serve of nonsense" 2 '--serve x: expected a port' \
  "$frcnn" train "$config" --data data --out run9 --set train.steps=4 --serve x
absent "train --serve of nonsense" run9
same "train again" run/model.h5 run2/model.h5
# Global options may stand in front of the command as well.
expect "options in front" "$frcnn" --threads 1 --mem-limit 2GiB inspect data
refuses "memory limit" 1 'memory' "$frcnn" --mem-limit 200kB train "$config" --data data --out run3
# One operation on arrays from a file, and all of them on random cases.
expect "op --random" "$frcnn" op roi_align --random 7 --out case.h5
expect "op" "$frcnn" op roi_align --in case.h5 --out result.h5 --set sampling_ratio=3
holds "op" out.txt 'd_x +float32 +\('
expect "op again" "$frcnn" op roi_align --in case.h5 --out result2.h5 --set sampling_ratio=3
same "op again" result.h5 result2.h5
expect "op --compare" "$frcnn" op conv2d --compare cpu,cpu --cases 8
holds "op --compare" out.txt 'onednn_winograd +8 '
expect "op --list" "$frcnn" op --list
holds "op --list" out.txt '^[0-9]+ operations, [0-9]+ of them on a GPU'
expect "op --list --json" "$frcnn" op --list --json
holds "op --list --json" out.txt '"name":"iou_match"'
refuses "op of another name" 2 "did you mean 'roi_align'" "$frcnn" op roi_algin --in case.h5 --out no.h5
refuses "op of another file" 1 "of the operation 'roi_align', not of 'nms'" \
  "$frcnn" op nms --in case.h5 --out no.h5
refuses "op without --out" 2 '--out is missing' "$frcnn" op nms --in case.h5
absent "op" no.h5 no.h5.tmp
# Benchmarks: the numbers are the machine's, their form is not.
bench=("$frcnn" bench kernels --shapes small --seconds 0.001)
expect "bench kernels" "${bench[@]}" --op conv2d --save rows.json --plot roofline.svg
holds "bench kernels" out.txt '^ceilings: copy [0-9.]+ GB/s, f32 [0-9.]+ TFLOP/s'
holds "bench kernels" out.txt '^  backward_weights +onednn '
holds "bench kernels --save" rows.json '"median_ms":'
holds "bench kernels --plot" roofline.svg '^<svg .*FLOP per byte'
expect "bench kernels --against" "${bench[@]}" --op conv2d --against rows.json
holds "bench kernels --against" out.txt '^  forward +onednn .*[0-9]x$'
refuses "bench kernels --against another file" 1 'case.h5: is not what' "${bench[@]}" --against case.h5 --op relu
expect "bench layers" "$frcnn" bench layers "$config" --height 64 --width 96 --seconds 0.001
holds "bench layers" out.txt '^all layers '
expect "bench model" "$frcnn" bench model "$config" --height 64 --width 96 --repeat 1 --warmup 0 --json
holds "bench model" out.txt '"train_step_ms":'
finish
