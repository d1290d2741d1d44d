"""PASCAL VOC layout reader and area-under-curve mAP for the peer scripts (numpy only)."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np


def find_root(folder):
    """The folder that holds Annotations/: `folder` itself or one directly below it."""
    folder = Path(folder)
    for candidate in [folder, *sorted(p for p in folder.iterdir() if p.is_dir())]:
        if (candidate / "Annotations").is_dir():
            return candidate
    raise SystemExit(f"no Annotations folder in {folder}")


def read_objects(path, first_pixel):
    """[(name, (x1, y1, x2, y2), difficult)] in continuous pixels, and the number of boxes dropped.

    A file whose pixels count from `first_pixel` names the first and last pixel that belong to the
    object, so the continuous box is (xmin - first, ymin - first, xmax - first + 1, ymax - first + 1).
    Boxes without area in the file (xmax <= xmin or ymax <= ymin) are dropped.
    """
    objects, dropped = [], 0
    for item in ElementTree.parse(path).getroot().findall("object"):
        xmin, ymin, xmax, ymax = (
            float(item.find("bndbox").find(k).text) for k in ("xmin", "ymin", "xmax", "ymax"))
        if xmax <= xmin or ymax <= ymin:
            dropped += 1
            continue
        box = (xmin - first_pixel, ymin - first_pixel, xmax - first_pixel + 1, ymax - first_pixel + 1)
        objects.append((item.find("name").text.strip(), box, (item.findtext("difficult") or "0").strip() == "1"))
    return objects, dropped


def read_split(root, splits, first_pixel):
    """[(name, objects)] of the splits in file order, and the number of boxes dropped."""
    rows, dropped = [], 0
    for split in splits:
        for name in (root / "ImageSets" / "Main" / f"{split}.txt").read_text().split():
            objects, bad = read_objects(root / "Annotations" / f"{name}.xml", first_pixel)
            rows.append((name, objects))
            dropped += bad
    return rows, dropped


def iou_matrix(a, b):
    """(len(a), len(b)) intersection over union of continuous boxes."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = np.prod(np.clip(high - low, 0, None), axis=2)
    area = lambda r: (r[:, 2] - r[:, 0]) * (r[:, 3] - r[:, 1])
    return inter / (area(a)[:, None] + area(b)[None, :] - inter)


def average_precision(detections, truth, threshold=0.5):
    """AP of one class, area under the monotone precision-recall curve (VOC 2010 and later).

    detections: [(image, score, box)]; truth: {image: (boxes (n, 4), difficult (n,))}. Devkit
    matching: by falling score, each detection takes the object it overlaps most; an object already
    taken makes it a false positive; a difficult object makes it count neither way.
    """
    positives = sum(int((~d).sum()) for _, d in truth.values())
    used = {image: np.zeros(len(d), bool) for image, (_, d) in truth.items()}
    order = sorted(range(len(detections)), key=lambda i: -detections[i][1])
    hits = []
    for i in order:
        image, _, box = detections[i]
        boxes, difficult = truth.get(image, (np.zeros((0, 4)), np.zeros(0, bool)))
        overlap = iou_matrix(np.asarray(box, float)[None], boxes)[0] if len(boxes) else np.zeros(0)
        best = int(overlap.argmax()) if len(overlap) else -1
        if best < 0 or overlap[best] < threshold:
            hits.append(0)
        elif difficult[best]:
            continue
        else:
            hits.append(0 if used[image][best] else 1)
            used[image][best] = True
    if not hits or not positives:
        return 0.0
    true = np.cumsum(hits)
    recall = true / positives
    precision = true / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(np.concatenate([[0], recall])) * envelope))
