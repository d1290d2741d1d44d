# Shared by scripts/get_voc.sh and scripts/get_coco.sh: archives that are downloaded once, resumed where
# they were cut off, checked, and unpacked. Sourced, not run.
#   fetch_options "$@"      reads the options; sets dest, dry_run, keep, checksums, parts
#   fetch_archives          needs the arrays `archives` (path md5 bytes unpacked_bytes, as one word each,
#                           '|' between) and `mirrors`, and the function unpack FILE

fetch_fail() {
  echo "$(basename "$0"): $*" >&2
  exit 1
}

fetch_options() {
  dest=. dry_run=false keep=false checksums='' parts=''
  while [[ $# -gt 0 ]]; do
    case $1 in
      --dest | --checksums | "$part_option")
        [[ $# -ge 2 ]] || { echo "$(basename "$0"): $1 needs a value" >&2; exit 2; }
        case $1 in
          --dest) dest=$2 ;;
          --checksums) checksums=$2 ;;
          *) parts=$2 ;;
        esac
        shift
        ;;
      --dry-run) dry_run=true ;;
      --keep-archives) keep=true ;;
      -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;;
      *)
        echo "$(basename "$0"): unknown option '$1' (see --help)" >&2
        exit 2
        ;;
    esac
    shift
  done
  [[ -z $checksums || -r $checksums ]] || fetch_fail "$checksums: cannot be read"
}

# The published sum, or that of --checksums.
sum_of() {
  local file=$1 published=$2 given=''
  [[ -z $checksums ]] || given=$(awk -v f="$file" '{ sub(/^\*/, "", $2) } $2 == f { print $1 }' "$checksums")
  echo "${given:-$published}"
}

has_sum() { [[ -f $1 && $(md5sum < "$1" | cut -d' ' -f1) == "$2" ]]; }

megabytes() { echo "$(($1 / 1000000)) MB"; }

# download PATH FILE: into FILE.part, from where an earlier attempt stopped.
download() {
  local path=$1 file=$2 mirror url before
  for mirror in "${mirrors[@]}"; do
    for url in "${mirror%/}/$path" "${mirror%/}/$(basename "$path")"; do
      before=$(stat -c %s "$file.part" 2> /dev/null || echo 0)
      [[ $before -eq 0 ]] || echo "  going on behind $before bytes"
      echo "  $url"
      if curl --fail --location --silent --show-error --retry 3 --continue-at - --output "$file.part" "$url"; then
        return 0
      fi
    done
  done
  return 1
}

fetch_archives() {
  local entry path md5 bytes unpacked file need=0 free
  local todo=()
  for entry in "${archives[@]}"; do
    IFS='|' read -r path md5 bytes unpacked <<< "$entry"
    file=$(basename "$path")
    if [[ -e $dest/.unpacked-$file ]]; then
      echo "$file: is there already"
      continue
    fi
    todo+=("$entry")
    need=$((need + unpacked))
    has_sum "$dest/$file" "$(sum_of "$file" "$md5")" || need=$((need + bytes))
    need=$((need - $(stat -c %s "$dest/$file.part" 2> /dev/null || echo 0)))
    echo "$file: $(megabytes "$bytes") to download, $(megabytes "$unpacked") unpacked, md5 $(sum_of "$file" "$md5")"
    echo "  from ${mirrors[0]%/}/$path"
  done
  if [[ ${#todo[@]} -eq 0 ]]; then return; fi
  local existing=$dest
  until [[ -d $existing ]]; do existing=$(dirname "$existing"); done
  free=$(($(df --output=avail -k "$existing" | tail -n 1) * 1024))
  echo "needs about $(megabytes "$need") in $dest; $(megabytes "$free") are free"
  if $dry_run; then return; fi
  [[ $free -gt $need ]] || fetch_fail "$dest: expected $(megabytes "$need") of free space, found $(megabytes "$free")"
  for tool in curl md5sum "${unpack_tool:?}"; do
    command -v "$tool" > /dev/null || fetch_fail "needs the program '$tool'"
  done
  mkdir -p "$dest"

  for entry in "${todo[@]}"; do
    IFS='|' read -r path md5 bytes unpacked <<< "$entry"
    file=$dest/$(basename "$path")
    md5=$(sum_of "$(basename "$path")" "$md5")
    echo "== $(basename "$path")"
    if ! has_sum "$file" "$md5"; then
      if ! has_sum "$file.part" "$md5"; then
        download "$path" "$file" || fetch_fail "$path: no mirror could be read; run again to go on (mirrors: ${mirrors[*]})"
      fi
      if ! has_sum "$file.part" "$md5"; then
        local found
        found=$(md5sum < "$file.part" | cut -d' ' -f1)
        rm -f "$file.part"
        fetch_fail "$(basename "$path"): expected md5 $md5, found $found; the download was deleted, run again"
      fi
      mv "$file.part" "$file"
    fi
    unpack "$file" || fetch_fail "$(basename "$path"): cannot be unpacked"
    touch "$dest/.unpacked-$(basename "$path")"
    if ! $keep; then rm -f "$file"; fi
  done
}
