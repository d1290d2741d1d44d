#!/usr/bin/env bash
# Every training scheme from the command line: stages, proposals, resuming in the middle.
#   schemes.sh PROGRAM
source "$(dirname "$0")/lib.sh"
config=$here/tiny.toml
small_set data 20
train() { "$frcnn" train "$config" --data data "$@"; }

# 4-step alternating training: one command, one shared backbone.
four=(--set train.scheme=alternating --set train.stage_steps="[6, 4, 6, 4]"
  --set data.val_split=val)
expect "alternating" train "${four[@]}" --out four
for stage in 3 4; do
  holds "shared layers of stage $stage" err.txt \
    "stage +$stage of 4: shared layers MD5 ([0-9a-f]{32}) before, \1 after"
done
for file in 0-initial 1-rpn 2-detector 3-rpn 2-proposals 4-proposals; do
  checks=$((checks + 1))
  [[ -s four/stages/$file.h5 ]] || fail "alternating: no stages/$file.h5"
done
holds "recall of stage 1" four/metrics.json '"proposals": \['
holds "mAP at the end" four/metrics.json '"step": 20,'
holds "log" four/log.csv '^20,.*,4$'
# The RPN of step 3, the head of step 4 and the backbone of step 2 are in one file.
expect "detections of the alternating run" "$frcnn" eval four --data data --json

# Killed in every stage and between two, then resumed: the same bytes.
for delay in 0.1 0.3 0.5 0.7; do
  for _ in 1 2 3; do
    "$frcnn" train "$config" --data data "${four[@]}" --out "killed-$delay" --resume > /dev/null 2>&1 &
    pid=$!
    sleep "$delay"
    kill -KILL $pid 2> /dev/null
    wait $pid 2> /dev/null
  done
  expect "resume of killed-$delay" train "${four[@]}" --out "killed-$delay" --resume
  same "model of killed-$delay" four/model.h5 "killed-$delay/model.h5"
  same "proposals of killed-$delay" four/stages/4-proposals.h5 "killed-$delay/stages/4-proposals.h5"
  absent "killed-$delay" "killed-$delay"/*.tmp "killed-$delay"/*/*.tmp
done
# Ended exactly between two stages, and in the middle of one; lost proposals are made again.
for step in 6 8 10; do
  expect "stop after step $step" train "${four[@]}" --out parts --resume --stop-after "$step"
done
rm parts/stages/2-proposals.h5
expect "resume of parts" "$frcnn" train --resume --out parts
same "model in parts" four/model.h5 parts/model.h5

# The RPN alone, its proposals, and a detector trained on them.
expect "rpn_only" train --set train.scheme=rpn_only --out rpn
holds "recall of rpn_only" out.txt 'recall of [0-9]+ objects'
holds "losses of rpn_only" rpn/log.csv '^12,[0-9.]+,[0-9.]+,[0-9.]+,[0-9.]+,0,0,'
for split in train val; do
  expect "propose $split" "$frcnn" propose rpn --data data --split $split --train-limits \
    --out $split.h5
  holds "propose $split" out.txt '0.5:0.95 \(AR\)'
done
expect "propose --json" "$frcnn" propose rpn --data data --json
holds "propose --json" out.txt '"average_recall"'
expect "detector_only" train --set train.scheme=detector_only --set data.proposals=train.h5 \
  --set data.val_proposals=val.h5 --out detector
holds "losses of detector_only" detector/log.csv '^12,[0-9.]+,[0-9.]+,0,0,[0-9.]+,[0-9.]+,'
expect "eval with proposals" "$frcnn" eval detector --data data --proposals val.h5 --json
expect "model of detector_only resumed" "$frcnn" train --resume --out detector

expect "non_approximate_joint" train --set train.scheme=non_approximate_joint --out joint

# What cannot be right.
refuses "detections of an RPN" 1 'has no detection head' "$frcnn" detect rpn data/JPEGImages --json
refuses "mAP of an RPN" 1 'has no detection head' "$frcnn" eval rpn --data data
refuses "detections without an RPN" 1 'has no RPN of its own' "$frcnn" detect detector data/JPEGImages --json
refuses "mAP without an RPN" 1 'eval --proposals FILE' "$frcnn" eval detector --data data
refuses "proposals without an RPN" 1 'has no RPN of its own' "$frcnn" propose detector --data data
refuses "too few steps" 2 'leave none for its step' \
  train --set train.scheme=alternating --set train.steps=3 --out bad
refuses "detector without proposals" 2 'needs data.proposals' \
  train --set train.scheme=detector_only --out bad
refuses "proposals of another split" 1 'holds no proposals of picture' \
  train --set train.scheme=detector_only --set data.proposals=val.h5 --out bad
refuses "no proposals file" 1 'is not a proposals file of frcnn' \
  train --set train.scheme=detector_only --set data.proposals=rpn/model.h5 --out bad
refuses "RoI pooling" 2 'roi.layer' \
  train --set train.scheme=non_approximate_joint --set roi.layer=roi_pool --out bad
absent "refused runs" bad
finish
