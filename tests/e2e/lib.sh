# Shared by the end-to-end tests: a scratch folder, a small data set, checks.
#   source lib.sh; the program is $frcnn, the scratch folder $work (removed at the end)
set -uo pipefail
frcnn=$(realpath "${1:?usage: $0 PROGRAM}")
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'chmod -R u+rwx "$work"; rm -rf "$work"' EXIT
cd "$work" || exit 1
export OMP_NUM_THREADS=1  # the sets are tiny, and other tests run at the same time
failures=0
checks=0

fail() {
  failures=$((failures + 1))
  echo "FAILED: $*"
}

# expect <what> <command...>: the command succeeds.
expect() {
  local what=$1
  shift
  checks=$((checks + 1))
  "$@" > out.txt 2> err.txt || { fail "$what"; sed 's/^/    /' err.txt | tail -5; }
}

# refuses <what> <exit code> <pattern> <command...>: the command fails with that code and exactly one
# error line, "frcnn: error: ...", that matches the (extended) pattern.
refuses() {
  local what=$1 code=$2 pattern=$3 rc=0 lines
  shift 3
  checks=$((checks + 1))
  "$@" > out.txt 2> err.txt || rc=$?
  lines=$(grep -c '^frcnn: error: ' err.txt)
  if [[ $rc -ne $code ]]; then
    fail "$what: exit code $rc, expected $code"
  elif [[ $lines -ne 1 || $(tail -n 1 err.txt) != 'frcnn: error: '* ]]; then
    fail "$what: expected one error line at the end"
  elif ! tail -n 1 err.txt | grep -qE -- "$pattern"; then
    fail "$what: the error does not match /$pattern/"
  else
    return
  fi
  sed 's/^/    /' err.txt | tail -5
}

# absent <what> <path...>: none of them exists.
absent() {
  local what=$1
  shift
  checks=$((checks + 1))
  for path in "$@"; do [[ ! -e $path ]] || fail "$what: $path was left behind"; done
}

same() {
  checks=$((checks + 1))
  cmp -s "$2" "$3" || fail "$1: $2 and $3 differ"
}

holds() {
  checks=$((checks + 1))
  grep -qE -- "$3" "$2" || { fail "$1: no /$3/ in $2"; sed 's/^/    /' "$2" | tail -5; }
}

small_set() {
  "$frcnn" synth --out "$1" --images "${2:-12}" --width 96 --height 64 --min-size 12 \
    --max-size 30 --seed 3 > /dev/null || { echo "synth failed"; exit 1; }
}

# Runs a command as a user whom permissions bind, also where the tests run as root.
as_user() {
  if [[ $EUID -eq 0 ]]; then
    setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
  else
    "$@"
  fi
}

finish() {
  echo "$checks checks, $failures failed"
  [[ $failures -eq 0 ]]
}
