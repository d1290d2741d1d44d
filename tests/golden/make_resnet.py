"""resnet.h5: maps of ResNet-18 v2 by PyTorch, with weights given by a formula of name and index.

python make_resnet.py: writes resnet.h5 beside this file and prints the number of parameters.
"""
import math
import pathlib

import h5py
import numpy as np
import torch
from torch import nn


class Unit(nn.Module):
    """He et al. 2016, figure 4(e): norm, ReLU, convolution, twice; the sum stays as it is."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        if inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x):
        active = torch.relu(self.norm1(x))
        around = self.shortcut(active) if hasattr(self, "shortcut") else x
        return self.conv2(torch.relu(self.norm2(self.conv1(active)))) + around


class Features(nn.Module):
    def __init__(self):
        super().__init__()
        self.input_norm = nn.BatchNorm2d(3)
        self.conv0 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.norm0 = nn.BatchNorm2d(64)
        self.pool0 = nn.MaxPool2d(3, 2, 1)
        inputs = 64
        for stage, outputs in enumerate((64, 128, 256, 512), 1):
            parts = {"unit1": Unit(inputs, outputs, 1 if stage == 1 else 2), "unit2": Unit(outputs, outputs, 1)}
            self.add_module(f"stage{stage}", nn.Sequential())
            for name, part in parts.items():
                getattr(self, f"stage{stage}").add_module(name, part)
            inputs = outputs
        self.norm5 = nn.BatchNorm2d(512)

    def forward(self, x):
        x = self.pool0(torch.relu(self.norm0(self.conv0(self.input_norm(x)))))
        for stage in range(1, 5):
            x = getattr(self, f"stage{stage}")(x)
        return torch.relu(self.norm5(x))


def values(name, shape):
    """The same formula as in tests/model/resnet_test.cpp."""
    wave = np.sin(1.7 * np.arange(math.prod(shape), dtype=np.float64) + sum(name.encode()) % 97)
    if name.endswith("running_var") or (name.endswith("weight") and len(shape) == 1):
        wave = 1 + 0.3 * wave
    elif len(shape) == 1:
        wave = 0.2 * wave
    else:
        wave = wave * math.sqrt(4 / math.prod(shape[1:]))
    return torch.from_numpy(wave.reshape(shape))


def main():
    net = Features().double()
    state = net.state_dict()
    for name in state:
        if not name.endswith("num_batches_tracked"):
            state[name] = values(name, state[name].shape)
    net.load_state_dict(state)
    images = torch.from_numpy(np.sin(0.37 * np.arange(2 * 3 * 64 * 96)).reshape(2, 3, 64, 96))
    count = sum(p.numel() for p in net.parameters())
    print("parameters", count)
    with h5py.File(pathlib.Path(__file__).with_name("resnet.h5"), "w") as file, torch.no_grad():
        file["stored"] = net.eval()(images).numpy()
        file["parameters"] = np.array([count], dtype=np.int64)
        file["batch"] = net.train()(images).numpy()
        file["running_mean"] = net.norm5.running_mean.numpy()


main()
