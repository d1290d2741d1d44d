#!/usr/bin/env python3
"""Writes coco_eval.h5: random cases and the twelve numbers that pycocotools gives for them.

Cases: ordinary, many equal scores and equal overlaps, crowds, classes without objects or detections,
no detections at all, no objects at all, more than 100 detections of one class in a picture, picture
ids in another order than the pictures. Boxes are multiples of 1/4, so that float32 holds them.
"""
import contextlib
import io
import os
import sys

import h5py
import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def boxes(rng, count, largest):
    size = np.exp(rng.uniform(np.log(6), np.log(largest), (count, 2)))
    corner = rng.uniform(0, 400, (count, 2))
    return np.round(np.concatenate([corner, corner + size], 1) * 4) / 4


def random_case(rng, images=12, classes=4, per_image=4.0, extra=3.0, ties=False, crowds=0.1,
                mask_areas=True, largest=250):
    """objects: image, label, x1, y1, x2, y2, crowd, area; detections: image, label, score, box."""
    objects, detections = [], []
    for image in range(images):
        for box in boxes(rng, rng.poisson(per_image), largest):
            label = rng.integers(classes)
            area = (box[2] - box[0]) * (box[3] - box[1])
            if mask_areas:
                area *= rng.uniform(0.3, 1)
            objects.append([image, label, *box, rng.random() < crowds, area])
            for _ in range(rng.integers(0, 4)):
                moved = np.round((box + rng.normal(0, 0.06 * (box[2] - box[0]), 4)) * 4) / 4
                moved[2:] = np.maximum(moved[2:], moved[:2] + 0.25)
                other = label if rng.random() < 0.85 else rng.integers(classes)
                detections.append([image, other, rng.random(), *moved])
                if ties and rng.random() < 0.5:
                    detections.append([image, other, rng.random(), *moved])
                if ties and rng.random() < 0.2:  # the same object twice
                    objects.append(list(objects[-1]))
        for box in boxes(rng, rng.poisson(extra), largest):
            detections.append([image, rng.integers(classes), rng.random(), *box])
    objects = np.array(objects, float).reshape(-1, 8)
    detections = np.array(detections, float).reshape(-1, 7)
    detections = detections[rng.permutation(len(detections))]
    detections[:, 2] = np.round(detections[:, 2] * 8) / 8 if ties else np.float32(detections[:, 2])
    return objects, detections


def reference(objects, detections, ids, classes, timing=None):
    """The twelve numbers of pycocotools. Picture i has the id ids[i]."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "info": {},
            "images": [{"id": int(i)} for i in ids],
            "categories": [{"id": k + 1} for k in range(classes)],
            "annotations": [
                {"id": n + 1, "image_id": int(ids[int(o[0])]), "category_id": int(o[1]) + 1,
                 "bbox": [o[2], o[3], o[4] - o[2], o[5] - o[3]], "iscrowd": int(o[6]), "area": o[7]}
                for n, o in enumerate(objects.tolist())]}
        coco.createIndex()
        found = [{"image_id": int(ids[int(d[0])]), "category_id": int(d[1]) + 1, "score": d[2],
                  "bbox": [d[3], d[4], d[5] - d[3], d[6] - d[4]]} for d in detections.tolist()]
        result = COCO()
        if found:
            result = coco.loadRes(found)
        else:  # loadRes() fails on an empty list
            result.dataset = {**coco.dataset, "annotations": []}
            result.createIndex()
        evaluation = COCOeval(coco, result, "bbox")
        import time
        start = time.perf_counter()
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        if timing is not None:
            timing.append(time.perf_counter() - start)
    return np.array(evaluation.stats)


def cases():
    """Name, objects, detections, picture ids, number of classes."""
    def one(name, seed, images=12, classes=4, shuffled=False, cut=None, **options):
        rng = np.random.default_rng(seed)
        objects, detections = random_case(rng, images=images, classes=classes, **options)
        ids = rng.permutation(images) + 5 if shuffled else np.arange(images) + 1
        if cut:
            objects, detections = cut(objects, detections)
        return name, objects, detections, ids, classes

    yield one("ordinary", 1)
    yield one("ties", 2, ties=True)
    yield one("crowds", 3, crowds=0.4)
    yield one("shuffled ids", 4, ties=True, shuffled=True)
    yield one("empty classes", 5, classes=6, cut=lambda o, d: (
        o[(o[:, 1] != 0) & (o[:, 1] != 1)], d[(d[:, 1] != 1) & (d[:, 1] != 2)]))
    yield one("only crowds of a class", 6, cut=lambda o, d: (
        np.where((o[:, 1:2] == 0) & (np.arange(8) == 6), 1, o), d))
    yield one("no detections", 7, images=4, cut=lambda o, d: (o, d[:0]))
    yield one("no objects", 8, images=4, cut=lambda o, d: (o[:0], d))
    yield one("more than 100 detections", 9, images=2, classes=1, per_image=8, extra=130)
    yield one("small objects only", 10, largest=24, mask_areas=False)


def main():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "coco_eval.h5")
    with h5py.File(path, "w", track_order=False) as file:
        for name, objects, detections, ids, classes in cases():
            group = file.create_group(name)
            group.attrs["classes"] = float(classes)
            for key, value in (("objects", objects), ("detections", detections)):
                group.create_dataset(key, data=value, compression="gzip" if len(value) else None)
            group["ids"] = ids.astype(np.int64)
            group["numbers"] = reference(objects, detections, ids, classes)
            print(name, len(objects), len(detections), group["numbers"][:].round(4).tolist())
    print(path, os.path.getsize(path), "bytes")


if __name__ == "__main__":
    sys.exit(main())
