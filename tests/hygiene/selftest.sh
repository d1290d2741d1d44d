#!/usr/bin/env bash
# Each hygiene check must fail on a planted violation: a small tree is made, found clean, then
# spoiled in one way at a time.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
failures=0
cases=0

fresh() {
  rm -rf "${tree:?}"/*
  mkdir -p "$tree"/{kernels/boxes,engine,weights,model,data,apps,tests,scripts,docs}
  printf '#pragma once\n' | tee "$tree"/{kernels/boxes/nms.h,engine/tensor.h,weights/file.h} \
    "$tree"/{model/graph.h,data/voc.h,apps/run.h} > /dev/null
  printf '#include "kernels/boxes/nms.h"\n' > "$tree/engine/tensor.cpp"
  printf '{ "name": "release" }\n' > "$tree/CMakePresets.json"
  printf '#!/bin/sh\n' > "$tree/scripts/test.sh" && chmod +x "$tree/scripts/test.sh"
  printf 'Run `scripts/test.sh`, see [the page](docs/page.md).\n' > "$tree/README.md"
  printf 'A page. cmake --preset release. Try `frcnn train`.\n' > "$tree/docs/page.md"
  printf '#!/bin/sh\n[ "$1" = train ]\n' > "$tree/frcnn" && chmod +x "$tree/frcnn"
}
# expect <clean|caught> <check> <what was planted>
expect() {
  cases=$((cases + 1))
  local found=clean
  "$here/$2" "$tree" "$tree/frcnn" > "$tree.out" 2>&1 || found=caught
  if [[ $found != "$1" ]]; then
    echo "FAILED: $2 should be $1: $3"; cat "$tree.out"
    failures=$((failures + 1))
  fi
  rm -f "$tree.out"
}
# plant <check> <file> <line to append>
plant() {
  fresh
  printf '%s\n' "$3" >> "$tree/$2"
  expect caught "$1" "$2: $3"
}

fresh
for check in includes.sh sources.sh documents.sh; do expect clean $check "nothing"; done

plant includes.sh kernels/boxes/nms.h '#include "engine/tensor.h"'
plant includes.sh engine/tensor.cpp '#include "model/graph.h"'
plant includes.sh weights/file.h '#include "data/voc.h"'
plant includes.sh model/graph.h '#include "apps/run.h"'
plant includes.sh data/voc.h '#include "engine/tensor.h"'
plant includes.sh apps/run.h '#include "tests/support.h"'
plant includes.sh engine/tensor.cpp '#include "tensor.h"'
plant includes.sh engine/tensor.cpp '#include "engine/absent.h"'
plant includes.sh model/graph.h '#include <cuda_runtime.h>'
plant includes.sh engine/tensor.cpp '#  include <cublas_v2.h>'
plant includes.sh data/voc.h '#include <nlohmann/json.hpp>'

plant includes.sh engine/tensor.h '#include "kernels/launch/onednn.h"'

plant sources.sh engine/tensor.cpp '  std::cout << 1;'
plant sources.sh data/voc.h '  fmt::print("x");'
plant sources.sh kernels/boxes/nms.h '  printf("x");'
plant sources.sh model/graph.h '  std::exit(1);'
plant sources.sh model/graph.h '  abort();'
plant sources.sh engine/tensor.cpp '  assert(x);'
plant sources.sh data/voc.h '  std::mt19937 generator;'
plant sources.sh data/voc.h 'using namespace std;'
plant sources.sh engine/bare.h 'int x();'
plant sources.sh engine/tensor.cpp "$(seq 601)"

plant documents.sh README.md '[gone](docs/gone.md)'
plant documents.sh README.md 'Run `scripts/gone.sh`.'
plant documents.sh docs/page.md 'cmake --preset gone'
plant documents.sh docs/page.md 'Try `frcnn gone`.'
plant documents.sh docs/page.md "$(printf '```\nfrcnn gone --fast\n```')"
fresh && chmod -x "$tree/scripts/test.sh" && expect caught documents.sh 'a script without x'

if [[ $failures -gt 0 ]]; then echo "$failures of $cases failed"; exit 1; fi
echo "$cases cases: every planted violation was caught"
