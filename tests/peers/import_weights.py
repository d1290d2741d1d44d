#!/usr/bin/env python3
"""`frcnn import` against the libraries that made the files, at full size.

  import_weights.py --frcnn build/release/apps/frcnn [--work DIR] [case ...]

Cases: alexnet, vgg16, vgg16-legacy, vgg16-safetensors, detector (PyTorch and torchvision),
keras3-top, keras3-notop (Keras 3). Each saves a net with random weights, imports it and compares
every array of the checkpoint with the library's, laid out anew by NumPy: they must be bit-equal.
Needs torch, torchvision, safetensors, keras, h5py; about 2 GB of disk. The case `speed` times loading
a file of the size of VGG16 with top (528 MiB, h5py) against reading it from the cache into fresh memory.
"""

import argparse
import os
import subprocess
import tempfile
import time
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

import h5py
import numpy as np

VGG = {"1_1": 0, "1_2": 2, "2_1": 5, "2_2": 7, "3_1": 10, "3_2": 12, "3_3": 14, "4_1": 17, "4_2": 19, "4_3": 21,
       "5_1": 24, "5_2": 26, "5_3": 28}
ALEX = {1: 0, 2: 3, 3: 6, 4: 8, 5: 10}


def both(ours, theirs, state):
    return {f"{ours}.{part}": state[f"{theirs}.{part}"].numpy() for part in ("weight", "bias")}


def classification(state, convs, dense):
    expected = {}
    for name, index in convs.items():
        expected |= both(f"backbone.conv{name}", f"features.{index}", state)
    for ours, theirs in zip(("head.fc6", "head.fc7"), dense):
        expected |= both(ours, theirs, state)
    return expected


def torch_case(name, file):
    import torch
    import torchvision

    torch.manual_seed(1)
    if name == "detector":
        from torchvision.models.detection import FasterRCNN
        from torchvision.models.detection.anchor_utils import AnchorGenerator

        body = torchvision.models.vgg16(weights=None).features[:-1]
        body.out_channels = 512
        net = FasterRCNN(body, num_classes=21,
                         rpn_anchor_generator=AnchorGenerator(((128, 256, 512),), ((0.5, 1.0, 2.0),)),
                         box_roi_pool=torchvision.ops.MultiScaleRoIAlign(["0"], 7, 2))
        state = net.state_dict()
        expected = {}
        for layer, index in VGG.items():
            expected |= both(f"backbone.conv{layer}", f"backbone.{index}", state)
        for ours, theirs in (("rpn.conv", "rpn.head.conv.0.0"), ("rpn.cls", "rpn.head.cls_logits"),
                             ("rpn.box", "rpn.head.bbox_pred"), ("head.fc6", "roi_heads.box_head.fc6"),
                             ("head.fc7", "roi_heads.box_head.fc7"), ("head.cls", "roi_heads.box_predictor.cls_score"),
                             ("head.box", "roi_heads.box_predictor.bbox_pred")):
            expected |= both(ours, theirs, state)
    else:
        net = torchvision.models.alexnet(weights=None) if name == "alexnet" else torchvision.models.vgg16(weights=None)
        state = net.state_dict()
        dense = ("classifier.1", "classifier.4") if name == "alexnet" else ("classifier.0", "classifier.3")
        expected = classification(state, ALEX if name == "alexnet" else VGG, dense)
    if name.endswith("safetensors"):
        from safetensors.torch import save_file

        save_file(state, file)
    else:
        torch.save(state, file, _use_new_zipfile_serialization=not name.endswith("legacy"))
    return expected


def keras_case(name, file):
    import keras

    net = keras.applications.VGG16(weights=None, include_top=name.endswith("-top"))
    net.save_weights(file)
    expected = {}
    for layer in VGG:
        kernel, bias = net.get_layer(f"block{layer[0]}_conv{layer[2]}").get_weights()
        expected |= {f"backbone.conv{layer}.weight": kernel.transpose(3, 2, 0, 1), f"backbone.conv{layer}.bias": bias}
    if name.endswith("-top"):
        kernel, bias = net.get_layer("fc1").get_weights()
        fc6 = kernel.reshape(7, 7, 512, 4096).transpose(3, 2, 0, 1).reshape(4096, 25088)
        expected |= {"head.fc6.weight": fc6, "head.fc6.bias": bias}
        kernel, bias = net.get_layer("fc2").get_weights()
        expected |= {"head.fc7.weight": kernel.T, "head.fc7.bias": bias}
    return expected


def speed(frcnn, file, runs=7):
    """Best of some runs: the whole process `frcnn import FILE` without --out, and read() into new memory."""
    rng = np.random.default_rng(1)
    with h5py.File(file, "w") as f:
        names, channels = [], 3
        shapes = {}
        for layer in VGG:
            width = min(64 << (int(layer[0]) - 1), 512)
            shapes[f"block{layer[0]}_conv{layer[2]}"] = (3, 3, channels, width)
            channels = width
        shapes |= {"fc1": (25088, 4096), "fc2": (4096, 4096), "predictions": (4096, 1000)}
        for name, shape in shapes.items():
            group = f.create_group(name)
            group.attrs["weight_names"] = [f"{name}_W_1:0".encode(), f"{name}_b_1:0".encode()]
            group[f"{name}_W_1:0"] = rng.random(shape, dtype=np.float32) - np.float32(0.5)
            group[f"{name}_b_1:0"] = np.zeros(shape[-1], np.float32)
            names.append(name.encode())
        f.attrs["layer_names"] = names
    size = file.stat().st_size
    reads, imports, peaks = [], [], []
    for _ in range(runs):
        start = time.perf_counter()
        with open(file, "rb", buffering=0) as f:
            memory = np.empty(size, np.uint8)
            view, done = memoryview(memory), 0
            while done < size:
                done += f.readinto(view[done:done + (4 << 20)])
        reads.append(time.perf_counter() - start)
        del memory, view
        start = time.perf_counter()
        child = subprocess.Popen([frcnn, "import", file], stdout=subprocess.DEVNULL)
        usage = os.wait4(child.pid, 0)[2]
        imports.append(time.perf_counter() - start)
        peaks.append(usage.ru_maxrss * 1024)
    print(f"speed: {size:,} bytes; read {min(reads):.2f} s, import {min(imports):.2f} s ({min(imports) / min(reads):.2f} x); "
          f"peak memory {max(peaks) / size:.2f} x the file (best of {runs} runs)")


ENDS = {"keras3-top": ".weights.h5", "keras3-notop": ".weights.h5", "vgg16-safetensors": ".safetensors"}
CASES = ["alexnet", "vgg16", "vgg16-legacy", "vgg16-safetensors", "detector", "keras3-notop", "keras3-top", "speed"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--frcnn", required=True)
    parser.add_argument("--work")
    parser.add_argument("cases", nargs="*", default=CASES)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.work) as folder:
        for name in args.cases:
            if name == "speed":
                speed(args.frcnn, Path(folder) / "speed.h5")
                continue
            file, out = Path(folder) / (name + ENDS.get(name, ".pth")), Path(folder) / (name + ".out.h5")
            expected = (keras_case if name.startswith("keras") else torch_case)(name, str(file))
            start = time.time()
            subprocess.run([args.frcnn, "import", file, "--out", out], check=True, stdout=subprocess.DEVNULL)
            seconds = time.time() - start
            with h5py.File(out) as f:
                found = f["parameters"]
                assert set(found) == set(expected), (name, set(found) ^ set(expected))
                for key, array in expected.items():
                    assert np.array_equal(found[key][()].view(np.uint32), np.ascontiguousarray(array).view(np.uint32)), key
            numbers = sum(a.size for a in expected.values())
            print(f"{name}: {len(expected)} arrays, {numbers:,} numbers bit-equal ({seconds:.1f} s)", flush=True)
            file.unlink()
            out.unlink()


if __name__ == "__main__":
    main()
