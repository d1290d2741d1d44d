"""Backbones imported from ONNX against ONNX Runtime: ResNet-18, MobileNet-V2, AlexNet (torchvision)
and Inception-ResNet-v2 (timm) with random weights, exported by both of torch's exporters.

For each network, frcnn says where it cuts, both programs compute that map for the same random
picture, and the largest difference is given relative to the largest value of the map. With --train,
a detector on top is trained for 50 steps on a set of `frcnn synth`; the .onnx file is then moved
away and the checkpoint evaluated.

Run: python tests/peers/onnx_backbones.py --frcnn build/release/apps/frcnn --work DIR [--train]
     [--only resnet18] [--size 320x352] [--device cpu]
(needs torch, torchvision, timm, onnx, onnxscript, onnxruntime, numpy)
"""
import argparse
import json
import pathlib
import re
import shutil
import subprocess
import sys
import time
import warnings

import numpy as np
import onnx
import onnxruntime
import timm
import torch
import torchvision

warnings.filterwarnings("ignore")
NETWORKS = {
    "resnet18": lambda: torchvision.models.resnet18(weights=None),
    "mobilenet_v2": lambda: torchvision.models.mobilenet_v2(weights=None),
    # Its classifier needs pictures of one size; the layers before it are what a detector uses.
    "alexnet": lambda: torchvision.models.alexnet(weights=None).features,
    "inception_resnet_v2": lambda: timm.create_model("inception_resnet_v2", pretrained=False),
}


def lively(network):
    """Statistics of batch norm as a random picture gives them, so that no map fades to zero."""
    network.train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network(torch.randn(2, 3, 299, 299))
    return network.eval()


def export(name, exporter, folder):
    """Writes the network once; returns the file."""
    file = folder / f"{name}_{exporter}.onnx"
    if file.exists():
        return file
    torch.manual_seed(1)
    network = lively(NETWORKS[name]())
    x = torch.randn(1, 3, 320, 352)
    if exporter == "dynamo":
        auto = torch.export.Dim.AUTO
        torch.onnx.export(network, (x,), str(file), dynamo=True, verbose=False,
                          input_names=["x"], dynamic_shapes=({0: auto, 2: auto, 3: auto},))
    else:
        torch.onnx.export(network, x, str(file), dynamo=False, input_names=["x"],
                          dynamic_axes={"x": {0: "n", 2: "h", 3: "w"}})
    return file


def runtime(file, node, x):
    """The first output of a node as ONNX Runtime computes it, and the milliseconds it took."""
    model = onnx.load(str(file))
    output = next(n.output[0] for n in model.graph.node if n.name == node)
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info(output, 1, None))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options,
                                           providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def frcnn(arguments, *command):
    result = subprocess.run([arguments.frcnn, *map(str, command), "--device", arguments.device],
                            capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"frcnn {' '.join(map(str, command))}: {result.stderr}")
    return result


def compare(arguments, file, folder):
    height, width = map(int, arguments.size.split("x"))
    x = np.random.default_rng(7).normal(size=(1, 3, height, width)).astype(np.float32)
    np.save(folder / "x.npy", x)
    found = json.loads(frcnn(arguments, "backbone", file, "--run", folder / "x.npy", "--out",
                             folder / "y.npy", "--json").stdout)
    cut = found["cut"]
    ours, theirs = np.load(folder / "y.npy"), runtime(file, cut["node"], x)
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    worst = np.abs(ours - theirs).max() / np.abs(theirs).max()
    print(f"{file.stem:28} cut {cut['node']:45} stride {cut['stride'][0]:2} "
          f"map {'x'.join(map(str, ours.shape)):15} weights {cut['weights'] / 1e6:6.2f} M  "
          f"largest difference {worst:.1e} of {np.abs(theirs).max():.3g}", flush=True)
    assert worst <= 1e-4, worst


CONFIG = """
[preprocess]
channels = "rgb"
scale = 0.00392156862745098
mean = [0.485, 0.456, 0.406]
stddev = [0.229, 0.224, 0.225]
shorter_side = 160
longer_side = 320
[backbone]
frozen_until = ""
batch_norm_mode = "frozen"
[anchors]
sizes = [16.0, 32.0, 64.0]
stride_rule = "exact"
[rpn]
channels = 64
[roi]
layer = "roi_align"
hidden = [64]
dropout = 0.0
[optimizer]
lr = 0.002
clip_norm = 10.0
lr_steps = []
warmup_steps = 10
[train]
steps = 50
batch = 1
iter_size = 1
log_every = 5
"""


def train(arguments, file, folder):
    data, run = folder / "shapes", folder / f"run_{file.stem}"
    if not data.exists():
        frcnn(arguments, "synth", "--out", data, "--images", 60, "--seed", 3)
    shutil.rmtree(run, ignore_errors=True)
    config = folder / "config.toml"
    config.write_text(CONFIG)
    start = time.time()
    result = frcnn(arguments, "train", config, "--backbone", file, "--data", data, "--out", run)
    seconds = time.time() - start
    log = [line.split(",") for line in (run / "log.csv").read_text().splitlines()]
    column = log[0].index("loss") if "loss" in log[0] else log[0].index("total")
    losses = [float(row[column]) for row in log[1:]]
    for part in file.parent.glob(file.name + "*"):
        part.rename(str(part) + ".away")
    try:
        output = frcnn(arguments, "eval", run / "model.h5", "--data", data, "--split", "all",
                       "--json").stdout
    finally:
        for part in file.parent.glob(file.name + "*.away"):
            part.rename(str(part)[:-5])
    score = float(re.search(r'"map_area": ([^,\s]+)', output).group(1))
    print(f"{file.stem:28} 50 steps in {seconds:.0f} s, loss {losses[0]:.3f} -> {losses[-1]:.3f}; "
          f"evaluated without the .onnx file: mAP {score:.3f}", flush=True)
    assert losses[-1] < losses[0], losses
    return result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--frcnn", required=True)
    parser.add_argument("--work", required=True, type=pathlib.Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--size", default="320x352")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--train", action="store_true")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    for name in NETWORKS:
        if arguments.only and name != arguments.only:
            continue
        for exporter in ("script", "dynamo"):
            file = export(name, exporter, arguments.work)
            compare(arguments, file, arguments.work)
            if arguments.train and exporter == "script":
                train(arguments, file, arguments.work)


if __name__ == "__main__":
    main()
