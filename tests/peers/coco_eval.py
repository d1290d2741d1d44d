#!/usr/bin/env python3
"""Compares the COCO metric with pycocotools on many random cases and on one of the size of COCO
val2017, and times both.

  ninja -C build/release coco_eval
  python tests/peers/coco_eval.py [--cases 200] [--rounds 3] [--threads 2]
                                  [--program build/release/tests/coco_eval]
Needs numpy, h5py and pycocotools. Where tidecv is installed (pip install --no-deps tidecv), the error
shares are compared with it on as many cases. Exit code 1 when a number differs by more than 1e-6.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "golden"))
import make_coco_eval as cases  # noqa: E402


def ours(program, threads, objects, detections, ids, classes):
    """What tests/peers/coco_eval.cpp prints."""
    with tempfile.NamedTemporaryFile(suffix=".bin") as file:
        head = np.array([len(ids), classes, len(objects), len(detections)], float)
        for part in (head, ids.astype(float), objects, detections):
            file.write(np.ascontiguousarray(part, np.float64).tobytes())
        file.flush()
        done = subprocess.run([program, file.name, str(threads)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    return json.loads(done.stdout)


def worst_difference(stats, result, key="numbers"):
    difference = np.abs(stats - np.array(result[key], float))
    return np.inf if np.isnan(difference).any() else difference.max()


def random_settings(rng):
    """A case of any kind: ties, crowds, empty classes, nothing detected, shuffled picture ids."""
    images, classes = int(rng.integers(1, 30)), int(rng.integers(1, 8))
    objects, detections = cases.random_case(
        rng, images=images, classes=classes, per_image=rng.uniform(0, 6), extra=rng.uniform(0, 8),
        ties=rng.random() < 0.5, crowds=rng.choice([0, 0.1, 0.5]), mask_areas=rng.random() < 0.5,
        largest=rng.choice([30, 120, 300]))
    if rng.random() < 0.1:
        detections = detections[:0]
    if rng.random() < 0.05:
        objects = objects[:0]
    if rng.random() < 0.3:
        objects = objects[objects[:, 1] != 0]
    if rng.random() < 0.3:
        detections = detections[detections[:, 1] != classes - 1]
    if rng.random() < 0.3 and len(detections):  # corners between the quarters, as float32 has them
        shift = np.float32(rng.random((len(detections), 4)))
        detections[:, 3:] = np.float32(detections[:, 3:]) + shift * np.float32(0.2)
        detections[:, 3:] = np.float32(detections[:, 3:])
    ids = rng.permutation(3 * images)[:images] + 1 if rng.random() < 0.5 else np.arange(images) + 1
    return objects, detections, ids, classes


def val2017_size(rng, images=5000, classes=80, objects=36000, detections=500000):
    """Generated input of that size: classes as uneven as COCO's, 100 detections per picture."""
    share = 1 / np.arange(1, classes + 1) ** 0.8
    label = rng.choice(classes, objects, p=share / share.sum())
    image = rng.integers(images, size=objects)
    box = cases.boxes(rng, objects, 300)
    area = np.prod(box[:, 2:] - box[:, :2], axis=1) * rng.uniform(0.3, 1, objects)
    truth = np.column_stack([image, label, box, rng.random(objects) < 0.01, area])
    order = np.argsort(image, kind="stable")
    truth = truth[order]
    near = rng.integers(objects, size=detections // 3)
    moved = truth[near, 2:6] + rng.normal(0, 4, (len(near), 4))
    moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
    rest = detections - len(near)
    free = np.column_stack([rng.integers(images, size=rest),
                            rng.choice(classes, rest, p=share / share.sum()), rng.random(rest) ** 3,
                            cases.boxes(rng, rest, 300)])
    hits = np.column_stack([truth[near, 0], truth[near, 1], rng.random(len(near)), moved])
    found = np.concatenate([hits, free])
    found = found[np.argsort(found[:, 0], kind="stable")]
    found[:, 2:] = np.float32(found[:, 2:])
    return truth, found, np.arange(images) + 1, classes


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--program", default=os.path.join(ROOT, "build/release/tests/coco_eval"))
    a = parser.parse_args()
    worst = 0.0
    for seed in range(a.seed, a.seed + a.cases):
        case = random_settings(np.random.default_rng(seed))
        apart = worst_difference(cases.reference(*case), ours(a.program, a.threads, *case))
        if not apart <= 1e-6:
            print(f"seed {seed}: differs by {apart}")
        worst = max(worst, apart)
    print(f"random cases: {a.cases}, largest difference {worst:.3g}")
    try:
        import make_tide
    except ImportError:
        print("tidecv is not installed: error shares are not compared")
    else:
        apart = 0.0
        for seed in range(a.seed, a.seed + a.cases):
            rng = np.random.default_rng(seed)
            images, classes = int(rng.integers(1, 20)), int(rng.integers(1, 6))
            truth, found = make_tide.tide_case(rng, images, classes)
            if len(truth) == 0:
                continue
            stats = make_tide.reference(truth, found, images, classes)
            result = ours(a.program, a.threads, truth, found, np.arange(images), classes)
            difference = worst_difference(stats, result, "errors")
            if not difference <= 1e-6:
                print(f"seed {seed}: error shares differ by {difference}")
            apart = max(apart, difference)
        print(f"tidecv: {a.cases} cases, largest difference {apart:.3g}")
        worst = max(worst, apart)
    if a.rounds:
        case = val2017_size(np.random.default_rng(a.seed))
        peer, mine = [], []
        for _ in range(a.rounds):
            result = ours(a.program, a.threads, *case)
            mine.append(result["seconds"])
            stats = cases.reference(*case, timing=peer)
            worst = max(worst, worst_difference(stats, result))
        print(f"{len(case[2])} pictures, {len(case[0])} objects, {len(case[1])} detections")
        print("pycocotools", " ".join(f"{v:.4f}" for v in stats))
        print("frcnn      ", " ".join(f"{v:.4f}" for v in result["numbers"]))
        ratios = np.array(peer) / np.array(mine)
        print(f"seconds: pycocotools {np.median(peer):.2f} ({min(peer):.2f} to {max(peer):.2f}), "
              f"frcnn {np.median(mine):.3f} ({min(mine):.3f} to {max(mine):.3f}), times "
              f"{np.median(ratios):.0f} ({ratios.min():.0f} to {ratios.max():.0f}), "
              f"{a.threads} threads")
        print(f"largest difference {worst:.3g}")
    return 0 if worst <= 1e-6 else 1


if __name__ == "__main__":
    sys.exit(main())
