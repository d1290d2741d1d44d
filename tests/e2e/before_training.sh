#!/usr/bin/env bash
# What is told before step 0 and refused, the self-test --overfit, and the end of a training that
# meets a number that is not finite.
#   before_training.sh PROGRAM
source "$(dirname "$0")/lib.sh"
config=$here/tiny.toml
small_set data 20
train() { "$frcnn" train "$config" --data data "$@"; }

# The summary: pictures without objects, coverage, memory.
first=$(head -n 1 data/ImageSets/Main/train.txt)
sed -i '/<object>/,/<\/object>/d' "data/Annotations/$first.xml"
expect "training" train --out good
holds "negatives" err.txt '1 pictures without objects are used as negatives'
holds "coverage" err.txt '^ +all +[0-9]+ +[0-9.]+ % +[0-9.]+ % +0\.[0-9]+ +[0-9.]+ %$'
holds "memory" err.txt 'memory +about [0-9.]+ [kM]B for tensors .weights .* are there'
refuses "too little memory" 1 'training needs about .* kB .* lower train.batch' \
  "$frcnn" --mem-limit 600000 train "$config" --data data --out none
absent "too little memory" none
expect "coverage is bad" train --out bad --set "anchors.sizes=[200]" --set rpn.only_inside=false
holds "advice" err.txt 'advice: .*anchors.sizes.*anchors.ratios'

# Learning two pictures by heart.
expect "overfit" train --overfit 2 --set roi.hidden=[64] --set "anchors.sizes=[12,18,26]"
holds "overfit" out.txt '^overfit: PASS mAP 1.000 on 2 pictures after [0-9]+ steps'
checks=$((checks + 1))
train --overfit 2 --overfit-steps 3 > out.txt 2> err.txt
[[ $? -eq 1 ]] || fail "overfit that fails: exit code"
holds "overfit that fails" out.txt '^overfit: FAIL mAP 0\.[0-9]+ on 2 pictures after 3 steps'
holds "overfit that fails" err.txt '^hint '
refuses "more than there are" 1 'has only [0-9]+ pictures' train --overfit 100

# A learning rate with which weights overflow.
refuses "NaN" 1 \
  'step [0-9]+.*not finite: .* (of|after) [a-z0-9._]+.*images? .*data/JPEGImages.*; step [0-9]+.*frcnn replay nan/nan-step-[0-9]+' \
  train --out nan --set optimizer.lr=10 --set rpn.lambda=1e12 --set roi.lambda=1e12
capsule=$(echo nan/nan-step-*.capsule.h5)
absent "NaN" nan/*.tmp
cp err.txt train_err.txt
checks=$((checks + 1))
"$frcnn" replay "$capsule" > out.txt 2> err.txt
[[ $? -eq 1 ]] || fail "replay: exit code"
holds "replay" out.txt '^not finite .* step [0-9]+$'
# The same operation and layer as the training named.
checks=$((checks + 1))
grep -qF -- "$(sed -n 's/^not finite //p' out.txt)" train_err.txt || fail "replay names another tensor"
refuses "no capsule" 1 'model.h5' "$frcnn" replay good/model.h5
finish
