#!/usr/bin/env bash
# Downloads MS COCO 2017 (train, val and the annotations of instances), checks and unpacks it into
# DEST/annotations, DEST/train2017 and DEST/val2017. A download that was cut off goes on where it
# stopped; what is there already is left alone. Needs curl and unzip. COCO's pictures are Flickr's:
# mind their terms.
#   scripts/get_coco.sh [--dest DIR] [--parts annotations,val,train] [--dry-run] [--keep-archives]
#                       [--checksums FILE]
#   --dest DIR        default: the current folder
#   --dry-run         only says what would be downloaded and how much space it needs
#   --keep-archives   the .zip files stay
#   --checksums FILE  in md5sum's format, for a mirror whose archives were packed anew
# FRCNN_COCO_MIRROR names other servers, with blanks between, tried in this order.
set -euo pipefail
# shellcheck source=scripts/fetch.sh
source "$(dirname "$0")/fetch.sh"

part_option=--parts
unpack_tool=unzip
fetch_options "$@"
read -ra mirrors <<< "${FRCNN_COCO_MIRROR:-http://images.cocodataset.org}"
# Sums as widely published (COCO's own page gives none); sizes in bytes.
archives=()
for part in $(tr ',' ' ' <<< "${parts:-annotations,val,train}"); do
  case $part in
    annotations) archives+=('annotations/annotations_trainval2017.zip|f4bbac642086de4f52a3fdda2de5fa2c|252907541|480000000') ;;
    val) archives+=('zips/val2017.zip|442b8da7639aecaf257c1dceb8ba8c80|815585330|840000000') ;;
    train) archives+=('zips/train2017.zip|cced6f7f71b7629ddf16f17bbcfab6b2|19336861798|19800000000') ;;
    *)
      echo "get_coco.sh: --parts takes annotations, val and train, found '$part'" >&2
      exit 2
      ;;
  esac
done

unpack() {
  case $1 in
    *annotations*) unzip -q -o "$1" 'annotations/instances_*' -d "$dest" ;;
    *) unzip -q -o "$1" -d "$dest" ;;
  esac
}
fetch_archives
if ! $dry_run; then
  echo
  echo "frcnn inspect $dest --split val2017"
fi
