#!/usr/bin/env bash
# Same seed, same state: for every scheme and setting of a list, runs with 1, 2 and 4 threads that
# load pictures, and a run that is killed (kill -9) again and again and goes on each time, end with
# the same weights and optimiser state. Prints their hashes.
#   exactness.sh PROGRAM
source "$(dirname "$0")/lib.sh"
config=$here/tiny.toml
small_set data 20

# A scheme or setting joins by a line: name, then settings. detector_only needs proposals, which
# `frcnn propose` makes of the model of rpn_only before it.
variants=(
  "approximate_joint"
  "rpn_only --set train.scheme=rpn_only"
  "detector_only --set train.scheme=detector_only --set data.proposals=proposals.h5"
  "alternating --set train.scheme=alternating"
  "non_approximate_joint --set train.scheme=non_approximate_joint --set roi.layer=precise_roi"
  "adam_one_picture --set optimizer.method=adam --set train.batch=1"
  "multi_scale --set preprocess.train_shorter_sides=[32,48,64] --set train.batch=3"
)
[[ -n ${FRCNN_EXACTNESS:-} ]] && IFS=, read -ra variants <<< "$FRCNN_EXACTNESS"

state() { "$frcnn" inspect "$1/model.h5" | sed -n 's/^state md5 *//p'; }

# run <out> <settings...>: a whole run.
run() {
  local out=$1
  shift
  "$frcnn" train "$config" --set train.steps=12 "$@" --data data --out "$out" > out.txt 2> err.txt ||
    { fail "run $out"; tail -3 err.txt; }
}

# killed <out> <seconds> <settings...>: killed twice on the way, each time it goes on.
kills=0
killed() {
  local out=$1 delay=$2 pid
  shift 2
  for _ in 1 2; do
    "$frcnn" train "$config" --set train.steps=12 "$@" --data data --out "$out" --resume \
      > /dev/null 2>&1 &
    pid=$!
    sleep "$delay"
    kill -KILL $pid 2> /dev/null && kills=$((kills + 1))
    wait $pid 2> /dev/null
  done
  run "$out" "$@" --resume
}

for variant in "${variants[@]}"; do
  read -ra words <<< "$variant"
  name=${words[0]}
  settings=("${words[@]:1}")
  for i in "${!settings[@]}"; do
    [[ ${settings[$i]} == data.proposals=* ]] && settings[i]="data.proposals=$work/proposals.h5"
  done
  begin=$(date +%s%N)
  run "$name-1" "${settings[@]}"
  took=$((($(date +%s%N) - begin) / 1000000))
  expected=$(state "$name-1")
  hashes=$expected
  for workers in 2 4; do
    run "$name-$workers" "${settings[@]}" --set data.workers=$workers --set data.prefetch=2
    hashes+=" $(state "$name-$workers")"
  done
  killed "$name-killed" "$(printf '%d.%03d' $((took / 2500)) $((took * 4 / 10 % 1000)))" \
    "${settings[@]}"
  hashes+=" $(state "$name-killed")"
  printf '%-20s' "$name"
  for hash in $hashes; do
    printf ' %s' "$hash"
    checks=$((checks + 1))
    [[ -n $hash && $hash == "$expected" ]] || fail "$name: $hash instead of $expected"
  done
  echo
  if [[ $name == rpn_only ]]; then
    expect "propose" "$frcnn" propose "$name-1" --data data --split train --out proposals.h5
  fi
done
checks=$((checks + 1))
[[ $kills -ge ${#variants[@]} ]] || fail "only $kills runs were alive when they were killed"
finish
