#!/usr/bin/env bash
# Who may include whom. Prints one line per forbidden include and fails if there is one.
#   includes.sh [root of the source tree]
set -euo pipefail
cd "${1:-$(dirname "$0")/../..}"

# What a file of each folder may include with quotes, as a pattern over paths from the root.
declare -A allowed=(
  [kernels]='kernels/'
  [engine]='(engine|kernels)/'
  [weights]='(weights|engine|kernels)/'
  [model]='(model|weights|engine|kernels)/'
  [data]='(data|kernels/(boxes|image|launch|random))/'
  [apps]='(apps|data|model|weights|engine|kernels)/'
  [tests]='(tests|apps|data|model|weights|engine|kernels)/'
)
cuda='(cuda|cublas|cudnn|curand|cusolver|cusparse|cufft|nccl|nvtx|nvrtc|nvml|cutlass|cub/|thrust/|cooperative_groups|mma\.h|sm_[0-9]+_)'
cuda_rooms='^(kernels/|engine/(device|memory|cuda)|tests/(gpu|kernels)/)'
# Slow to compile or private to one room: in .cpp files only, or in a header that wraps it, is not
# installed (scripts/cmake/FrcnnInstall.cmake) and is itself included by .cpp files and wrappers only.
wrappers='^(tests/support/catch\.h|kernels/launch/onednn(_plan)?\.h|weights/(hdf5_handle|tensor_file_format)\.h)$'
heavy='(catch2/|CLI/|nlohmann/|toml\+\+/|spdlog/|pugixml\.hpp|hdf5\.h|oneapi/dnnl/|dnnl\.h|stb/)'

failures=0
report() { echo "$1: $2"; failures=$((failures + 1)); }

while IFS=: read -r file line text; do
  folder=${file%%/*}
  target=${text#*[\"<]}
  target=${target%%[\">]*}
  if [[ "$text" == *include*\"*\"* ]]; then
    if [[ "$target" =~ ${wrappers} && "$file" == *.h && ! "$file" =~ ${wrappers} \
      && "$folder" != tests ]]; then
      report "$file:$line" "\"$target\" belongs in a .cpp file"
    elif [[ ! "$target" =~ ^${allowed[$folder]} ]]; then
      report "$file:$line" "$folder may not include \"$target\""
    elif [[ ! -f "$target" ]]; then
      report "$file:$line" "\"$target\" does not exist (includes are relative to the root)"
    fi
  else
    if [[ "$target" =~ ^${cuda} && ! "$file" =~ ${cuda_rooms} ]]; then
      report "$file:$line" "CUDA header <$target> outside kernels/ and engine's device layer"
    fi
    if [[ "$target" =~ ^${heavy} && "$target" != *_fwd.hpp && "$file" == *.h && ! "$file" =~ ${wrappers} ]]; then
      report "$file:$line" "<$target> belongs in a .cpp file"
    fi
  fi
done < <(for folder in "${!allowed[@]}"; do
  [[ -d "$folder" ]] || continue
  grep -rnE '^[[:space:]]*#[[:space:]]*include[[:space:]]*["<]' "$folder" \
    --include='*.h' --include='*.cpp' --include='*.cu' --include='*.cuh' || true
done | sort)

if [[ $failures -gt 0 ]]; then echo "$failures forbidden includes"; exit 1; fi
echo "includes are as docs/ARCHITECTURE.md says"
