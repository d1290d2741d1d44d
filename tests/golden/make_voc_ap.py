#!/usr/bin/env python3
"""Writes voc_ap.h5: random objects and detections, and their average precisions computed here with
numpy from the definitions in the VOC development kit's documentation (sections 3.4.1 and 4.4).

It shares nothing with data/evaluate.cpp: matching works on a full IoU matrix per picture, the area
is the sum over distinct recalls of the running maximum from the right, the 11 points are searched
one by one. Boxes are rounded to 1/8 so that float32 and float64 give the same IoU comparisons.
"""
import os

import h5py
import numpy as np

CLASSES, IMAGES = 4, 40
IOU = [0.3, 0.5, 0.75]


def iou_matrix(a, b):
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = np.prod(np.clip(high - low, 0, None), axis=2)
    area = lambda x: np.prod(x[:, 2:] - x[:, :2], axis=1)
    return inter / (area(a)[:, None] + area(b)[None, :] - inter)


def average_precision(objects, detections, label, limit):
    gt = objects[objects[:, 1] == label]
    det = detections[detections[:, 1] == label]
    det = det[np.argsort(-det[:, 2], kind="stable")]
    used = np.zeros(len(gt), bool)
    outcome = []  # 1 right, 0 wrong; hits of difficult objects are not counted
    for row in det:
        here = np.flatnonzero(gt[:, 0] == row[0])
        if len(here) == 0:
            outcome.append(0)
            continue
        ious = iou_matrix(row[None, 3:], gt[here, 3:])[0]
        best = here[ious.argmax()]
        if ious.max() < limit:
            outcome.append(0)
        elif gt[best, 2] == 0:
            outcome.append(0 if used[best] else 1)
            used[best] = True
    tp = np.cumsum(outcome)
    recall = tp / np.count_nonzero(gt[:, 2] == 0)
    precision = tp / np.arange(1, len(tp) + 1)
    area, previous = 0.0, 0.0
    for r in np.unique(recall):
        area += (r - previous) * precision[recall >= r].max()
        previous = r
    eleven = np.mean([precision[recall >= t].max(initial=0) for t in np.linspace(0, 1, 11)])
    return area, eleven


def main():
    rng = np.random.RandomState(7)
    objects, detections = [], []
    for image in range(IMAGES):
        for _ in range(rng.randint(1, 9)):
            label, difficult = rng.randint(CLASSES), rng.rand() < 0.15
            x, y = rng.rand(2) * 200
            w, h = 10 + rng.rand(2) * 60
            box = np.round(np.array([x, y, x + w, y + h]) * 8) / 8
            objects.append([image, label, difficult, *box])
            for _ in range(rng.randint(0, 4)):
                moved = np.round((box + rng.randn(4) * 0.12 * np.array([w, h, w, h])) * 8) / 8
                # Two digits: many equal scores, so the order of ties matters.
                score = np.float32(round(rng.rand(), 2))
                other = rng.randint(CLASSES) if rng.rand() < 0.1 else label
                if moved[2] > moved[0] and moved[3] > moved[1]:
                    detections.append([image, other, score, *moved])
    objects, detections = np.array(objects, float), np.array(detections, float)
    ap = [[average_precision(objects, detections, c, t) for c in range(CLASSES)] for t in IOU]
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "voc_ap.h5")
    with h5py.File(path, "w", track_order=False) as file:
        file.attrs["images"] = float(IMAGES)
        file["objects"], file["detections"] = objects, detections
        file["iou"], file["ap"] = np.array(IOU), np.array(ap)
    print(path, len(objects), "objects", len(detections), "detections", np.array(ap).round(4).tolist())


if __name__ == "__main__":
    main()
