#!/usr/bin/env python3
"""`frcnn export --format onnx` against `frcnn detect`: the same detections in ONNX Runtime.

  python tests/peers/onnx_export.py --frcnn build/release/apps/frcnn --out /tmp/onnx
  python tests/peers/onnx_export.py --frcnn build/release/apps/frcnn --out /tmp/onnx --only zf bgr
  python tests/peers/onnx_export.py --frcnn F --out DIR --model runs/first --pictures 'photos/*.jpg'

Without --model, detectors in many settings are trained for some steps on drawn shapes (`frcnn
synth`). Every detector is exported for pictures of any size and, where it is compared on pictures of
one size, for that size; both files pass onnx.checker, and both are compared with `frcnn detect
--json` on 20 pictures, five of them without an object: the same number of detections with the same
labels, boxes within 1e-2 pixels and scores within 1e-4. Ends with status 1 where one differs. Needs
numpy, onnx, onnxruntime, Pillow; resnet18 needs torch and torchvision.
"""

import argparse
import glob
import json
import pathlib
import subprocess
import sys
import time

import numpy as np
import onnx
import onnxruntime
from PIL import Image

BOX_TOLERANCE, SCORE_TOLERANCE = 1e-2, 1e-4  # pixels; probability
ROOT = pathlib.Path(__file__).resolve().parents[2]
QUICK = ROOT / "configs/quickstart.toml"
TINY = ROOT / "tests/e2e/tiny.toml"
BIG = ["preprocess.shorter_side=160", "preprocess.longer_side=240", "roi.hidden=[64, 64]",
       "backbone.init.method=he", "preprocess.pad_multiple=1"]

# name: config, steps of training, settings of training
CASES = {
    "quickstart": (QUICK, 400, []),
    "roi_pool": (TINY, 80, ["roi.layer=roi_pool"]),
    "legacy": (TINY, 80, ["roi.layer=roi_align_legacy", "roi.sampling_ratio=0"]),
    "adaptive": (TINY, 80, ["roi.layer=roi_align", "roi.sampling_ratio=0"]),
    "sigmoid": (TINY, 80, ["rpn.objectness=sigmoid", "rpn.size_filter=after"]),
    "one_vs_all": (TINY, 80, ["roi.class_loss=sigmoid", "train.ema=0.9", "roi.box_loss=giou"]),
    "agnostic": (TINY, 80, ["roi.class_agnostic=true", "roi.box_mean=[0.02, -0.01, 0.1, 0.05]"]),
    "bgr": (TINY, 80, ["preprocess.channels=bgr", "preprocess.rounding=floor",
                       "preprocess.mean=[102.9801, 115.9465, 122.7717]",
                       "preprocess.shorter_side=75", "preprocess.longer_side=101"]),
    "batch_norm": (TINY, 80, ["backbone.batch_norm=true", "backbone.batch_norm_mode=train"]),
    "torchvision_anchors": (TINY, 80, ["anchors.rounding=torchvision", "anchors.centre=corner",
                                       "anchors.stride_rule=map", "preprocess.pad_multiple=32"]),
    "exact_stride": (TINY, 80, ["anchors.stride_rule=exact", "preprocess.pad_multiple=1",
                                "anchors.rounding=none", "rpn.window=5"]),
    "one_hidden": (TINY, 80, ["roi.hidden=[32]", "test.min_size=10.0"]),
    "zf": (TINY, 4, ["backbone.name=zf", "roi.layer=roi_pool"] + BIG),
    "zf_ceil": (TINY, 4, ["backbone.name=zf", "backbone.ceil_mode=true"] + BIG),
    "alexnet": (TINY, 4, ["backbone.name=alexnet"] + BIG),
    "vgg16": (TINY, 2, ["backbone.name=vgg16", "roi.layer=roi_pool"] + BIG),
    "resnet18": (TINY, 4, ["backbone.name=onnx", "backbone.frozen_until="] + BIG),
    "bccd": (ROOT / "configs/bccd-tiny.toml", 40, []),
}
# Settings that leave nothing at some stage, or everything, compared with the "quickstart" detector.
EDGES = ["rpn.test.min_size=500", "rpn.test.min_size=60", "rpn.test.post_nms=1", "rpn.test.nms_iou=0.0",
         "test.score=1.0", "test.score=0.0", "test.min_size=300", "test.max_detections=2",
         "test.nms_iou=1.0"]


def run(*arguments):
    done = subprocess.run([str(a) for a in arguments], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, arguments))}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def settings(values):
    return [part for value in values for part in ("--set", value)]


def without_objects(folder, size, count):
    """Smooth slopes, with noise of several strengths. Not one plain colour: there all cells of the map
    tie, and the last bits of sums, which differ between programs, choose among them."""
    random = np.random.default_rng(7)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for i in range(count):
        y, x = np.mgrid[0:size[1], 0:size[0]]
        slope = 60 + 30 * i + 40 * x / size[0] - 50 * y / size[1]
        noise = random.normal(0, (2, 6, 40)[i % 3], (size[1], size[0], 3))
        pixels = np.clip(slope[:, :, None] + noise, 0, 255).astype(np.uint8)
        files.append(folder / f"empty_{size[0]}x{size[1]}_{i}.png")
        Image.fromarray(pixels).save(files[-1])
    return files


def as_png(files, folder):
    """Copies that every decoder reads alike: those of JPEG differ by a few grey levels."""
    folder.mkdir(parents=True, exist_ok=True)
    out = [folder / f"{file.stem}.png" for file in files]
    for file, copy in zip(files, out):
        Image.open(file).convert("RGB").save(copy)
    return out


def resized(files, folder):
    """The same pictures in other sizes, for models that take any."""
    folder.mkdir(parents=True, exist_ok=True)
    out = []
    for i, file in enumerate(files):
        picture = Image.open(file).convert("RGB")
        w, h = picture.size
        out.append(folder / f"{file.stem}.png")
        picture.resize((max(40, w - 7 * i), max(40, h + 11 * (i % 5) - 3 * i))).save(out[-1])
    return out


def resnet18(file):
    import torch
    import torchvision
    torch.manual_seed(1)
    net = torchvision.models.resnet18(weights=None).eval()
    torch.onnx.export(net, torch.zeros(1, 3, 224, 224), str(file), dynamo=False,
                      input_names=["image"], dynamic_axes={"image": {2: "h", 3: "w"}})


def ours(frcnn, model, files, extra):
    found = {file.stem: [] for file in files}
    text = run(frcnn, "--threads", "1", "detect", model, *files, "--json", *settings(extra))
    names = {}
    for d in json.loads(text):
        x, y, w, h = d["bbox"]
        found[d["image_id"]].append((d["score"], d["category_id"] - 1, [x, y, x + w, y + h]))
        names[d["category_id"] - 1] = d["category_name"]
    return found, names


def compare(name, file, files, expected, names):
    """Differences between a model file in ONNX Runtime and what `frcnn detect` found."""
    onnx.checker.check_model(str(file), full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options, ["CPUExecutionProvider"])
    classes = session.get_modelmeta().custom_metadata_map["classes"].split("\n")
    assert all(classes[k] == v for k, v in names.items()), (classes, names)
    worst_box = worst_score = 0.0
    total = empty = wrong = moved = 0
    for picture in files:
        pixels = np.asarray(Image.open(picture).convert("RGB"))
        image = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])
        boxes, scores, labels = session.run(["boxes", "scores", "labels"], {"image": image})
        assert boxes.shape == (len(scores), 4) and labels.shape == scores.shape
        assert labels.dtype == np.int64 and boxes.dtype == scores.dtype == np.float32
        assert np.all(scores[:-1] >= scores[1:]) and np.isfinite(boxes).all()
        want = expected[picture.stem]
        total += len(want)
        empty += not want
        wrong += abs(len(want) - len(scores))
        free = set(range(len(scores)))
        for i, (score, label, box) in enumerate(want):
            near = [j for j in free if labels[j] == label and abs(scores[j] - score) < SCORE_TOLERANCE
                    and np.abs(boxes[j] - box).max() < BOX_TOLERANCE]
            if not near:
                wrong += 1
                continue
            j = i if i in near else near[0]
            free.discard(j)
            moved += j != i
            worst_box = max(worst_box, float(np.abs(boxes[j] - box).max()))
            worst_score = max(worst_score, abs(float(scores[j]) - score))
    size = session.get_modelmeta().custom_metadata_map["picture_size"]
    print(f"{name:22} {size:9} {len(files):3} pictures ({empty} without detections) {total:5} "
          f"detections, {wrong} differ, {moved} in another place; box {worst_box:.1e} px, score "
          f"{worst_score:.1e}", flush=True)
    return {"case": name, "size": size, "pictures": len(files), "without": empty,
            "detections": total, "wrong": wrong, "moved": moved, "box": worst_box,
            "score": worst_score}


def check(name, frcnn, model, files, extra, out):
    rows = []
    sizes = {Image.open(file).size for file in files}
    exports = [(files, ["--dynamic"])]
    if len(sizes) == 1:
        w, h = sizes.pop()
        exports.append((files, ["--height", h, "--width", w]))
        exports.append((resized(files, out / "resized"), ["--dynamic"]))
    for pictures, size in exports:
        file = out / f"{name}.onnx"
        run(frcnn, "export", model, "--format", "onnx", "--out", file, *size, *settings(extra))
        expected, names = ours(frcnn, model, pictures, extra)
        rows.append(compare(name, file, pictures, expected, names))
    return rows


def train(name, frcnn, out):
    config, steps, changes = CASES[name]
    data = out / "synth"
    if name == "bccd":
        data = ROOT.parent / "shared/data/bccd/BCCD"
    elif not data.exists():
        run(frcnn, "synth", "--out", data, "--images", 80, "--seed", 3)
    if name == "resnet18":
        resnet18(out / "resnet18_backbone.onnx")
        changes = changes + [f"backbone.onnx={out}/resnet18_backbone.onnx"]
    model = out / f"run_{name}"
    if not (model / "model.h5").exists():
        start = time.time()
        run(frcnn, "--threads", "1", "train", config, "--data", data, "--out", model,
            *settings(changes + [f"train.steps={steps}", f"train.checkpoint_every={steps}"]))
        print(f"{name}: {steps} steps in {time.time() - start:.0f} s", flush=True)
    files = as_png(sorted((data / "JPEGImages").iterdir())[:15], out / name)
    return model, files + without_objects(out / "empty", Image.open(files[0]).size, 5)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--frcnn", required=True, type=pathlib.Path)
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--only", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--model")
    parser.add_argument("--pictures")
    parser.add_argument("--set", nargs="*", default=[])
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = []
    if arguments.model:
        files = as_png([pathlib.Path(file) for file in sorted(glob.glob(arguments.pictures))],
                       arguments.out / "pictures")
        rows = check("model", arguments.frcnn, arguments.model, files, arguments.set, arguments.out)
    else:
        for name in arguments.only:
            model, files = train(name, arguments.frcnn, arguments.out)
            # Detectors that have seen little are unsure: a low threshold leaves much to compare.
            extra = [] if name == "quickstart" else ["test.score=0.02"]
            rows += check(name, arguments.frcnn, model, files, extra, arguments.out)
            for edge in EDGES if name == "quickstart" else []:
                rows += check(edge, arguments.frcnn, model, files, [edge], arguments.out)
    (arguments.out / "onnx_export.json").write_text(json.dumps(rows, indent=1))
    return 1 if any(row["wrong"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
