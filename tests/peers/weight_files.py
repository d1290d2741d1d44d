#!/usr/bin/env python3
"""Real networks of torchvision, saved by torch and safetensors, read by this program: bit-equal?

  python tests/peers/weight_files.py --ours build/release/tests/read_weights [vgg16 alexnet resnet18]

Writes the state_dict() of each network (random weights) as a zip file, in the format before PyTorch
1.6, as safetensors, as .npz, and as a Faster R-CNN inside a training checkpoint; reads each with the
test program read_weights, which prints the name, shape and a hash of the float32 numbers of every
array and how long it took; and compares. Prints one line per file. Needs torch, torchvision,
safetensors, numpy.
"""

import argparse
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
import safetensors.torch
import torch
import torchvision


def hash_of(array):
    return hashlib.md5(np.ascontiguousarray(array, "<f4").tobytes()).hexdigest()


def check(ours, path, tensors):
    path.read_bytes()  # into the cache
    start = time.monotonic()
    path.read_bytes()
    plain = time.monotonic() - start
    result = json.loads(subprocess.run([ours, path], check=True, stdout=subprocess.PIPE).stdout)
    found = {a["name"]: (tuple(a["shape"]), a["md5"]) for a in result["arrays"]}
    wanted = {k: (tuple(v.shape), hash_of(v.numpy())) for k, v in tensors.items()}
    wrong = [k for k in wanted if found.get(k) != wanted[k]] + [k for k in found if k not in wanted]
    size = path.stat().st_size
    print(f"{path.name}: {result['format']}, {size / 2**20:.1f} MiB, {len(wanted)} arrays, "
          f"{'bit-equal' if not wrong else 'WRONG: ' + ', '.join(wrong[:5])}, read in "
          f"{result['seconds']:.3f} s (a plain read of the file {plain:.3f} s), peak memory "
          f"{result['peak_bytes'] / size:.2f} x its size", flush=True)
    return bool(wrong)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", required=True, help="the program read_weights")
    parser.add_argument("networks", nargs="*", default=["vgg16", "alexnet", "resnet18"])
    arguments = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for name in arguments.networks:
            torch.manual_seed(1)
            state = getattr(torchvision.models, name)(weights=None).state_dict()
            state = {k: v.float() if v.dtype == torch.int64 else v for k, v in state.items()}
            for path, save in {
                    f"{name}.pth": lambda p: torch.save(state, p),
                    f"{name}_legacy.pth": lambda p: torch.save(
                        state, p, _use_new_zipfile_serialization=False),
                    f"{name}.safetensors": lambda p: safetensors.torch.save_file(state, p),
                    f"{name}.npz": lambda p: np.savez(p, **{k: v.numpy() for k, v in state.items()}),
            }.items():
                save(folder / path)
                failed |= check(arguments.ours, folder / path, state)
                (folder / path).unlink()
        backbone = torchvision.models.alexnet(weights=None).features
        backbone.out_channels = 256
        model = torchvision.models.detection.FasterRCNN(
            backbone, 4, rpn_anchor_generator=torchvision.models.detection.anchor_utils.AnchorGenerator(
                ((64, 128, 256),), ((0.5, 1.0, 2.0),)),
            box_roi_pool=torchvision.ops.MultiScaleRoIAlign(["0"], 7, 2))
        optimizer = torch.optim.Adam(model.parameters())
        sum(p.sum() for p in model.parameters()).backward()
        optimizer.step()
        path = folder / "faster_rcnn_checkpoint.pth"
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}, path)
        failed |= check(arguments.ours, path, model.state_dict())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
