#!/usr/bin/env python3
"""Inference on the CPU beside every other f32 program: whole detectors, and VGG16's convolutions.

  python tests/peers/inference.py --frcnn build/release/apps/frcnn
  python tests/peers/inference.py --frcnn F --only zf tiny --rounds 3
  python tests/peers/inference.py --frcnn F --only backbone --peers opencv ncnn

Detectors (vgg16 and zf at 600x800 pixels in the paper's setting, 300 proposals; tiny at 300x400):
random weights whose scores differ from box to box go through `frcnn import` into a checkpoint, and
from there through `frcnn export` to ONNX Runtime and OpenVINO (one picture size, pixels in, boxes
out) and to torchvision (eager, channels-last, and with its networks compiled by inductor). Ours is
`frcnn detect` over copies of the picture, with the time that --track-time gives for each (BMP files: the
others do not decode, and ours would while it detects).

backbone: the 13 convolutions of VGG16 with their ReLUs and four pools, 600x800, as one ONNX file for
`frcnn backbone`, OpenCV DNN, ONNX Runtime and OpenVINO, as ncnn's own format, and in torch.

Before anything is timed every contender's result is compared with ours: 99 of 100 detections of the
same label within 0.5 pixels and 1e-2 in score (an overlap or score at a limit may fall the other
way; the largest differences are printed), maps within 1e-4 of the largest value. A contender that
cannot run the model is named with its reason and left out. Every round starts each contender in a
fresh process, in turn; a process does one untimed run, then --iterations timed ones, and gives their
median and its largest resident set. All use --threads threads and f32 arithmetic (OpenVINO and ncnn
are told so: on some processors they would take shorter numbers). "x ours" above 1: ours is faster.

The last line is JSON. Needs torch, torchvision, safetensors, h5py, numpy, Pillow, onnx, onnxruntime;
openvino, opencv-python-headless and ncnn where they are compared.
"""

import argparse
import csv
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

from alternate import finish, print_table, summary, take_turns

ROOT = pathlib.Path(__file__).resolve().parents[2]
DETECTOR_PEERS = ["onnxruntime", "openvino", "eager", "channels_last", "compile"]
BACKBONE_PEERS = ["opencv", "ncnn", "onnxruntime", "openvino", "eager", "channels_last", "compile"]
CLASSES = [f"class{i}" for i in range(20)]

# What torchvision does: one rounding of sizes, no least size of proposals, and one of detections.
COMMON = {"preprocess.rounding": "floor", "rpn.test.min_size": "0.0", "test.score": "0.05",
          "test.min_size": "0.01"}
# A side of 600 gives ZF 38 cells, whose stride is 15 for torchvision, from the corner of the picture.
OWN = {"zf": {"anchors.stride_rule": '"map"', "anchors.centre": '"corner"'}}
VGG = [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512]
VGG_NAMES = [f"conv{block + 1}_{i + 1}" for block, count in enumerate((2, 2, 3, 3, 3)) for i in range(count)]
# preset, height and width of the picture, convolutions (name, channels, kernel), batch norm, channels of
# rpn.conv, outputs of rpn.cls, anchors, width of the two hidden layers, bins of a RoI's side
MODELS = {
    "vgg16": ("paper-vgg16", 600, 800, [(n, c, 3) for n, c in zip(VGG_NAMES, (c for c in VGG if c != "M"))],
              False, 512, 18, 9, 4096, 7),
    "zf": ("paper-zf", 600, 800, [("conv1", 96, 7), ("conv2", 256, 5), ("conv3", 384, 3), ("conv4", 384, 3),
                                  ("conv5", 256, 3)], False, 256, 18, 9, 4096, 6),
    "tiny": ("bccd-tiny", 300, 400, [(f"conv{i + 1}", c, 3) for i, c in enumerate((24, 32, 64, 64, 128, 128, 128))],
             True, 128, 12, 12, 256, 7),
}


# ---- what all contenders get

def picture(height, width):
    """Smooth areas, edges and grain; (height, width, 3) bytes."""
    import numpy as np
    random = np.random.default_rng(2)
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.stack([128 + 90 * np.sin(x / (30 + 20 * c) + c) * np.cos(y / (50 - 9 * c)) for c in range(3)], -1)
    for _ in range(12):
        h, w = random.integers(30, height // 2, 2)
        top, left = random.integers(0, height - h), random.integers(0, width - w)
        rgb[top:top + h, left:left + w] = 0.4 * rgb[top:top + h, left:left + w] + random.uniform(0, 150, 3)
    return np.clip(rgb + random.normal(0, 12, rgb.shape), 0, 255).astype("uint8")


def random_tensors(convolutions, norm, rpn_channels, objectness, anchors, hidden, pooled):
    """He-scaled weights under frcnn's names; heads whose outputs are spread wide enough for clear scores."""
    import numpy as np
    random = np.random.default_rng(3)
    tensors = {}

    def layer(name, shape, gain=2.0, bias=True):
        tensors[name + ".weight"] = random.normal(0, (gain / np.prod(shape[1:])) ** 0.5, shape)
        if bias:
            tensors[name + ".bias"] = random.normal(0, 0.1, shape[0])

    channels = 3
    for name, width, kernel in convolutions:
        # Without batch norm pixels come as they are, less a mean: up to 150.
        layer(f"backbone.{name}", (width, channels, kernel, kernel), 2e-4 if channels == 3 and not norm else 2.0, not norm)
        if norm:
            for part, low, high in (("weight", 0.5, 1.5), ("bias", -0.3, 0.3), ("running_mean", -0.3, 0.3),
                                    ("running_var", 0.5, 1.5)):
                tensors[f"backbone.{name}.norm.{part}"] = random.uniform(low, high, width)
        channels = width
    layer("rpn.conv", (rpn_channels, channels, 3, 3))
    layer("rpn.cls", (objectness, rpn_channels, 1, 1))
    layer("rpn.box", (4 * anchors, rpn_channels, 1, 1), 0.02)
    layer("head.fc6", (hidden, channels * pooled ** 2))
    layer("head.fc7", (hidden, hidden))
    layer("head.cls", (len(CLASSES) + 1, hidden), 4.0)
    layer("head.box", (4 * (len(CLASSES) + 1), hidden), 0.5)
    return {name: value.astype("float32") for name, value in tensors.items()}


def make_detector(name, args, folder):
    """Checkpoint, ONNX and torchvision files, and pictures of a model, in the folder."""
    from PIL import Image
    from safetensors.numpy import save_file
    preset, height, width, *network = MODELS[name]
    changes = [word for key, value in {**COMMON, **OWN.get(name, {})}.items() for word in ("--set", f"{key}={value}")]
    save_file(random_tensors(*network), folder / "random.safetensors")
    model = folder / "model.h5"
    finish([args.frcnn, "import", folder / "random.safetensors", "--config", ROOT / "configs" / f"{preset}.toml",
            *changes, "--classes", ",".join(CLASSES), "--out", model], args.threads)
    finish([args.frcnn, "export", model, "--format", "onnx", "--height", height, "--width", width,
            "--out", folder / "model.onnx"], args.threads)
    finish([args.frcnn, "export", model, "--format", "torchvision", "--approximate",
            "--out", folder / "torchvision.safetensors"], args.threads)
    (folder / "random.safetensors").unlink()
    for kind in ("png", "bmp"):
        Image.fromarray(picture(height, width)).save(folder / f"picture.{kind}")


def make_backbone(folder):
    import numpy as np
    import torch
    from torch import nn
    torch.manual_seed(3)
    layers, channels = [], 3
    for width in VGG:
        if width == "M":
            layers.append(nn.MaxPool2d(2))
            continue
        conv = nn.Conv2d(channels, width, 3, padding=1)
        nn.init.normal_(conv.weight, 0, (2.0 / (9 * channels)) ** 0.5)
        layers += [conv, nn.ReLU(inplace=True)]
        channels = width
    net = nn.Sequential(*layers).eval()
    x = torch.from_numpy(picture(600, 800).transpose(2, 0, 1)[None].astype("float32") / 64 - 2)
    np.save(folder / "input.npy", x.numpy())
    torch.save(net, folder / "net.pt")
    torch.onnx.export(net, x, str(folder / "net.onnx"), dynamo=False, input_names=["x"], output_names=["y"])
    # ncnn's own format: one line per layer, and the numbers in the order of the layers.
    lines, blob, last = [], b"", "x"
    for i, layer in enumerate(net):
        if isinstance(layer, nn.Conv2d):
            w = layer.weight.detach().numpy()
            lines.append(f"Convolution l{i} 1 1 {last} b{i} 0={w.shape[0]} 1=3 4=1 5=1 6={w.size} 9=1")
            blob += b"\0\0\0\0" + w.tobytes() + layer.bias.detach().numpy().tobytes()
        elif isinstance(layer, nn.MaxPool2d):
            lines.append(f"Pooling l{i} 1 1 {last} b{i} 0=0 1=2 2=2 5=1")
        else:
            continue  # the convolution before it has it: 9=1
        last = f"b{i}"
    lines = ["Input x 0 1 x"] + lines
    (folder / "net.param").write_text(f"7767517\n{len(lines)} {len(lines)}\n" + "\n".join(lines) + "\n")
    (folder / "net.bin").write_bytes(blob)
    (folder / "last").write_text(last)


# ---- the contenders, each in its own process

def torch_form(model, form, torch):
    if form != "eager":
        model = model.to(memory_format=torch.channels_last)
    return model


def load_onnxruntime(file, threads):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(file), options, ["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x})


def load_openvino(file, threads):
    import openvino
    core = openvino.Core()
    model = core.compile_model(core.read_model(str(file)), "CPU", {
        "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"})
    request = model.create_infer_request()
    count = len(model.outputs)

    def run(x):
        request.infer([x])
        return [request.get_output_tensor(i).data.copy() for i in range(count)]
    return run


def detector_step(peer, folder, threads):
    import numpy as np
    from PIL import Image
    pixels = np.asarray(Image.open(folder / "picture.png").convert("RGB"))
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    if peer in ("onnxruntime", "openvino"):
        run = (load_onnxruntime if peer == "onnxruntime" else load_openvino)(folder / "model.onnx", threads)
        return lambda: run(planes[None])
    import torch
    from torchvision_model import load
    torch.set_num_threads(threads)
    model = torch_form(load(folder / "torchvision.safetensors")[0], peer, torch)
    if peer == "compile":
        import torch._inductor.config
        torch._inductor.config.freezing = True
        for owner, part in ((model, "backbone"), (model.rpn, "head"), (model.roi_heads, "box_head"),
                            (model.roi_heads, "box_predictor")):
            setattr(owner, part, torch.compile(getattr(owner, part)))

    def step():
        with torch.no_grad() if peer == "compile" else torch.inference_mode():
            found = model([torch.from_numpy(planes).float() / 255])[0]
        return [found["boxes"].numpy(), found["scores"].numpy(), found["labels"].numpy() - 1]
    return step


def backbone_step(peer, folder, threads):
    import numpy as np
    x = np.load(folder / "input.npy")
    if peer in ("onnxruntime", "openvino"):
        run = (load_onnxruntime if peer == "onnxruntime" else load_openvino)(folder / "net.onnx", threads)
        return lambda: run(x)
    if peer == "opencv":
        import cv2
        cv2.setNumThreads(threads)
        net = cv2.dnn.readNetFromONNX(str(folder / "net.onnx"))
        net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
        net.setPreferableTarget(cv2.dnn.DNN_TARGET_CPU)
        net.enableWinograd(True)

        def step():
            net.setInput(x)
            return [net.forward()]
        return step
    if peer == "ncnn":
        import ncnn
        net = ncnn.Net()
        net.opt.num_threads = threads
        net.opt.use_winograd_convolution = True
        for short in ("use_fp16_storage", "use_fp16_packed", "use_fp16_arithmetic", "use_bf16_storage"):
            setattr(net.opt, short, False)
        net.load_param(str(folder / "net.param"))
        net.load_model(str(folder / "net.bin"))
        last = (folder / "last").read_text()

        def step():
            extractor = net.create_extractor()
            extractor.input("x", ncnn.Mat(x[0]))
            return [np.array(extractor.extract(last)[1])[None]]
        return step
    import torch
    torch.set_num_threads(threads)
    net = torch_form(torch.load(folder / "net.pt", weights_only=False), peer, torch)
    given = torch_form(torch.from_numpy(x), peer, torch)
    if peer == "compile":
        import torch._inductor.config
        torch._inductor.config.freezing = True
        net = torch.compile(net)

    def step():
        with torch.no_grad() if peer == "compile" else torch.inference_mode():
            return [net(given).contiguous().numpy()]
    return step


def worker(args):
    import numpy as np

    from parts import peak_rss_mb
    folder = pathlib.Path(args.folder)
    if args.worker == "prepare":
        return make_backbone(folder) if args.model == "backbone" else make_detector(args.model, args, folder)
    step = (backbone_step if args.model == "backbone" else detector_step)(args.worker, folder, args.threads)
    found = step()
    if args.results:
        np.savez(args.results, *found)
        print("{}")
        return
    times = []
    for _ in range(args.iterations):
        start = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - start))
    print(json.dumps({"ms": statistics.median(times), "peak_mb": peak_rss_mb()}))


# ---- comparison

def same_detections(ours, boxes, scores, labels):
    """(matched, of, largest distance in pixels, largest difference of scores)."""
    import numpy as np
    free, matched, box_apart, score_apart = set(range(len(scores))), 0, 0.0, 0.0
    for d in ours:
        x, y, w, h = d["bbox"]
        near = [(np.abs(boxes[j] - [x, y, x + w, y + h]).max(), j) for j in free if labels[j] == d["category_id"] - 1
                and abs(scores[j] - d["score"]) < 1e-2]
        distance, j = min(near, default=(np.inf, -1))
        if distance > 0.5:
            continue
        free.discard(j)
        matched += 1
        box_apart, score_apart = max(box_apart, distance), max(score_apart, abs(float(scores[j]) - d["score"]))
    return matched, max(len(ours), len(scores)), float(box_apart), score_apart


class Model:
    def __init__(self, name, args, folder):
        self.name, self.args, self.folder = name, args, folder
        self.backbone = name == "backbone"
        # In a process of its own: a child's largest resident set begins with what its parent has.
        self.worker("prepare")
        if not self.backbone:
            for i in range(args.iterations + 1):
                os.link(folder / "picture.bmp", folder / f"copy{i:02}.bmp")

    def worker(self, peer, results=None, quiet=False):
        command = [sys.executable, os.path.abspath(__file__), "--worker", peer, "--model", self.name, "--folder",
                   self.folder, "--threads", self.args.threads, "--iterations", self.args.iterations, "--frcnn", self.args.frcnn]
        return finish(command + (["--results", results] if results else []), self.args.threads, quiet)

    def ours(self):
        """Runs once; measures."""
        program = [self.args.frcnn, "--threads", self.args.threads]
        if self.backbone:
            done = finish([*program, "backbone", self.folder / "net.onnx", "--run", self.folder / "input.npy", "--out",
                           self.folder / "ours.npy", "--seconds", self.args.seconds, "--json"], self.args.threads)
            return {"ms": json.loads(done.output)["forward_ms"], "peak_mb": done.peak_mb}
        copies = sorted(self.folder.glob("copy*.bmp"))
        done = finish([*program, "detect", self.folder / "model.h5", *copies, "--track-time", "--format", "csv",
                       "--out", self.folder / "found"], self.args.threads)
        with open(self.folder / "found/timing.csv") as file:
            times = [float(row["detect_ms"]) for row in csv.DictReader(file)]
        return {"ms": statistics.median(times[1:]), "peak_mb": done.peak_mb}

    def agree(self, peer, expected):
        """A text that says how well the peer agrees; raises SystemExit beyond the limits."""
        import numpy as np
        file = self.folder / "theirs.npz"
        done = self.worker(peer, file, quiet=True)
        if isinstance(done, str):
            return None, f"left out: {done[:180]}"
        with np.load(file) as arrays:
            found = [arrays[key] for key in arrays]
        if self.backbone:
            error = float(np.abs(found[0] - expected).max() / np.abs(expected).max())
            if found[0].shape != expected.shape or not error <= 1e-4:
                raise SystemExit(f"{self.name}, {peer}: map {found[0].shape} differs by {error:.1e} of the largest value")
            return True, f"map within {error:.1e} of the largest value"
        matched, of, box, score = same_detections(expected, *found)
        if matched < 0.99 * of or not of:
            raise SystemExit(f"{self.name}, {peer}: {matched} of {of} detections agree")
        return True, f"{matched} of {of} detections agree, boxes within {box:.1e} pixels, scores within {score:.1e}"

    def measure(self):
        import numpy as np
        if self.backbone:
            self.ours()
            expected = np.load(self.folder / "ours.npy")
        else:
            expected = json.loads(finish([self.args.frcnn, "--threads", self.args.threads, "detect", self.folder / "model.h5",
                                          self.folder / "picture.png", "--json"], self.args.threads).output)
        notes, contenders = {}, {"ours": self.ours}
        for peer in BACKBONE_PEERS if self.backbone else DETECTOR_PEERS:
            if self.args.peers and peer not in self.args.peers:
                continue
            good, notes[peer] = self.agree(peer, expected)
            print(f"{self.name}, {peer}: {notes[peer]}", flush=True)
            if good:
                contenders[peer] = lambda peer=peer: self.worker(peer).json()
        rows = summary(take_turns(contenders, self.args.rounds))
        print_table(f"{self.name}, {self.args.threads} threads", rows)
        return {"rows": rows, "agreement": notes}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--frcnn", help="the program")
    parser.add_argument("--only", nargs="+", choices=[*MODELS, "backbone"], default=[*MODELS, "backbone"])
    parser.add_argument("--peers", nargs="+", choices=sorted({*DETECTOR_PEERS, *BACKBONE_PEERS}), help="default: all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=5, help="timed runs of a process")
    parser.add_argument("--seconds", type=float, default=4, help="measuring time of `frcnn backbone`")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--temporary", help="where models are written; default: the system's place")
    for hidden in ("--worker", "--model", "--folder", "--results"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return worker(args)
    if not args.frcnn:
        parser.error("--frcnn is missing: the program to be compared")
    result = {"threads": args.threads, "rounds": args.rounds}
    for name in args.only:
        with tempfile.TemporaryDirectory(dir=args.temporary) as folder:
            result[name] = Model(name, args, pathlib.Path(folder)).measure()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
