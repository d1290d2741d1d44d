#!/usr/bin/env bash
# Compiles every kernel source for every GPU architecture, nothing else, and writes what ptxas says
# of registers, static shared memory and spills as a Markdown page.
#   scripts/ptxas_report.sh [-j JOBS] [--arch "75 90a"] [--logs FOLDER] [--out FILE] [SOURCE.cu...]
# --arch: default 75 80 86 89 90a 100 120. --logs keeps the output of each compilation there, and
# takes it again where no source is newer. --out: default docs/kernels/ptxas.md, "-" prints.
# Ends with exit code 1 when a source does not compile.
set -euo pipefail
cd "$(dirname "$0")/.."

jobs=1 archs="75 80 86 89 90a 100 120" logs="" out=docs/kernels/ptxas.md sources=()
while (($#)); do
  case $1 in
    -j) jobs=$2; shift 2 ;;
    --arch) archs=$2; shift 2 ;;
    --logs) logs=$2; shift 2 ;;
    --out) out=$2; shift 2 ;;
    -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "$0: unknown option $1" >&2; exit 2 ;;
    *) sources+=("$1"); shift ;;
  esac
done
((${#sources[@]})) || mapfile -t sources < <(find kernels -name '*.cu' | sort)

nvcc=${CUDACXX:-$(command -v nvcc || true)}
for place in "${CUDA_HOME:-}" "${CUDA_PATH:-}" /usr/local/cuda; do
  [[ -z $nvcc && -x $place/bin/nvcc ]] && nvcc=$place/bin/nvcc
done
[[ -n $nvcc ]] || { echo "$0: there is no nvcc on PATH, in CUDA_HOME or in /usr/local/cuda" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'kill $(jobs -p) 2> /dev/null; exit 130' INT TERM  # the compilations, too
[[ -n $logs ]] || logs=$work/logs
mkdir -p "$logs"

# compile SOURCE ARCH: the log is "<source with dashes>.<arch>.log"; its last line tells how it ended.
compile() {
  local log="$logs/${1//\//-}.$2.log" newer
  newer=$(find "$1" "$(dirname "$1")" kernels/launch -maxdepth 1 \( -path "$1" -o -name '*.h' -o -name '*.cuh' \) \
          -newer "$log" -print -quit 2>/dev/null || echo none)
  [[ -f $log && -z $newer ]] && return
  # The time stamp is that of the beginning: what changes while it runs counts as newer.
  touch "$log.part"
  if "$nvcc" -std=c++20 --expt-relaxed-constexpr -DFMT_USE_CONSTEXPR=1 -DNDEBUG -O3 -I. \
    -arch="sm_$2" -Xptxas=-v -cubin "$1" -o "$work/$(basename "$log").cubin" \
    > "$work/$(basename "$log")" 2>&1; then
    echo "ended well" >> "$work/$(basename "$log")"
  else
    echo "did not compile" >> "$work/$(basename "$log")"
  fi
  rm -f "$work/$(basename "$log").cubin"
  c++filt < "$work/$(basename "$log")" > "$work/$(basename "$log").names"
  touch -r "$log.part" "$work/$(basename "$log").names"
  cp -p "$work/$(basename "$log").names" "$log"
  rm -f "$log.part"
}
export -f compile
export nvcc logs work

for source in "${sources[@]}"; do
  for arch in $archs; do printf '%s\0%s\0' "$source" "$arch"; done
done > "$work/list"
xargs -0 -n 2 -P "$jobs" -a "$work/list" bash -c 'compile "$1" "$2"' compile &
wait $!

# One line per kernel: source, arch, name, registers, static shared bytes, spilled bytes.
for source in "${sources[@]}"; do
  for arch in $archs; do
    awk -v source="$source" -v arch="$arch" '
      /Compiling entry function/ {
        name = $0; sub(/^[^\047]*\047/, "", name); sub(/\047 for \047.*/, "", name)
      }
      /bytes spill stores/ { match($0, /[0-9]+ bytes spill stores/); spill = substr($0, RSTART) + 0 }
      /Used [0-9]+ registers/ {
        match($0, /Used [0-9]+/); registers = substr($0, RSTART + 5, RLENGTH - 5)
        shared = match($0, /[0-9]+ bytes smem/) ? substr($0, RSTART) + 0 : 0
        if (name != "") print source "\t" arch "\t" name "\t" registers "\t" shared "\t" spill
        name = ""; spill = 0
      }
      END { if ($0 != "ended well") print source "\t" arch "\t-\t0\t0\tfailed" }
    ' "$logs/${source//\//-}.$arch.log"
  done
done > "$work/kernels.tsv"

report() {
  local version
  version=$("$nvcc" --version | sed -n 's/.*release \([0-9.]*\).*/\1/p')
  cat << PAGE
# What the kernels take of a multiprocessor

Written by \`scripts/ptxas_report.sh\` from nvcc $version with \`-Xptxas=-v\`; nothing here ran on a GPU. For each source and
architecture: registers of the kernel that takes most of them, and, where kernels spill, how many and how much (bytes per
thread). Shared memory is the static one, of the kernel with most; tiles whose size is chosen at the launch are not in it.
A version that an architecture does not have (tensor cores on 7.5, wgmma elsewhere than on 9.0a) is compiled there without its
instructions and traps when it is called; \`conv2d_gpu.h\` and \`linear.h\` name the capability that each needs.

PAGE
  awk -F'\t' -v archs="$archs" '
    BEGIN { count = split(archs, order, " ") }
    {
      if (!($1 in seen)) { seen[$1] = 1; sources[++n] = $1 }
      key = $1 SUBSEP $2
      if ($6 == "failed") { failed[key] = 1; next }
      if ($2 == order[1]) kernels[$1]++
      if ($4 > registers[key]) registers[key] = $4
      if ($5 > shared[$1]) shared[$1] = $5
      if ($6 > 0) { spilling[key]++; if ($6 > most[key]) most[key] = $6 }
    }
    END {
      line = "| source | kernels | shared memory |"; rule = "|---|---|---|"
      for (i = 1; i <= count; ++i) { line = line " sm_" order[i] " |"; rule = rule "---|" }
      print line; print rule
      for (s = 1; s <= n; ++s) {
        name = sources[s]; sub(/^kernels\//, "", name)
        line = "| `" name "` | " kernels[sources[s]] + 0 " | " shared[sources[s]] + 0 " |"
        for (i = 1; i <= count; ++i) {
          key = sources[s] SUBSEP order[i]
          if (key in failed) cell = "does not compile"
          else cell = (registers[key] == "" ? "-" : registers[key]) \
                      (key in spilling ? ", " spilling[key] " spill up to " most[key] : "")
          line = line " " cell " |"
        }
        print line
      }
    }' "$work/kernels.tsv"
  printf '\n## Kernels that spill\n\n'
  awk -F'\t' '
    function shorter(name) {
      gsub(/frcnn::kernels::|gpu::|\(anonymous namespace\)::/, "", name)
      sub(/^void /, "", name)
      # The arguments begin at the last parenthesis that is not inside of angle brackets.
      depth = 0
      for (i = 1; i <= length(name); ++i) {
        c = substr(name, i, 1)
        if (c == "<") ++depth
        if (c == ">") --depth
        if (c == "(" && depth == 0) return substr(name, 1, i - 1)
      }
      return name
    }
    $6 != "failed" && $6 > 0 {
      name = shorter($3); source = $1; sub(/^kernels\//, "", source)
      row = source "\t" name
      if (!(row in cells)) order[++n] = row
      cells[row] = cells[row] (row in cells && cells[row] != "" ? ", " : "") "sm_" $2 ": " $6
    }
    END {
      if (!n) { print "None."; exit }
      print "| source | kernel | bytes of spill stores per thread |"; print "|---|---|---|"
      for (i = 1; i <= n; ++i) {
        split(order[i], part, "\t")
        print "| `" part[1] "` | `" part[2] "` | " cells[order[i]] " |"
      }
    }' "$work/kernels.tsv"
}

if [[ $out == - ]]; then
  report
else
  report > "$work/page.md" && mv "$work/page.md" "$out"
fi
if cut -f 6 "$work/kernels.tsv" | grep -q failed; then
  echo "$0: does not compile:" >&2
  awk -F'\t' '$6 == "failed" { print "  " $1 " for sm_" $2 }' "$work/kernels.tsv" >&2
  exit 1
fi
