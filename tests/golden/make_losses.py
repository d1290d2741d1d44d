"""Golden values of the loss kernels from PyTorch in float64, for tests/kernels.

Run: python tests/golden/make_losses.py   (needs torch, numpy, h5py); writes tests/golden/losses.h5
"""
import pathlib

import h5py
import numpy as np
import torch
import torch.nn.functional as F

rng = np.random.default_rng(20240612)


def put(f, name, loss, x, **inputs):
    loss.backward()
    group = f.create_group(name)
    group.attrs["loss"] = loss.item()
    for key, value in dict(inputs, x=x.detach().numpy().astype(np.float64), dx=x.grad.numpy()).items():
        group.create_dataset(key, data=value, compression="gzip", shuffle=True)


def leaf(values):
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def main():
    with h5py.File(pathlib.Path(__file__).with_name("losses.h5"), "w", libver=("earliest", "v110")) as f:
        for name, classes in {"pairs": 2, "voc": 21}.items():
            x = rng.normal(0, 4, (90, classes))
            x[:3] *= 200  # exp of these overflows
            labels = rng.integers(-1, classes, 90)
            logits = leaf(x)
            put(f, "softmax_" + name, F.cross_entropy(logits, torch.tensor(labels), ignore_index=-1, reduction="sum"),
                logits, labels=labels)
        x = rng.normal(0, 4, 150)
        x[:4] = [800, -800, 800, -800]
        labels = rng.integers(-1, 2, 150)
        labels[:4] = [1, 0, 0, 1]
        logits, weight = leaf(x), torch.tensor(labels >= 0, dtype=torch.float64)
        put(f, "sigmoid", F.binary_cross_entropy_with_logits(logits, torch.tensor(labels.clip(0), dtype=torch.float64),
                                                             weight=weight, reduction="sum"), logits, labels=labels)
        # Box losses: rows of label > 0 count; with `groups` each class has its own four columns.
        penalties = {
            "smooth_l1_1": lambda a, b: F.smooth_l1_loss(a, b, reduction="sum", beta=1.0),
            "smooth_l1_3": lambda a, b: F.smooth_l1_loss(a, b, reduction="sum", beta=1.0 / 9),
            "l1": lambda a, b: F.l1_loss(a, b, reduction="sum"),
            "mse": lambda a, b: F.mse_loss(a, b, reduction="sum"),
        }
        for name, penalty in penalties.items():
            for groups in (1, 5):
                labels = rng.integers(-1, 5, 80)
                predictions, targets = leaf(rng.normal(0, 1, (80, 4 * groups))), rng.normal(0, 1, (80, 4))
                rows = np.flatnonzero(labels > 0)
                chosen = predictions.view(80, groups, 4)[rows, labels[rows] if groups > 1 else 0]
                put(f, f"{name}_{groups}", penalty(chosen, torch.tensor(targets[rows])), predictions, labels=labels,
                    targets=targets)


if __name__ == "__main__":
    main()
