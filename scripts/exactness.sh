#!/usr/bin/env bash
# Five runs of the same training, with other numbers of threads that load pictures, must end with the
# same weights and optimiser state; a sixth is killed (kill -9) several times on its way and goes on.
# Prints a hash for each (docs/exactness.md).
#   exactness.sh PROGRAM [STEPS] [FOLDER] [more settings of `frcnn train` ...]
set -uo pipefail
frcnn=$(realpath "${1:?usage: $0 PROGRAM [STEPS] [FOLDER] [SETTINGS...]}")
steps=${2:-300}
folder=${3:-$(mktemp -d)}
shift $(($# < 3 ? $# : 3))
config=$(realpath "$(dirname "$0")/../tests/e2e/tiny.toml")
mkdir -p "$folder" && cd "$folder" || exit 1
"$frcnn" synth --out data --images 60 --width 128 --height 96 --min-size 16 --max-size 48 --seed 7 \
  > /dev/null || exit 1
train() {
  local out=$1
  shift
  "$frcnn" train "$config" --data data --out "$out" --set "train.steps=$steps" \
    --set train.checkpoint_every=20 "$@" > "$out.txt" 2>&1
}
state() { "$frcnn" inspect "$1/model.h5" | sed -n 's/^state md5 *//p'; }
different=0
expected=
for workers in 1 2 4 8 3; do
  out=workers-$workers
  begin=$(date +%s)
  train "$out" --set data.workers=$workers "$@" || { tail -n 2 "$out.txt"; exit 1; }
  hash=$(state "$out")
  expected=${expected:-$hash}
  [[ $hash == "$expected" ]] || different=$((different + 1))
  took=$(($(date +%s) - begin))
  printf '%s  %d steps, %d loader threads, %d s\n' "$hash" "$steps" "$workers" "$took"
done
kills=0
for _ in 1 2 3; do
  train killed --resume "$@" &
  pid=$!
  sleep "$((took / 4 + 1))"
  # The shell function's child is the program.
  pkill -KILL -P $pid && kills=$((kills + 1))
  wait $pid 2> /dev/null
done
train killed --resume "$@" || { tail -n 2 killed.txt; exit 1; }
hash=$(state killed)
[[ $hash == "$expected" ]] || different=$((different + 1))
printf '%s  %d steps, killed %d times\n' "$hash" "$steps" "$kills"
[[ $different -eq 0 ]] && echo "all the same" || echo "$different differ"
exit $((different > 0))
