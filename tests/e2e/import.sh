#!/usr/bin/env bash
# Weights of other programs: what is in them, what is taken, what is refused.
#   import.sh PROGRAM
source "$(dirname "$0")/lib.sh"
config=$here/tiny.toml
golden=$here/../golden
small_set data
"$frcnn" train "$config" --data data --out run --set train.steps=2 --threads 1 > /dev/null 2>&1 \
  || { echo "train failed"; exit 1; }

for file in keras1_weights.h5 keras2_model.h5 keras3_model.keras; do
  expect "inspect $file" "$frcnn" inspect "$golden/$file"
  holds "inspect $file" out.txt 'block1_conv1/kernel +f32 +\(3, 3, 3, 2\)'
  holds "inspect $file" out.txt '^md5 +[0-9a-f]{32}'
done
expect "inspect --json" "$frcnn" inspect "$golden/keras2_weights.h5" --json
holds "inspect --json" out.txt '"path": "block1_conv1/block1_conv1/kernel:0"'

# A detector's checkpoint through import: the same detections.
expect "import" "$frcnn" import run/model.h5 --out again.h5
holds "import" out.txt 'a detector of 3 classes'
holds "import" out.txt '0 shape mismatch, 0 unexpected, 0 missing'
expect "detect" "$frcnn" detect run/model.h5 data/JPEGImages --score 0 --json
cp out.txt before.json
expect "detect with the import" "$frcnn" detect again.h5 data/JPEGImages --score 0 --json
same "detect with the import" out.txt before.json
expect "import without --out" "$frcnn" import run/model.h5
holds "import without --out" out.txt 'nothing was written'
expect "import --json" "$frcnn" import run/model.h5 --json
holds "import --json" out.txt '"missing": 0'

# As weights of another run: backbone, fc6; pictures must agree.
expect "train with backbone.weights" "$frcnn" train "$config" --data data --out run2 \
  --set train.steps=1 --set backbone.weights=run/model.h5
holds "train with backbone.weights" err.txt '^weights +run/model.h5 \(frcnn checkpoint\): .* \(fc6\)'
refuses "other pictures" 1 'expect pictures as channels rgb.*the config makes channels bgr' \
  "$frcnn" train "$config" --data data --out run3 --set preprocess.channels=bgr \
  --set backbone.weights=run/model.h5
expect "other pictures, stated" "$frcnn" train "$config" --data data --out run3 \
  --set preprocess.channels=bgr --set train.steps=1 --set backbone.weights=run/model.h5 \
  --set backbone.weights_preprocess=any

# Names that only a map knows.
cat > keras.toml << 'EOF'
[backbone]
name = "tiny"
tiny_channels = [2, 2]
tiny_strides = [1, 1]
batch_norm = false
frozen_until = ""
[roi]
hidden = [4]
EOF
cat > names.toml << 'EOF'
"block1_conv1/kernel" = "backbone.conv1.weight"
"block1_conv1/bias" = "backbone.conv1.bias"
EOF
keras=$golden/keras2_weights.h5
refuses "names without a place" 1 'shape mismatch: block1_conv1/kernel' "$frcnn" import "$keras" --as vgg16
refuses "what is left over" 1 '24 unexpected: block2_conv1/kernel' "$frcnn" import "$keras" --config keras.toml \
  --map names.toml --map 'block1_conv2/*=backbone.conv2.*' --out mapped.h5
absent "what is left over" mapped.h5 mapped.h5.tmp
expect "--map, --partial" "$frcnn" import "$keras" --config keras.toml --map names.toml \
  --map 'block1_conv2/*=backbone.conv2.*' --partial --out mapped.h5
holds "--map, --partial" out.txt 'matched +block1_conv2/kernel .* backbone.conv2.weight'
refuses "a map to nowhere" 2 'no parameter "backbone.conv9.weight"' "$frcnn" import "$keras" \
  --config keras.toml --map 'block1_conv1/kernel=backbone.conv9.weight'
refuses "no map" 2 'expected THEIRS=OURS or a TOML file' "$frcnn" import "$keras" --map nothing
refuses "another network" 2 'resnet999 not in' "$frcnn" import run/model.h5 --as resnet999
refuses "a network that it is not" 1 'is of a tiny network' "$frcnn" import run/model.h5 --as zf

# Damage.
head -c 30000 "$keras" > cut.h5
refuses "cut short" 1 'cut.h5: .*(cut short|damaged)' "$frcnn" inspect cut.h5
refuses "no weights" 1 'not a file of weights that this program knows' "$frcnn" import "$config"
refuses "missing" 1 'there is no such file' "$frcnn" import nowhere.h5
finish
