#!/usr/bin/env bash
# Installs what frcnn needs on Debian 12 or Ubuntu 24.04, from the distribution's own packages.
# Says nothing and changes nothing when all is there. Runs as root or through sudo.
#   scripts/setup.sh          what building, testing and running need
#   scripts/setup.sh --dev    also the pinned formatter and linter that CI uses
#   scripts/setup.sh --fuzz   also the compiler of scripts/fuzz.sh
#   scripts/setup.sh --list   prints the names of the packages and installs nothing
set -euo pipefail

packages=(
  g++ cmake ninja-build ccache git ca-certificates
  libdnnl-dev          # oneDNN: convolution and dense layers on the CPU
  ocl-icd-opencl-dev opencl-c-headers  # oneDNN's CMake package asks for them
  libhdf5-dev          # checkpoints, Keras weights, golden values
  libstb-dev           # image files
  libpugixml-dev       # VOC annotations
  nlohmann-json3-dev   # reports and results
  libsimdjson-dev      # COCO files
  libtomlplusplus-dev  # configuration files
  libcli11-dev         # command line
  libcpp-httplib-dev libssl-dev libbrotli-dev pkg-config  # train --serve
  libfmt-dev libspdlog-dev
  catch2               # tests
  libboost-context-dev # fibers that run the GPU kernels in tests
  libzip-dev           # torch, Keras 3 and NumPy archives
  libprotobuf-dev protobuf-compiler libonnx-dev  # ONNX and Caffe files
)
dev_packages=(clang-format-14 clang-tidy-14 libomp-14-dev ffmpeg valgrind)
fuzz_packages=(clang-14 libclang-rt-14-dev libomp-14-dev)

list_only=false
for argument in "$@"; do
  case "$argument" in
    --dev) packages+=("${dev_packages[@]}") ;;
    --fuzz) packages+=("${fuzz_packages[@]}") ;;
    --list) list_only=true ;;
    -h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "setup.sh: unknown option '$argument' (known: --dev, --fuzz, --list, --help)" >&2; exit 2 ;;
  esac
done
if $list_only; then printf '%s\n' "${packages[@]}"; exit 0; fi

if ! command -v dpkg-query > /dev/null || ! command -v apt-get > /dev/null; then
  echo "setup.sh: no apt on this system; install the equivalents of: ${packages[*]}" >&2
  exit 1
fi

is_installed() {
  [[ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2> /dev/null)" == installed ]]
}
missing=()
for package in "${packages[@]}"; do
  is_installed "$package" || missing+=("$package")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

as_root=()
if [[ $EUID -ne 0 ]]; then
  if ! command -v sudo > /dev/null; then
    echo "setup.sh: needs root to install ${missing[*]}; run it as root or install sudo" >&2
    exit 1
  fi
  as_root=(sudo)
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
quietly() {
  if ! "$@" > "$log" 2>&1 < /dev/null; then
    cat "$log" >&2
    echo "setup.sh: '$*' failed" >&2
    echo "  (on Ubuntu most of these packages are in 'universe': is it enabled?)" >&2
    exit 1
  fi
}
echo "Installing ${#missing[@]} packages: ${missing[*]}"
quietly "${as_root[@]}" apt-get update
quietly "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
  apt-get install -y --no-install-recommends "${missing[@]}"
