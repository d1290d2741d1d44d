"""Golden values of convolution and dense layers from PyTorch in float64, for tests/kernels.

Run: python tests/golden/make_conv.py   (needs torch, numpy, h5py); writes tests/golden/conv.h5
"""
import pathlib

import h5py
import numpy as np
import torch
import torch.nn.functional as F

# name: n, c, h, w, out, kernel, stride, padding
CASES = {
    "first_layer": (1, 3, 17, 19, 16, 3, 1, 1),
    "zf_conv1": (1, 3, 31, 29, 24, 7, 2, 3),
    "alexnet_conv1": (1, 3, 43, 39, 16, 11, 4, 2),
    "winograd": (1, 64, 13, 15, 64, 3, 1, 1),
    "narrow": (2, 24, 9, 11, 32, 3, 2, 1),
    "one_by_one": (2, 32, 7, 5, 18, 1, 1, 0),
    "five": (1, 16, 12, 10, 20, 5, 2, 2),
}


def main():
    rng = np.random.default_rng(20240607)
    path = pathlib.Path(__file__).with_name("conv.h5")
    with h5py.File(path, "w", libver=("earliest", "v110")) as f:
        for name, (n, c, h, w, o, k, s, p) in CASES.items():
            # float32 inputs, so that the tests read exactly what torch read
            x = rng.standard_normal((n, c, h, w)).astype(np.float32)
            wt = (rng.standard_normal((o, c, k, k)) / np.sqrt(c * k * k)).astype(np.float32)
            b = rng.standard_normal(o).astype(np.float32)
            tx, tw, tb = (torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (x, wt, b))
            y = F.conv2d(tx, tw, tb, stride=s, padding=p)
            g = rng.standard_normal(tuple(y.shape)).astype(np.float32)
            y.backward(torch.tensor(g, dtype=torch.float64))
            group = f.create_group(name)
            group.attrs["stride"], group.attrs["padding"] = s, p
            for key, value in dict(x=x, w=wt, b=b, g=g).items():
                group.create_dataset(key, data=value, compression="gzip", shuffle=True)
            for key, value in dict(y=y, dx=tx.grad, dw=tw.grad, db=tb.grad).items():
                value = value.detach().numpy().astype(np.float32)
                group.create_dataset(key, data=value, compression="gzip", shuffle=True)


if __name__ == "__main__":
    main()
