"""Golden values of the focal loss, of one-vs-all classification and of the GIoU loss, from torchvision
and torch in float64, for tests/kernels. The GIoU loss is that of boxes decoded at random anchors: ours
sees the deltas alone. Writes dense_losses.h5.

Run: python tests/golden/make_dense_losses.py   (needs torch, torchvision, numpy, h5py)
"""
import math
import pathlib

import h5py
import numpy as np
import torch
import torch.nn.functional as F
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

rng = np.random.default_rng(20260106)


def leaf(values):
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def put(f, name, loss, x, numbers=None, **inputs):
    loss.backward()
    group = f.create_group(name)
    group.attrs["loss"] = loss.item()
    for key, value in (numbers or {}).items():
        group.attrs[key] = float(value)
    for key, value in dict(inputs, x=x.detach().numpy(), dx=x.grad.numpy()).items():
        group.create_dataset(key, data=value, compression="gzip", shuffle=True)


def softmax_focal(logits, labels, alpha, gamma):
    """-a (1 - p)^gamma log p of the true class; label 0 is background, -1 is left out."""
    rows = torch.tensor(np.flatnonzero(labels >= 0))
    chosen = torch.tensor(labels)[rows]
    log_p = F.log_softmax(logits[rows], 1).gather(1, chosen[:, None])[:, 0]
    weight = torch.ones_like(log_p)
    if alpha >= 0:
        weight = torch.where(chosen > 0, weight * alpha, weight * (1 - alpha))
    return (weight * (1 - log_p.exp()) ** gamma * -log_p).sum()


def decode(deltas, anchors):
    """Boxes of deltas that are not normalised; sides grow at most 1000 / 16 times."""
    size = anchors[:, 2:] - anchors[:, :2]
    centre = anchors[:, :2] + 0.5 * size + deltas[:, :2] * size
    half = 0.5 * size * torch.exp(deltas[:, 2:].clamp(max=math.log(1000 / 16)))
    return torch.cat([centre - half, centre + half], 1)


def giou(f, name, groups, std, mean):
    count = 60
    labels = rng.integers(-1, max(groups, 3), count)
    corner, size = rng.uniform(0, 300, (count, 2)), rng.uniform(8, 200, (count, 2))
    anchors = torch.tensor(np.concatenate([corner, corner + size], 1))
    raw = np.concatenate([rng.normal(0, 0.6, (count, 2)), rng.normal(0, 0.5, (count, 2))], 1)
    raw[:10, :2] *= 6  # boxes that do not meet
    targets = (raw - mean) / std
    x = np.concatenate([rng.normal(0, 0.6, (count, groups, 2)), rng.normal(0, 0.5, (count, groups, 2))], 2)
    x[20:24, :, 2] = 4.5  # cut
    predictions = leaf(((x - mean) / std).reshape(count, 4 * groups))
    rows = np.flatnonzero(labels > 0)
    chosen = predictions.view(count, groups, 4)[rows, labels[rows] if groups > 1 else 0]
    boxes = decode(chosen * torch.tensor(std) + torch.tensor(mean), anchors[rows])
    goal = decode(torch.tensor(raw)[rows], anchors[rows])
    loss = generalized_box_iou_loss(boxes, goal, reduction="sum", eps=0)
    put(f, name, loss, predictions, {"groups": groups, "std": std[0], "mean": mean[0]}, labels=labels,
        targets=targets)


with h5py.File(pathlib.Path(__file__).with_name("dense_losses.h5"), "w", libver=("earliest", "v110")) as f:
    for i, (alpha, gamma) in enumerate([(0.25, 2.0), (-1.0, 2.0), (0.7, 0.5), (0.25, 0.0), (-1.0, 3.0)]):
        labels = rng.integers(-1, 2, 70)
        x = leaf(rng.normal(0, 3, 70))
        counts = torch.tensor(labels >= 0, dtype=torch.float64)
        loss = (sigmoid_focal_loss(x, torch.tensor(labels.clip(0), dtype=torch.float64), alpha, gamma) * counts).sum()
        put(f, f"sigmoid_focal/{i}", loss, x, {"alpha": alpha, "gamma": gamma}, labels=labels)
        for classes in (2, 7):
            labels = rng.integers(-1, classes, 30)
            x = leaf(rng.normal(0, 3, (30, classes)))
            put(f, f"softmax_focal/{i}_{classes}", softmax_focal(x, labels, alpha, gamma), x,
                {"alpha": alpha, "gamma": gamma}, labels=labels)
    # One-vs-all: K binary problems per row, background is none of them.
    labels = rng.integers(-1, 6, 40)
    x = leaf(rng.normal(0, 3, (40, 6)))
    rows = np.flatnonzero(labels >= 0)
    goal = F.one_hot(torch.tensor(labels)[rows], 6)[:, 1:].double()
    put(f, "one_vs_all", F.binary_cross_entropy_with_logits(x[rows, 1:], goal, reduction="sum"), x, labels=labels)
    giou(f, "giou/shared", 1, np.ones(4), np.zeros(4))
    giou(f, "giou/classes", 5, np.array([0.1, 0.1, 0.2, 0.2]), np.array([0.05, 0.05, 0.05, 0.05]))
