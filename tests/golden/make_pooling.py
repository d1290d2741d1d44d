"""Golden values of the pooling kernels, from torch and torchvision. Writes pooling.h5 beside itself.

Run: python tests/golden/make_pooling.py   (needs torch, torchvision, numpy, h5py)
"""
import pathlib

import h5py
import numpy as np
import torch
import torch.nn.functional as F
import torchvision

random = np.random.default_rng(20260101)


def tensor(*shape, dtype=torch.float64):
    # Values in whole 1/64: exact in float32, so that both precisions see the same inputs; some ties.
    return torch.tensor(random.integers(-256, 256, shape) / 64.0, dtype=dtype, requires_grad=True)


def cotangent(y):
    return torch.tensor(random.integers(-64, 64, y.shape) / 64.0, dtype=y.dtype)


def write(group, **arrays):
    for name, value in arrays.items():
        if isinstance(value, (int, float, bool)):
            group.attrs[name] = float(value)
        else:
            group.create_dataset(name, data=value.detach().numpy() if torch.is_tensor(value) else value,
                                 compression="gzip")


def rois(count, images, width, height):
    # Half pixels and thirds: rounding ties, boxes that leave the image, boxes of one point.
    corner = random.uniform(-0.1, 0.9, (count, 2)) * [width, height]
    size = random.uniform(0, 0.7, (count, 2)) * [width, height]
    boxes = np.concatenate([random.integers(0, images, (count, 1)), corner, corner + size], 1)
    boxes[0, 1:] = [8, 8, 24, 40]
    boxes[1, 1:] = [5, 5, 5, 5]
    boxes[2, 1:] = [width - 3, height - 3, width + 30, height + 30]
    boxes[3, 1:] = [width + 40, height + 40, width + 60, height + 60]
    boxes[4, 1:] = [0, 0, width, height]
    return torch.tensor(boxes.astype(np.float32).astype(np.float64))


with h5py.File(pathlib.Path(__file__).with_name("pooling.h5"), "w") as file:
    cases = [  # channels, h, w, kernel, stride, pad, ceil
        (3, 8, 10, (2, 2), (2, 2), (0, 0), False),
        (24, 9, 7, (2, 2), (2, 2), (0, 0), True),
        (21, 11, 12, (3, 3), (2, 2), (1, 1), False),
        (17, 10, 13, (3, 3), (2, 2), (0, 0), True),
        (5, 7, 9, (3, 2), (1, 3), (1, 0), False),
        (3, 6, 6, (3, 3), (2, 2), (1, 1), True),
    ]
    for i, (c, h, w, kernel, stride, pad, ceil) in enumerate(cases):
        x = tensor(2, c, h, w)
        y = F.max_pool2d(x, kernel, stride, pad, ceil_mode=ceil)
        dy = cotangent(y)
        y.backward(dy)
        write(file.create_group(f"max_pool/{i}"), x=x, y=y, dy=dy, dx=x.grad, kernel_h=kernel[0],
              kernel_w=kernel[1], stride_h=stride[0], stride_w=stride[1], pad_h=pad[0], pad_w=pad[1],
              ceil_mode=ceil)

    # E5: the three maps; the channels of the first are cut to keep the file small.
    for i, (shape, out) in enumerate([((4, 77, 63), (7, 10)), ((1, 44, 67), (7, 10)),
                                      ((33, 10, 10), (7, 10)), ((5, 3, 4), (7, 10))]):
        x = tensor(1, *shape)
        y = F.adaptive_max_pool2d(x, out)
        dy = cotangent(y)
        y.backward(dy)
        write(file.create_group(f"adaptive_max_pool/{i}"), x=x, y=y, dy=dy, dx=x.grad)

    for i, (c, bins, scale) in enumerate([(17, (7, 7), 1 / 16), (21, (2, 3), 0.11), (3, (6, 6), 1 / 8)]):
        x = tensor(2, c, 19, 14)
        boxes = rois(12, 2, 14 / scale, 19 / scale)
        y = torchvision.ops.roi_pool(x, boxes, bins, scale)
        dy = cotangent(y)
        y.backward(dy)
        single = torchvision.ops.roi_pool(x.detach().float(), boxes.float(), bins, scale)
        write(file.create_group(f"roi_pool/{i}"), x=x, rois=boxes, y=y, dy=dy, dx=x.grad, scale=scale,
              y_f32=single)

    # E6: 7x10 bins, ratio 2, aligned on and off; other ratios, adaptive ones too.
    for i, (c, bins, scale, ratio, aligned) in enumerate([
            (4, (7, 10), 1 / 16, 2, False), (19, (7, 10), 1 / 16, 2, True),
            (3, (4, 4), 0.11, 1, False), (8, (3, 5), 1 / 8, 0, True), (9, (7, 7), 1 / 4, -1, False),
            (2, (2, 3), 1 / 8, 3, True)]):
        x = tensor(2, c, 18, 15)
        boxes = rois(11, 2, 15 / scale, 18 / scale)
        y = torchvision.ops.roi_align(x, boxes, bins, scale, ratio, aligned)
        dy = cotangent(y)
        y.backward(dy)
        single = torchvision.ops.roi_align(x.detach().float(), boxes.float(), bins, scale, ratio, aligned)
        write(file.create_group(f"roi_align/{i}"), x=x, rois=boxes, y=y, dy=dy, dx=x.grad, scale=scale,
              ratio=ratio, aligned=aligned, y_f32=single)
