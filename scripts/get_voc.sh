#!/usr/bin/env bash
# Downloads PASCAL VOC 2007 (trainval and test) and 2012 (trainval), checks and unpacks them into
# DEST/VOCdevkit/VOC2007 and VOC2012. A download that was cut off goes on where it stopped; what is
# there already is left alone. Needs curl and tar. VOC's pictures are Flickr's: mind their terms.
#   scripts/get_voc.sh [--dest DIR] [--years 2007,2012] [--dry-run] [--keep-archives]
#                      [--checksums FILE]
#   --dest DIR        default: the current folder
#   --dry-run         only says what would be downloaded and how much space it needs
#   --keep-archives   the .tar files stay
#   --checksums FILE  in md5sum's format, for a mirror whose archives were packed anew
# FRCNN_VOC_MIRROR names other servers, with blanks between, tried in this order.
set -euo pipefail
# shellcheck source=scripts/fetch.sh
source "$(dirname "$0")/fetch.sh"

part_option=--years
unpack_tool=tar
fetch_options "$@"
read -ra mirrors <<< "${FRCNN_VOC_MIRROR:-http://host.robots.ox.ac.uk/pascal/VOC}"
# Published sums; sizes in bytes.
archives=()
for year in $(tr ',' ' ' <<< "${parts:-2007,2012}"); do
  case $year in
    2007)
      archives+=('voc2007/VOCtrainval_06-Nov-2007.tar|c52e279531787c972589f7e41ab4ae64|460032000|480000000'
        'voc2007/VOCtest_06-Nov-2007.tar|b6e924de25625d8de591ea690078ad9f|451020800|470000000')
      ;;
    2012) archives+=('voc2012/VOCtrainval_11-May-2012.tar|6cd6e144f989b92b3379bac3b3de84fd|1999639040|2100000000') ;;
    *)
      echo "get_voc.sh: --years takes 2007 and 2012, found '$year'" >&2
      exit 2
      ;;
  esac
done

unpack() { tar -xf "$1" -C "$dest"; }
fetch_archives
if ! $dry_run; then
  echo
  for folder in "$dest"/VOCdevkit/VOC20*; do echo "frcnn inspect $folder --split trainval"; done
fi
