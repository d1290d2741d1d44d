#!/usr/bin/env bash
# A run that was killed or stopped and then resumed ends with the same bytes as one that was not.
#   resume.sh PROGRAM
source "$(dirname "$0")/lib.sh"
config=$here/tiny.toml
small_set data 20
settings=(--set train.steps=24 --set train.validate_every=3)
train() { "$frcnn" train "$@"; }

expect "undisturbed run" train "$config" "${settings[@]}" --data data --out whole

# go_on <run>: resumes until the run is complete.
finish_run() { expect "resume of $1" train --resume --out "$1"; }

# same_run <run>: ends as the undisturbed run did, but for times in the log.
same_run() {
  same "model of $1" whole/model.h5 "$1/model.h5"
  same "metrics of $1" whole/metrics.json "$1/metrics.json"
  cut -d, -f1-7 whole/log.csv > a.csv
  cut -d, -f1-7 "$1/log.csv" > b.csv
  same "log of $1" a.csv b.csv
  absent "$1" "$1"/*.tmp "$1"/checkpoints/*.tmp
}

# Killed at several moments, each time later, then resumed to the end.
kills=0
for delay in 0.15 0.4 0.8; do
  for _ in 1 2 3; do
    arguments=("$config" "${settings[@]}" --data data --out "killed-$delay" --resume)
    "$frcnn" train "${arguments[@]}" > /dev/null 2>&1 &
    pid=$!
    sleep "$delay"
    kill -KILL $pid 2> /dev/null && kills=$((kills + 1))
    wait $pid 2> /dev/null
  done
  expect "resume of killed-$delay" train "$config" "${settings[@]}" --data data \
    --out "killed-$delay" --resume
  same_run "killed-$delay"
done

checks=$((checks + 1))
[[ $kills -ge 3 ]] || fail "only $kills runs were alive when they were killed"

# Stopped with a signal: ends its step, writes a checkpoint, says how to go on.
"$frcnn" train "$config" "${settings[@]}" --set train.steps=100000 --data data --out long \
  > out.txt 2> err.txt &
pid=$!
for _ in $(seq 200); do [[ -e long/checkpoints/step-00000003.h5 ]] && break; sleep 0.1; done
kill -TERM $pid
wait $pid
code=$?
checks=$((checks + 1))
[[ $code -eq 143 ]] || fail "stop: exit code $code, expected 143"
holds "stop" err.txt 'stopped at step [0-9]+ of 100000; to go on: frcnn train --resume --out long'
step=$(grep -oE 'stopped at step [0-9]+' err.txt | grep -oE '[0-9]+')
checks=$((checks + 1))
[[ -e long/checkpoints/step-$(printf %08d "$step").h5 ]] || fail "stop: no checkpoint of step $step"

# Ended by --stop-after, with a validation there, and taken to the end in three parts.
for step in 7 17; do
  expect "stop after step $step" train "$config" "${settings[@]}" --data data --out parts --resume \
    --stop-after "$step"
  holds "stop after step $step" err.txt "stopped at step $step of 24; to go on: "
  holds "validation at step $step" parts/metrics.json "\"step\": $step,"
  holds "log at step $step" parts/log.csv "^$step,"
done
finish_run parts
same "model in parts" whole/model.h5 parts/model.h5

# Other rules for each branch and averaged weights: in two parts the same bytes again, and the averages
# that the last validation saw are what `frcnn eval` takes from the file.
averaged=("${settings[@]}" --set train.ema=0.8 --set optimizer.schedule=cosine
  --set optimizer.warmup_steps=3 --set optimizer.rpn.method=adamw --set optimizer.rpn.lr=0.001
  --set optimizer.detector.method=nesterov)
expect "undisturbed averaged run" train "$config" "${averaged[@]}" --data data --out averaged
holds "rules of the branches" err.txt 'rpn: adamw, lr 0.0001 at step 0 .*cosine to x 0 at 24, warm-up'
expect "averaged run, first part" train "$config" "${averaged[@]}" --data data \
  --out averaged-parts --stop-after 11
finish_run averaged-parts
same "averaged model in parts" averaged/model.h5 averaged-parts/model.h5
expect "eval of the averaged model" "$frcnn" eval averaged --data data --json
seen=$(grep -oE '"map_area": [0-9.e+-]+' averaged/metrics.json | tail -n 1)
holds "the validation's model" out.txt "${seen:-no validation}"

# A complete run resumed changes nothing; other settings or data are refused.
cp whole/model.h5 before.h5
finish_run whole
same "complete run" before.h5 whole/model.h5
refuses "other settings" 2 'rpn.batch = 32, which cannot become 16' \
  train --resume --out whole --set rpn.batch=16
small_set other 21
refuses "other data" 1 'another data set' train --resume --out long --data other
finish
