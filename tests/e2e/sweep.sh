#!/usr/bin/env bash
# A sweep that was killed and resumed ends as one that was not; a failing combination is marked and
# the others go on; successive halving drops the worse half.
#   sweep.sh PROGRAM
source "$(dirname "$0")/lib.sh"
config=$here/tiny.toml
small_set data 20
grid=(--grid optimizer.lr=0.01,0.002 --grid train.steps=16,24)
sweep() { "$frcnn" sweep "$@"; }

# ended <folder> <state> <number>: so many runs are in that state.
ended() {
  checks=$((checks + 1))
  local found
  found=$(grep -c ",$2," "$1/results.csv")
  [[ $found -eq $3 ]] || fail "$1: $found runs $2, expected $3"
}

expect "undisturbed sweep" sweep "$config" "${grid[@]}" --data data --out whole
ended whole done 4
holds "table" out.txt '^ +lr +steps +mAP@0.5 \(area\) +loss +at step +time +state$'
holds "best" out.txt '^again +frcnn train .*tiny.toml --set optimizer.lr=.* --out NEW$'
holds "progress" err.txt '^001-lr-0.01-steps-16: step 16 of 16, loss [0-9.]+, mAP'

# same_sweep <folder>: its runs ended as those of the undisturbed sweep did.
same_sweep() {
  for run in whole/runs/*/; do
    run=$(basename "$run")
    same "$1, $run" "whole/runs/$run/model.h5" "$1/runs/$run/model.h5"
    same "$1, metrics of $run" "whole/runs/$run/metrics.json" "$1/runs/$run/metrics.json"
  done
}

# Killed three times, later each time: first the sweep alone, whose runs end by themselves; then the
# runs with it, as when the machine loses its power.
kills=0
for delay in 0.5 1 1.5; do
  "$frcnn" sweep "$config" "${grid[@]}" --data data --out killed --slots 2 --threads 2 --resume \
    > out.txt 2> err.txt &
  pid=$!
  sleep "$delay"
  runs=$(pgrep -P $pid)
  kill -KILL $pid 2> /dev/null && kills=$((kills + 1))
  [[ $delay == 0.5 || -z $runs ]] || kill -KILL $runs 2> /dev/null
  wait $pid 2> /dev/null
done
expect "resume after kills" sweep --resume --out killed --slots 2 --json
checks=$((checks + 1))
[[ $kills -ge 2 ]] || fail "only $kills sweeps were alive when they were killed"
holds "results as JSON" out.txt '"best": \{'
ended killed done 4
same_sweep killed
absent "killed" killed/*.tmp killed/runs/*/*.tmp

# A finished sweep trains nothing anew.
touch -d '2001-01-01' killed/runs/*/log.csv
expect "finished sweep" sweep --resume --out killed
checks=$((checks + 1))
[[ -z $(find killed/runs -name log.csv -newermt 2002-01-01) ]] || fail "finished runs were repeated"

# Ended by a signal: the runs save their state first.
"$frcnn" sweep "$config" --grid train.steps=100000,100001 --data data --out long --slots 2 \
  > out.txt 2> err.txt &
pid=$!
for _ in $(seq 200); do compgen -G 'long/runs/*/checkpoints/step-*3.h5' > /dev/null && break; sleep 0.1; done
refuses "two sweeps in one folder" 1 'another sweep is at work' sweep --resume --out long
kill -TERM $pid
wait $pid
code=$?
checks=$((checks + 1))
[[ $code -eq 143 ]] || fail "stop: exit code $code, expected 143"
holds "stop" long/runs/001-steps-100000/output.log 'stopped at step [0-9]+ of 100000; to go on: '

# A combination whose loss leaves the numbers fails, the others go on.
expect "failing combination" sweep "$config" --grid rpn.lambda=1,1e38 --set train.steps=12 \
  --data data --out failing --metric loss
ended failing done 1
ended failing failed 1
holds "failing combination" err.txt '^002-lambda-1e38: failed: '
expect "retry" sweep --resume --retry --out failing
holds "retry" err.txt '^002-lambda-1e38: failed: '

# Halving: 4 runs of 4 steps, the best 2 go on to 8, the best one to 16.
expect "halving" sweep "$config" --grid optimizer.lr=0.01,1e-3,1e-4,1e-5 --set train.steps=16 \
  --data data --out halving --halving 2 --metric loss
ended halving done 1
ended halving stopped 3
for run in halving/runs/*/; do tail -n 1 "$run/log.csv" | cut -d, -f1; done | sort -n | paste -sd' ' > steps
holds "halving" steps '^4 4 8 16$'
# The best run of the sweep is the run that one gets without halving.
"$frcnn" train "$config" --set train.steps=16 --data data --out alone > /dev/null 2>&1
same "halving" alone/model.h5 halving/runs/001-lr-0.01/model.h5

refuses "unknown key" 2 "unknown key 'optimizer.rate'" sweep "$config" --grid optimizer.rate=1 \
  --data data --out bad
refuses "impossible combination" 2 'combination 2 \(rpn.negative_iou = 0.9\)' \
  sweep "$config" --grid rpn.negative_iou=0.1,0.9 --data data --out bad
absent "refused sweeps" bad
refuses "other settings" 2 'combination 1 = optimizer.lr = 0.01, .* cannot become' \
  sweep "$config" --grid optimizer.lr=0.03,0.002 --grid train.steps=16,24 \
  --data data --out whole --resume
refuses "no sweep" 2 'holds no sweep' sweep --resume --out data
refuses "full folder" 2 'not empty' sweep "$config" "${grid[@]}" --data data --out data
finish
