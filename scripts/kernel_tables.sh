#!/usr/bin/env bash
# Renews the tables of docs/kernels/README.md from the registry of operations.
#   scripts/kernel_tables.sh [the frcnn program, default build/release/apps/frcnn]
set -euo pipefail
cd "$(dirname "$0")/.."
frcnn=${1:-build/release/apps/frcnn}
page=docs/kernels/README.md
tables=$(mktemp)
trap 'rm -f "$tables"' EXIT
"$frcnn" op --list --markdown > "$tables"
sed -i -e '/<!-- begin: frcnn op/,/<!-- end: frcnn op/{//!d}' \
  -e "/<!-- begin: frcnn op/r $tables" "$page"
