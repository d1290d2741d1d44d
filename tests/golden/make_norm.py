"""Golden values of batch normalisation and local response normalisation, from torch. Writes norm.h5.

Run: python tests/golden/make_norm.py   (needs torch, numpy, h5py)
"""
import pathlib

import h5py
import numpy as np
import torch
import torch.nn.functional as F

random = np.random.default_rng(20260102)


def tensor(*shape, low=-2, high=2):
    return torch.tensor(np.round(random.uniform(low, high, shape) * 64) / 64, requires_grad=True)


with h5py.File(pathlib.Path(__file__).with_name("norm.h5"), "w") as file:
    def write(name, **arrays):
        group = file.create_group(name)
        for key, value in arrays.items():
            if isinstance(value, (int, float, bool)):
                group.attrs[key] = float(value)
            else:
                group.create_dataset(key, data=value.detach().numpy(), compression="gzip")

    for i, (n, c, h, w, relu, momentum) in enumerate(
            [(2, 3, 5, 7, False, 0.1), (2, 24, 5, 6, True, 0.1), (1, 21, 9, 13, True, 0.3)]):
        for training in (True, False):
            # A mean far from 0 shows a variance taken as a difference of squares.
            x = torch.tensor(np.round(random.normal(5, 2, (n, c, h, w)) * 64) / 64, requires_grad=True)
            gamma, beta = tensor(c, low=0.5, high=2), tensor(c)
            mean, var = tensor(c).detach(), tensor(c, low=0.5, high=3).detach()
            mean_after, var_after = mean.clone(), var.clone()
            y = F.batch_norm(x, mean_after, var_after, gamma, beta, training, momentum, 1e-5)
            if relu:
                y = F.relu(y)
            dy = tensor(n, c, h, w).detach()
            y.backward(dy)
            write(f"batch_norm/{'train' if training else 'frozen'}{i}", x=x, gamma=gamma, beta=beta,
                  mean=mean, var=var, mean_after=mean_after, var_after=var_after, y=y, dy=dy,
                  dx=x.grad, dgamma=gamma.grad, dbeta=beta.grad, relu=relu, momentum=momentum)

    for i, (shape, size, alpha, beta, k) in enumerate([
            ((2, 24, 5, 7), 3, 5e-5, 0.75, 1.0), ((1, 21, 9, 3), 5, 0.3, 0.75, 1.0),
            ((1, 3, 4, 5), 5, 0.5, 0.6, 2.0), ((2, 17, 3, 7), 4, 0.2, 0.5, 1.5)]):
        x, dy = tensor(*shape, low=-3, high=3), tensor(*shape).detach()
        y = F.local_response_norm(x, size, alpha, beta, k)
        y.backward(dy)
        write(f"lrn/{i}", x=x, y=y, dy=dy, dx=x.grad, size=size, alpha=alpha, beta=beta, k=k)
