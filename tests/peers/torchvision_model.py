#!/usr/bin/env python3
"""torchvision's FasterRCNN around a file of `frcnn export --format torchvision`, and a comparison.

  python tests/peers/torchvision_model.py model.safetensors picture.jpg ...       # detect
  python tests/peers/torchvision_model.py --compare build/release/apps/frcnn picture.jpg ...

load() is all that a program needs: it makes the model that the file's metadata describe and loads
the tensors with strict=True. --compare makes detectors of random weights in several settings (VGG16
and a small network with batch norm; R, G, B and B, G, R; softmax and sigmoid objectness; all three
RoI layers; class-agnostic boxes), takes them through `frcnn import` and `frcnn export`, and prints how
far the detections of both programs are apart. Needs torch, torchvision, safetensors.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
import torchvision
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.ops import roi_align, roi_pool


class RoiPooling(nn.Module):
    """Any of the three RoI layers; FasterRCNN's constructor takes the legacy RoIAlign only."""

    def __init__(self, layer, size, scale, sampling_ratio):
        super().__init__()
        self.layer, self.size, self.scale, self.sampling_ratio = layer, size, scale, sampling_ratio

    def forward(self, features, proposals, image_shapes):
        if self.layer == "roi_pool":
            return roi_pool(features["0"], proposals, self.size, self.scale)
        return roi_align(features["0"], proposals, self.size, self.scale, self.sampling_ratio,
                         aligned=self.layer == "roi_align")


def build(description):
    d = dict(description)
    layers = [getattr(nn, layer.pop("layer"))(**layer) for layer in map(dict, d["backbone"])]
    backbone = nn.Sequential(*layers)
    backbone.out_channels = d["out_channels"]
    anchors = AnchorGenerator((tuple(d["anchor_sizes"]),), (tuple(d["anchor_ratios"]),))
    anchors.cell_anchors = [torch.tensor(d["cell_anchors"])]
    size = tuple(d["output_size"])
    model = FasterRCNN(
        backbone, rpn_anchor_generator=anchors,
        min_size=d["min_size"], max_size=d["max_size"], size_divisible=d["size_divisible"],
        image_mean=d["image_mean"], image_std=d["image_std"],
        rpn_pre_nms_top_n_test=d["rpn_pre_nms_top_n_test"],
        rpn_post_nms_top_n_test=d["rpn_post_nms_top_n_test"], rpn_nms_thresh=d["rpn_nms_thresh"],
        box_roi_pool=None,
        box_head=TwoMLPHead(d["out_channels"] * size[0] * size[1], d["representation_size"]),
        box_predictor=FastRCNNPredictor(d["representation_size"], d["num_classes"]),
        box_score_thresh=d["box_score_thresh"], box_nms_thresh=d["box_nms_thresh"],
        box_detections_per_img=d["box_detections_per_img"], bbox_reg_weights=d["bbox_reg_weights"])
    model.roi_heads.box_roi_pool = RoiPooling(d["roi_layer"], size, d["spatial_scale"],
                                              d["sampling_ratio"])
    model.rpn.min_size = 0.0  # the constructor fixes 0.001
    return model.eval()


def load(path):
    """The model, and the names of labels 1, 2, ...; label 0 is the background."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    model = build(json.loads(metadata["torchvision"]))
    model.load_state_dict(load_file(path), strict=True)
    return model, metadata["classes"].split("\n")


def detect(model, picture):
    image = torchvision.io.decode_image(str(picture), torchvision.io.ImageReadMode.RGB)
    with torch.no_grad():
        found = model([image.float() / 255])[0]
    return found["boxes"], found["scores"], found["labels"]


# --- comparison ----------------------------------------------------------------------------------
COMMON = """
[anchors]
{anchors}
[rpn]
objectness = "{objectness}"
test = {{ pre_nms = 6000, post_nms = 100, nms_iou = 0.7, min_size = 0.0 }}
[roi]
layer = "{layer}"
hidden = [128, 128]
sampling_ratio = 2
class_agnostic = {agnostic}
box_mean = {mean}
[test]
score = 0.05
nms_iou = 0.3
"""
VGG = """
[preprocess]
rounding = "floor"
shorter_side = 320
longer_side = 480
[backbone]
name = "vgg16"
"""
TINY = """
[preprocess]
channels = "rgb"
scale = 0.00392156862745098
mean = [0.485, 0.456, 0.406]
stddev = [0.229, 0.224, 0.225]
rounding = "floor"
shorter_side = 320
longer_side = 480
pad_multiple = 32
[backbone]
name = "tiny"
frozen_until = ""
tiny_channels = [16, 32, 64, 64]
tiny_strides = [2, 2, 2, 2]
"""
CASES = {
    "vgg16 bgr softmax roi_pool paper anchors": (VGG, dict(
        anchors="sizes = [64, 128, 256]", objectness="softmax", layer="roi_pool", agnostic="false",
        mean="[0, 0, 0, 0]")),
    "vgg16 bgr sigmoid roi_align_legacy torchvision anchors": (VGG, dict(
        anchors='sizes = [64, 128, 256]\nrounding = "torchvision"\ncentre = "corner"\n'
                'stride_rule = "map"',
        objectness="sigmoid", layer="roi_align_legacy", agnostic="false", mean="[0, 0, 0, 0]")),
    "tiny rgb batch norm roi_align agnostic means": (TINY, dict(
        anchors='sizes = [32, 64]\nrounding = "none"', objectness="softmax", layer="roi_align",
        agnostic="true", mean="[0.1, -0.1, 0.2, 0.0]")),
}
WIDTHS = {"vgg16": [("conv1_1", 64), ("conv1_2", 64), ("conv2_1", 128), ("conv2_2", 128),
                    ("conv3_1", 256), ("conv3_2", 256), ("conv3_3", 256), ("conv4_1", 512),
                    ("conv4_2", 512), ("conv4_3", 512), ("conv5_1", 512), ("conv5_2", 512),
                    ("conv5_3", 512)],
          "tiny": [("conv1", 16), ("conv2", 32), ("conv3", 64), ("conv4", 64)]}


def random_weights(network, config, classes):
    """Weights of a detector whose scores differ from box to box, under frcnn's names."""
    torch.manual_seed(3)
    tensors = {}

    def layer(name, outputs, inputs, *kernel, scale=2.0, bias=True):
        fan_in = inputs * (kernel[0] * kernel[1] if kernel else 1)
        tensors[name + ".weight"] = torch.randn(outputs, inputs, *kernel) * (scale / fan_in) ** 0.5
        if bias:
            tensors[name + ".bias"] = torch.randn(outputs) * 0.1

    channels, norm = 3, network == "tiny"
    for name, width in WIDTHS[network]:
        first = channels == 3 and network == "vgg16"
        layer("backbone." + name, width, channels, 3, 3, scale=2e-4 if first else 2.0, bias=not norm)
        if norm:
            prefix = f"backbone.{name}.norm."
            tensors[prefix + "weight"] = torch.rand(width) + 0.5
            tensors[prefix + "bias"] = torch.randn(width) * 0.2
            tensors[prefix + "running_mean"] = torch.randn(width) * 0.2
            tensors[prefix + "running_var"] = torch.rand(width) + 0.5
        channels = width
    anchors = 3 * (config["anchors"].split("]")[0].count(",") + 1)
    layer("rpn.conv", channels, channels, 3, 3)
    layer("rpn.cls", anchors * (2 if config["objectness"] == "softmax" else 1), channels, 1, 1)
    layer("rpn.box", anchors * 4, channels, 1, 1, scale=0.02)
    layer("head.fc6", 128, channels * 49)
    layer("head.fc7", 128, 128)
    layer("head.cls", classes + 1, 128, scale=20.0)
    layer("head.box", 4 if config["agnostic"] == "true" else 4 * (classes + 1), 128, scale=0.5)
    return tensors


def compare(frcnn, pictures):
    classes = ["cat", "dog", "bird"]
    worst = {"count": 0, "box": 0.0, "score": 0.0}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        # Two decoders of JPEG may differ by a grey level or two; both read the same PNG instead.
        for i, picture in enumerate(pictures):
            image = torchvision.io.decode_image(str(picture), torchvision.io.ImageReadMode.RGB)
            pictures[i] = folder / f"{i}.png"
            torchvision.io.write_png(image, str(pictures[i]))
        for case, (head, settings) in CASES.items():
            network = case.split()[0]
            config = head + COMMON.format(**settings)
            if network == "tiny":
                config = config.replace("[rpn]", "[rpn]\nchannels = 64")
            source, model = folder / "random.safetensors", folder / "model.h5"
            save_file(random_weights(network, settings, len(classes)), source,
                      {"config": config, "classes": "\n".join(classes)})
            run = lambda *arguments: subprocess.run(
                [frcnn, *map(str, arguments)], check=True, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, text=True).stdout
            run("import", source, "--out", model)
            exported, own = folder / "torchvision.safetensors", folder / "own.safetensors"
            run("export", model, "--format", "torchvision", "--out", exported)
            # Under our own names the way back gives the same checkpoint.
            run("export", model, "--format", "safetensors", "--out", own)
            run("import", own, "--out", folder / "again.h5")
            run("export", folder / "again.h5", "--format", "safetensors", "--out", folder / "again")
            assert own.read_bytes() == (folder / "again").read_bytes(), "the way back differs"
            peer, names = load(exported)
            assert names == classes
            total = matched = 0
            box_apart = score_apart = 0.0
            for picture in pictures:
                boxes, scores, labels = detect(peer, picture)
                ours = json.loads(run("detect", model, picture, "--json"))
                ours = ours["annotations"] if isinstance(ours, dict) else ours
                total += max(len(ours), len(boxes))
                left = list(range(len(boxes)))
                for mine in ours:
                    x, y, w, h = mine["bbox"]
                    box = torch.tensor([x, y, x + w, y + h])
                    best = min((i for i in left if labels[i] == mine["category_id"]),
                               key=lambda i: (boxes[i] - box).abs().max().item(), default=None)
                    if best is None or (boxes[best] - box).abs().max() > 0.5:
                        continue
                    left.remove(best)
                    matched += 1
                    box_apart = max(box_apart, (boxes[best] - box).abs().max().item())
                    score_apart = max(score_apart, abs(scores[best].item() - mine["score"]))
            print(f"{case}: {matched} of {total} detections of {len(pictures)} pictures agree; boxes "
                  f"{box_apart:.2g} pixels, scores {score_apart:.2g} apart", flush=True)
            worst["count"] += total - matched
    return 1 if worst["count"] else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compare", metavar="FRCNN", help="the program to compare with")
    parser.add_argument("files", nargs="+", help="model and pictures; with --compare pictures")
    arguments = parser.parse_args()
    if arguments.compare:
        return compare(arguments.compare, arguments.files)
    model, classes = load(arguments.files[0])
    for picture in arguments.files[1:]:
        for box, score, label in zip(*detect(model, picture)):
            print(picture, classes[label - 1], f"{score:.4f}", *(f"{v:.2f}" for v in box.tolist()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
