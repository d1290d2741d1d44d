"""Golden values of the optimisers: six steps of torch.optim, the learning rate cut after the third.
Writes optim.h5.

Run: python tests/golden/make_optim.py   (needs torch, numpy, h5py)
"""
import pathlib

import h5py
import numpy as np
import torch

random = np.random.default_rng(20260103)
STEPS, COUNT = 6, 37

with h5py.File(pathlib.Path(__file__).with_name("optim.h5"), "w") as file:
    def record(name, make, **attributes):
        w = torch.tensor(random.normal(0, 1, COUNT), requires_grad=True)
        gradients = random.normal(0, 1, (STEPS, COUNT))
        start = w.detach().numpy().copy()
        optimizer = make([w])
        after = []
        for step in range(STEPS):
            if step == 3:
                optimizer.param_groups[0]["lr"] *= 0.1
            w.grad = torch.tensor(gradients[step])
            optimizer.step()
            after.append(w.detach().numpy().copy())
        group = file.create_group(name)
        group.attrs.update({key: float(value) for key, value in attributes.items()})
        group["start"], group["gradients"], group["after"] = start, gradients, np.array(after)

    for i, (lr, momentum, decay, nesterov) in enumerate(
            [(0.1, 0.9, 0.0005, False), (0.05, 0.9, 0.01, True), (0.2, 0.0, 0.1, False)]):
        record(f"sgd/{i}", lambda w: torch.optim.SGD(w, lr, momentum, 0, decay, nesterov), lr=lr,
               momentum=momentum, weight_decay=decay, nesterov=nesterov)
    for i, (kind, lr, betas, eps, decay) in enumerate([
            (torch.optim.Adam, 0.01, (0.9, 0.999), 1e-8, 0.0),
            (torch.optim.Adam, 0.02, (0.8, 0.99), 1e-3, 0.1),
            (torch.optim.AdamW, 0.03, (0.9, 0.999), 1e-8, 0.2)]):
        record(f"adam/{i}", lambda w: kind(w, lr, betas, eps, decay), lr=lr, beta1=betas[0],
               beta2=betas[1], epsilon=eps, weight_decay=decay, decoupled=kind is torch.optim.AdamW)
