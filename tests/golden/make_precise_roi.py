"""Golden values of precise RoI pooling, by numerical integration in torch. Writes precise_roi.h5 beside itself.

Every bin is cut at the cells of the map; inside a piece the interpolated map is a product of straight lines, for which two
Gauss points per axis are exact. The map is read at those points in two dimensions, as an interpolation, and the gradients
are torch's. Dense sampling (400 x 400 midpoints per bin) confirms the values.

Run: python tests/golden/make_precise_roi.py   (needs torch, numpy, h5py)
"""
import pathlib

import h5py
import numpy as np
import torch

random = np.random.default_rng(20261121)
GAUSS = 1 / np.sqrt(3)


def cell(plane, h, w):
    """(C) values of the cell; 0 outside the map."""
    inside = 0 <= h < plane.shape[1] and 0 <= w < plane.shape[2]
    return plane[:, h, w] if inside else torch.zeros(plane.shape[0], dtype=plane.dtype)


def at(plane, y, x):
    """Bilinear interpolation between four cells."""
    h, w = int(torch.floor(y)), int(torch.floor(x))
    v, u = y - h, x - w
    return ((1 - v) * ((1 - u) * cell(plane, h, w) + u * cell(plane, h, w + 1)) +
            v * ((1 - u) * cell(plane, h + 1, w) + u * cell(plane, h + 1, w + 1)))


def points(a, b):
    """Places and weights of a rule that is exact for what is linear between whole numbers."""
    cuts = [a] + [torch.tensor(float(k), dtype=a.dtype) for k in range(int(torch.floor(a)) + 1,
                                                                      int(torch.ceil(b)))] + [b]
    rule = []
    for low, high in zip(cuts, cuts[1:]):
        middle, half = (low + high) / 2, (high - low) / 2
        rule += [(middle - GAUSS * half, half), (middle + GAUSS * half, half)]
    return rule


def pool(x, roi, bins, scale):
    image, (x1, y1, x2, y2) = int(roi[0]), roi[1:] * scale
    out = torch.zeros((x.shape[1], *bins), dtype=x.dtype)
    if x2 <= x1 or y2 <= y1:
        return out
    step_y, step_x = (y2 - y1) / bins[0], (x2 - x1) / bins[1]
    rows = []
    for i in range(bins[0]):
        down = points(y1 + i * step_y, y1 + (i + 1) * step_y)
        row = []
        for j in range(bins[1]):
            across = points(x1 + j * step_x, x1 + (j + 1) * step_x)
            total = sum(wy * wx * at(x[image], y, u) for y, wy in down for u, wx in across)
            row.append(total / (step_y * step_x))
        rows.append(torch.stack(row, 1))
    return torch.stack(rows, 1)


def dense(plane, roi, bins, scale, i, j, count=400):
    """Mean of the interpolated map at count x count midpoints of one bin."""
    x1, y1, x2, y2 = (roi[1:] * scale).tolist()
    ys = y1 + (y2 - y1) / bins[0] * (i + (np.arange(count) + 0.5) / count)
    xs = x1 + (x2 - x1) / bins[1] * (j + (np.arange(count) + 0.5) / count)
    down = np.maximum(0, 1 - np.abs(ys[:, None] - np.arange(plane.shape[1])))
    across = np.maximum(0, 1 - np.abs(xs[:, None] - np.arange(plane.shape[2])))
    return np.einsum("yh,chw,xw->c", down, plane, across) / count**2


def boxes(count, images, width, height):
    corner = random.uniform(-0.1, 0.9, (count, 2)) * [width, height]
    size = random.uniform(0.02, 0.7, (count, 2)) * [width, height]
    rows = np.concatenate([random.integers(0, images, (count, 1)), corner, corner + size], 1)
    rows[0, 1:] = [8, 8, 24, 40]                                             # bounds on cells
    rows[1, 1:] = [5, 5, 5, 9]                                               # no area
    rows[2, 1:] = [width - 3, height - 3, width + 30, height + 30]           # over the border
    rows[3, 1:] = [width + 40, height + 40, width + 60, height + 60]         # outside
    rows[4, 1:] = [0, 0, width, height]
    rows[5, 1:] = [9, 4, 3, 12]                                              # turned inside out
    return torch.tensor(rows.astype(np.float32).astype(np.float64), requires_grad=True)


with h5py.File(pathlib.Path(__file__).with_name("precise_roi.h5"), "w") as file:
    for index, (c, bins, scale) in enumerate([(2, (7, 7), 1 / 16), (17, (2, 3), 0.11), (3, (3, 5), 1 / 8)]):
        x = torch.tensor(random.integers(-256, 256, (2, c, 11, 9)) / 64.0, requires_grad=True)
        rois = boxes(9, 2, 9 / scale, 11 / scale)
        y = torch.stack([pool(x, roi, bins, scale) for roi in rois])
        for r, roi in enumerate(rois.detach()):
            if roi[3] > roi[1] and roi[4] > roi[2]:
                i, j = random.integers(0, bins[0]), random.integers(0, bins[1])
                rough = dense(x[int(roi[0])].detach().numpy(), roi, bins, scale, i, j)
                assert np.abs(rough - y[r, :, i, j].detach().numpy()).max() < 1e-4
        dy = torch.tensor(random.integers(-64, 64, y.shape) / 64.0)
        y.backward(dy)
        group = file.create_group(f"precise_roi/{index}")
        for name, value in dict(x=x, rois=rois, y=y, dy=dy, dx=x.grad, drois=rois.grad).items():
            group.create_dataset(name, data=value.detach().numpy(), compression="gzip")
        group.attrs["scale"] = scale
