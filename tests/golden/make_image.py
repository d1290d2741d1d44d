"""Golden values of image sizes and bilinear resizing: torchvision's GeneralizedRCNNTransform and
torch's interpolate. Writes image.h5.

Run: python tests/golden/make_image.py   (needs torch, torchvision, numpy, h5py)
"""
import pathlib

import h5py
import numpy as np
import torch
import torch.nn.functional as F
from torchvision.models.detection.transform import GeneralizedRCNNTransform

random = np.random.default_rng(20260104)
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]

with h5py.File(pathlib.Path(__file__).with_name("image.h5"), "w") as file:
    sizes = [(375, 500), (500, 375), (333, 500), (500, 334), (281, 500), (100, 500), (480, 640),
             (427, 640), (612, 612), (1080, 1920), (37, 31)]
    rows = []
    for shorter, longer in [(600, 1000), (800, 1333), (300, 500)]:
        transform = GeneralizedRCNNTransform(shorter, longer, MEAN, STD)
        for h, w in sizes:
            out = transform.resize(torch.zeros(3, h, w), None)[0].shape
            rows.append([h, w, shorter, longer, out[1], out[2]])
    file["sizes"] = np.array(rows, dtype=np.int64)

    # The whole transform on a small image: normalise, resize, pad to a multiple of 32.
    image = random.integers(0, 256, (15, 21, 3), dtype=np.uint8)
    transform = GeneralizedRCNNTransform(40, 50, MEAN, STD)
    batch, _ = transform([torch.tensor(image).permute(2, 0, 1).float() / 255])
    group = file.create_group("transform")
    group["image"], group["batch"] = image.astype(np.int64), batch.tensors.numpy()
    group.attrs["height"], group.attrs["width"] = map(float, batch.image_sizes[0])

    for i, (inside, outside) in enumerate([((13, 17), (29, 23)), ((30, 41), (11, 15)), ((5, 6), (5, 6)),
                                           ((1, 3), (4, 5)), ((9, 2), (3, 7))]):
        image = random.integers(0, 256, (*inside, 3), dtype=np.uint8)
        x = torch.tensor(image).permute(2, 0, 1)[None]
        group = file.create_group(f"resize/{i}")
        group["image"] = image.astype(np.int64)
        group["y"] = F.interpolate(x.double(), outside, mode="bilinear", align_corners=False)[0].numpy()
        group["y_f32"] = F.interpolate(x.float(), outside, mode="bilinear", align_corners=False)[0].numpy()
