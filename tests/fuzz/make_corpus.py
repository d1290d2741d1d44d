#!/usr/bin/env python3
"""Seeds of the fuzzers of PyTorch, safetensors, NumPy and Caffe: tests/fuzz/corpus/<target>/seed_*.

Run after tests/golden/make_weight_files.py; needs no packages. Other files of these folders are
findings of the fuzzers that were fixed, and stay.
"""
import pathlib
import shutil
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
GOLDEN = HERE.parent / "golden/weights"
SEEDS = {
    "torch": ["tensor_good.pth", "checkpoint.pth", "all_types_legacy.pth", "big_endian.pth", "cyclic.pth"],
    "safetensors": ["all_types.safetensors"],
    "numpy": ["version1.npy", "version3.npy", "deflated.npz"],
    "caffe": ["new.caffemodel", "v1.caffemodel", "double.caffemodel"],
}
for target, names in SEEDS.items():
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copyfile(GOLDEN / name, folder / f"seed_{name}")
folder = HERE / "corpus/pickle"
folder.mkdir(parents=True, exist_ok=True)
for name in ["all_types.pth", "all_types_protocol5.pth", "checkpoint.pth", "bomb.pth", "evil_protocol4.pth"]:
    with zipfile.ZipFile(GOLDEN / name) as archive:
        entry = next(n for n in archive.namelist() if n.endswith("data.pkl"))
        (folder / f"seed_{name}.pkl").write_bytes(archive.read(entry))
