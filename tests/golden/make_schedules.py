"""Golden values of the optimisers with their schedules: 24 steps of torch.optim in float64 with
torch.optim.lr_scheduler. Writes schedules.h5; one group per method and schedule, with the numbers of
GroupSettings as attributes.

Run: python tests/golden/make_schedules.py   (needs torch, numpy, h5py)
"""
import pathlib

import h5py
import numpy as np
import torch
from torch.optim import SGD, Adam, AdamW
from torch.optim import lr_scheduler as schedulers

random = np.random.default_rng(20260105)
STEPS, COUNT = 24, 6
WARMUP, FACTOR = 5, 0.25
BOUNDARIES, GAMMA = [7, 15], 0.3
SHARE, POWER = 0.05, 0.9

METHODS = {
    "sgd": (0.1, lambda w, lr: SGD(w, lr, momentum=0.9, weight_decay=0.01)),
    "nesterov": (0.05, lambda w, lr: SGD(w, lr, momentum=0.8, weight_decay=0.02, nesterov=True)),
    "adam": (0.02, lambda w, lr: Adam(w, lr, betas=(0.9, 0.99), eps=1e-6, weight_decay=0.03)),
    "adamw": (0.03, lambda w, lr: AdamW(w, lr, betas=(0.8, 0.999), eps=1e-8, weight_decay=0.2)),
}


def constant(optimizer, lr, warmup):
    return schedulers.ConstantLR(optimizer, 1.0, 1)


def step(optimizer, lr, warmup):
    return schedulers.MultiStepLR(optimizer, BOUNDARIES, GAMMA)


def cosine(optimizer, lr, warmup):
    return schedulers.CosineAnnealingLR(optimizer, STEPS - warmup, eta_min=SHARE * lr)


def polynomial(optimizer, lr, warmup):
    return schedulers.PolynomialLR(optimizer, STEPS - warmup, power=POWER)


def with_warmup(make, optimizer, lr, warmup):
    """LinearLR in front of a schedule that counts from its end, or beside one that does not."""
    if warmup == 0:
        return make(optimizer, lr, 0)
    linear = schedulers.LinearLR(optimizer, FACTOR, 1.0, warmup)
    if make in (step, constant):
        return schedulers.ChainedScheduler([linear, make(optimizer, lr, warmup)])
    return schedulers.SequentialLR(optimizer, [linear, make(optimizer, lr, warmup)], [warmup])


with h5py.File(pathlib.Path(__file__).with_name("schedules.h5"), "w") as file:
    gradients = random.normal(0, 1, (STEPS, COUNT))
    file["gradients"] = gradients
    for method, (lr, make_optimizer) in METHODS.items():
        for make in (constant, step, cosine, polynomial):
            for warmup in (0, WARMUP):
                w = torch.tensor(random.normal(0, 1, COUNT), requires_grad=True)
                start = w.detach().numpy().copy()
                optimizer = make_optimizer([w], lr)
                schedule = with_warmup(make, optimizer, lr, warmup)
                rates, after = [], []
                for g in gradients:
                    rates.append(optimizer.param_groups[0]["lr"])
                    w.grad = torch.tensor(g)
                    optimizer.step()
                    schedule.step()
                    after.append(w.detach().numpy().copy())
                group = file.create_group(f"{method}/{make.__name__}_{warmup}")
                options = optimizer.param_groups[0]
                betas = options.get("betas", (options.get("momentum"), 0.999))
                group.attrs.update(
                    lr=lr, momentum=betas[0], beta2=betas[1], epsilon=options.get("eps", 1e-8),
                    weight_decay=options["weight_decay"], gamma=GAMMA, total_steps=float(STEPS),
                    boundary0=float(BOUNDARIES[0]), boundary1=float(BOUNDARIES[1]),
                    final_share=SHARE if make is cosine else 0.0, power=POWER,
                    warmup=float(warmup), warmup_factor=FACTOR)
                group["start"] = start
                group["rates"], group["after"] = np.array(rates), np.array(after)
