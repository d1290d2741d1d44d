"""Golden values of the box kernels from torchvision, for tests/kernels.

Run: python tests/golden/make_boxes.py   (needs torch, torchvision, h5py); writes tests/golden/boxes.h5
"""
import pathlib

import h5py
import numpy as np
import torch
from torchvision.models.detection._utils import BoxCoder, Matcher
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import batched_nms, box_iou, clip_boxes_to_image, nms

rng = np.random.default_rng(20240611)


def put(group, **arrays):
    for key, value in arrays.items():
        value = value.detach().numpy() if torch.is_tensor(value) else value
        group.create_dataset(key, data=value, compression="gzip", shuffle=True)


def random_boxes(count, extent, low, high):
    corner = rng.uniform(0, extent, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(low, high, (count, 2))], 1).astype(np.float32)


def clustered(count, extent, objects):
    """Boxes scattered about a few objects, as proposals are; on half pixels, so that equal overlaps occur."""
    base = random_boxes(objects, extent, 20, 120)[rng.integers(0, objects, count)]
    boxes = np.round(2 * (base + rng.normal(0, 6, (count, 4)))) / 2
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2])
    return boxes.astype(np.float32)


def make_iou(f):
    a, b = clustered(60, 100, 5), clustered(20, 100, 5)
    b = b[(b[:, 2] > b[:, 0]) & (b[:, 3] > b[:, 1])]
    a[0], a[1], a[2] = b[0], [10, 10, 10, 30], [20, 20, 20, 20]  # equal, a line, a point
    a[3] = [b[1][2], b[1][1], b[1][2] + 10, b[1][3]]  # shares an edge
    put(f.create_group("iou"), a=a, b=b, iou=box_iou(torch.tensor(a), torch.tensor(b)))


def make_nms(f):
    grid = np.array([[x, y, x + w, y + 8] for x in range(0, 24, 2) for y in range(0, 8, 2) for w in (4, 8, 16)])
    sets = {
        "clustered": clustered(400, 300, 12),
        "sparse": random_boxes(300, 600, 4, 60),
        "ties": rng.permutation(grid).astype(np.float32),  # overlaps of exactly 1/3, 1/2, 3/5, ...
        # overlaps of 1/10, 2/10, ...: float32 rounds some of them above, some below the threshold
        "tenths": np.array([[0, y, w, y + 10] for y in range(0, 900, 10) for w in rng.permutation(10)[:3] + 1]),
        "degenerate": np.concatenate([clustered(60, 40, 3), np.repeat([[5, 5, 5, 9], [7, 7, 7, 7]], 10, 0)]),
    }
    for name, boxes in sets.items():
        boxes = torch.tensor(np.asarray(boxes, np.float32))
        scores = torch.linspace(1, 0, len(boxes))
        group = f.create_group("nms_" + name)
        put(group, boxes=boxes)
        for percent in (30, 50, 70):
            put(group, **{f"kept_{percent}": nms(boxes, scores, percent / 100)})
    # More than 1000 boxes: torchvision then treats each class apart instead of moving boxes.
    boxes, labels = torch.tensor(clustered(1100, 200, 8)), torch.tensor(rng.integers(0, 4, 1100))
    put(f.create_group("nms_groups"), boxes=boxes, groups=labels,
        kept_50=batched_nms(boxes, torch.linspace(1, 0, 1100), labels, 0.5))


def make_anchors(f):
    images = ImageList(torch.zeros(1, 3, 48, 80), [(48, 80)])
    maps = [torch.zeros(1, 8, 3, 5)]
    for name, sizes in {"common": (32, 64, 128), "odd": (25, 51, 77)}.items():
        generator = AnchorGenerator((sizes,), ((0.5, 1.0, 2.0),))
        put(f.create_group("anchors_" + name), sizes=np.float64(sizes), anchors=generator(images, maps)[0])


def make_codec(f):
    anchors, boxes = random_boxes(200, 400, 5, 200), random_boxes(200, 400, 5, 200)
    for name, weights in {"plain": (1.0, 1.0, 1.0, 1.0), "weighted": (10.0, 10.0, 5.0, 5.0)}.items():
        coder = BoxCoder(weights)
        deltas = rng.normal(0, 1, (200, 4)).astype(np.float32) * np.float32(weights)
        deltas[:4, 2:] *= 8  # beyond the limit of the sides
        a, b, d = (torch.tensor(v, dtype=torch.float64) for v in (anchors, boxes, deltas))
        decoded = coder.decode_single(d, a)
        put(f.create_group("codec_" + name), anchors=anchors, boxes=boxes, deltas=deltas,
            encoded=coder.encode_single(b, a), decoded=decoded)
    boxes = random_boxes(100, 400, 5, 200) - np.float32(80)
    put(f.create_group("clip"), boxes=boxes, clipped=clip_boxes_to_image(torch.tensor(boxes), (300, 200)))


def make_match(f):
    truth = np.round(random_boxes(6, 200, 30, 120))
    truth[5] = truth[4] + np.float32([8, 0, 8, 0])
    anchors = np.concatenate([clustered(200, 250, 8), truth.repeat(60, 0) + np.round(rng.normal(0, 9, (360, 4)))])
    anchors = rng.permutation(anchors[(anchors[:, 2] > anchors[:, 0]) & (anchors[:, 3] > anchors[:, 1])])
    # The best anchors of the last object are two, equally far to its left and right.
    truth = np.concatenate([truth, [[400, 400, 440, 440]]]).astype(np.float32)
    anchors = np.concatenate([anchors, [[390, 400, 430, 440], [410, 400, 450, 440]]]).astype(np.float32)
    overlaps = box_iou(torch.tensor(truth), torch.tensor(anchors))
    group = f.create_group("match")
    put(group, anchors=anchors, truth=truth, best_iou=overlaps.max(0).values, best=overlaps.max(0).indices,
        object_best=overlaps.max(1).values)
    for low_quality in (0, 1):
        matched = Matcher(0.7, 0.3, allow_low_quality_matches=bool(low_quality))(overlaps)
        labels = torch.where(matched >= 0, 1, torch.where(matched == Matcher.BELOW_LOW_THRESHOLD, 0, -1))
        put(group, **{f"labels_{low_quality}": labels})


if __name__ == "__main__":
    with h5py.File(pathlib.Path(__file__).with_name("boxes.h5"), "w", libver=("earliest", "v110")) as file:
        make_iou(file)
        make_nms(file)
        make_anchors(file)
        make_codec(file)
        make_match(file)
