#!/usr/bin/env python3
"""Small nets with VGG16's layer names in every layout that Keras has written, and what they compute.

  make_keras.py keras2     with TensorFlow and Keras 2 (made with 2.15): keras2_*, keras_expected.h5
  make_keras.py keras3     with Keras 3 (made with 3.15, any backend) and h5py: keras3_*, keras1_*
  make_keras.py block2     with PyTorch: vgg16_block2.h5, activations of the genuine kernels of
                           ../shared/data/vgg16_partial on real pictures
  make_keras.py seeds      with h5py: tests/fuzz/corpus/keras_hdf5

The files of Keras hold the same weights: 13 convolutions of few channels, batch norm not used,
fc1, fc2, predictions behind a flattened 2 x 2 map. keras_expected.h5 holds an input (32, 32, 3), the
map of block5_conv3 after its ReLU as (C, H, W) and the outputs of fc2 after its ReLU, by Keras 2.
keras1_weights.h5 follows the published vgg16_weights_tf_dim_ordering_tf_kernels.h5: groups by layer,
arrays named block1_conv1_W_1:0. keras2_chunked.h5 has chunks, deflate and shuffle, and its names in
attributes layer_names0, layer_names1, as Keras writes them for nets with very many layers.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "torch")

import h5py
import numpy as np

HERE = Path(__file__).resolve().parent
WIDTHS = [[2, 2], [3, 3], [4, 4, 4], [5, 5, 5], [6, 6, 6]]
CONVS = [(f"block{b + 1}_conv{i + 1}", width) for b, block in enumerate(WIDTHS) for i, width in enumerate(block)]
DENSE = [("fc1", 7), ("fc2", 5), ("predictions", 3)]


def weights():
    """Name to (kernel HWIO or (in, out), bias), the same for every layout."""
    rng = np.random.default_rng(16)
    made, channels = {}, 3
    for name, width in CONVS:
        made[name] = (rng.normal(0, np.sqrt(2 / (9 * channels)), (3, 3, channels, width)), rng.normal(0, 0.1, width))
        channels = width
    features = 2 * 2 * channels
    for name, width in DENSE:
        made[name] = (rng.normal(0, np.sqrt(2 / features), (features, width)), rng.normal(0, 0.1, width))
        features = width
    return {name: tuple(a.astype(np.float32) for a in arrays) for name, arrays in made.items()}


def picture():
    return np.random.default_rng(17).normal(0, 1, (32, 32, 3)).astype(np.float32)


def net(keras):
    layers = keras.layers
    first = x = keras.Input((32, 32, 3), name="input_1")
    for b, block in enumerate(WIDTHS):
        for i, width in enumerate(block):
            x = layers.Conv2D(width, 3, padding="same", activation="relu", name=f"block{b + 1}_conv{i + 1}")(x)
        if b < 4:
            x = layers.MaxPooling2D(2, name=f"block{b + 1}_pool")(x)
    x = layers.Flatten(name="flatten")(x)
    for name, width in DENSE:
        x = layers.Dense(width, activation="softmax" if name == "predictions" else "relu", name=name)(x)
    model = keras.Model(first, x)
    for name, arrays in weights().items():
        model.get_layer(name).set_weights(list(arrays))
    model.compile(optimizer="sgd", loss="mse")
    return model


def keras2():
    from tensorflow import keras

    model = net(keras)
    model.save_weights(HERE / "keras2_weights.h5")
    model.save(HERE / "keras2_model.h5")
    model.save(HERE / "keras2_model.keras")
    outputs = [model.get_layer("block5_conv3").output, model.get_layer("fc2").output]
    features, dense = keras.Model(model.input, outputs).predict(picture()[None], verbose=0)
    with h5py.File(HERE / "keras_expected.h5", "w", track_order=False) as f:
        f["input"] = picture()
        f["features"] = features[0].transpose(2, 0, 1)
        f["dense"] = dense[0]


def keras3():
    import keras

    model = net(keras)
    model.save_weights(HERE / "keras3.weights.h5")
    model.save(HERE / "keras3_model.keras")
    model.save(HERE / "keras3_model.h5")
    with h5py.File(HERE / "keras1_weights.h5", "w") as f:
        f.attrs["layer_names"] = np.array([b"input_1"] + [n.encode() for n, _ in CONVS + [("flatten", 0)] + DENSE])
        for name in ("input_1", "flatten"):
            f.create_group(name).attrs["weight_names"] = np.array([])
        for name, (kernel, bias) in weights().items():
            group = f.create_group(name)
            group.attrs["weight_names"] = np.array([f"{name}_W_1:0".encode(), f"{name}_b_1:0".encode()])
            group[f"{name}_W_1:0"] = kernel
            group[f"{name}_b_1:0"] = bias
    with h5py.File(HERE / "keras2_chunked.h5", "w") as f:
        names = [n.encode() for n, _ in CONVS + DENSE]
        f.attrs["layer_names0"], f.attrs["layer_names1"] = np.array(names[:9]), np.array(names[9:])
        for name, (kernel, bias) in weights().items():
            group = f.create_group(name)
            group.attrs["weight_names"] = np.array([f"{name}/kernel:0".encode(), f"{name}/bias:0".encode()])
            chunk = tuple(max(1, (size + 1) // 2) for size in kernel.shape)
            group.create_dataset(f"{name}/kernel:0", data=kernel, chunks=chunk, compression="gzip", shuffle=True,
                                 fletcher32=name == "fc1")
            group.create_dataset(f"{name}/bias:0", data=bias)


def block2():
    """Pictures as keras.applications prepares them: BGR minus the means. Activations at 24 places."""
    import torch
    import torch.nn.functional as F
    from PIL import Image

    data = HERE.parent.parent.parent / "shared/data"
    load = lambda name: torch.from_numpy(np.load(data / "vgg16_partial" / name)).double()
    pictures = sorted((data / "voc2012_sample/JPEGImages").iterdir())[:3]
    rng = np.random.default_rng(18)
    with h5py.File(HERE / "vgg16_block2.h5", "w") as f:
        for number, path in enumerate(pictures):
            rgb = np.asarray(Image.open(path).convert("RGB"))[100:148, 120:184]
            x = torch.from_numpy(rgb[:, :, ::-1].astype(np.float64).transpose(2, 0, 1).copy())[None]
            x = x - torch.tensor([103.939, 116.779, 123.68], dtype=torch.float64)[:, None, None]
            for block in (1, 2):
                for i in (1, 2):
                    kernel = load(f"block{block}_conv{i}_kernel_HWIO.npy").permute(3, 2, 0, 1)
                    x = F.relu(F.conv2d(x, kernel, load(f"block{block}_conv{i}_bias.npy"), padding=1))
                if block == 1:
                    x = F.max_pool2d(x, 2)
            places = np.stack([rng.integers(0, x.shape[2], 24), rng.integers(0, x.shape[3], 24)], 1)
            group = f.create_group(f"picture{number}")
            group["rgb"] = rgb.astype(np.float32)
            group["places"] = places
            group["activations"] = x[0].numpy()[:, places[:, 0], places[:, 1]].T.astype(np.float32)


def seeds():
    """The smallest file of each layout, from which tests/fuzz/keras_hdf5_fuzz.cpp starts."""
    out = HERE.parent / "fuzz/corpus/keras_hdf5"
    out.mkdir(parents=True, exist_ok=True)
    kernel, bias = np.arange(54, dtype=np.float32).reshape(3, 3, 3, 2), np.zeros(2, np.float32)
    with h5py.File(out / "keras2.h5", "w") as f:
        f.attrs["layer_names"] = [b"a"]
        group = f.create_group("a")
        group.attrs["weight_names"] = [b"a/kernel:0", b"a/bias:0"]
        group["a/kernel:0"], group["a/bias:0"] = kernel, bias
    with h5py.File(out / "keras1.h5", "w") as f:  # names of variable length, as Keras 1 wrote them
        f.attrs["layer_names"] = [b"a"]
        group = f.create_group("a")
        group.attrs["weight_names"] = np.array(["a_W_1:0"], dtype=h5py.string_dtype())
        group["a_W_1:0"] = kernel
    with h5py.File(out / "keras2_chunked.h5", "w") as f:
        f.attrs["layer_names0"] = [b"a"]
        group = f.create_group("a")
        group.attrs["weight_names"] = [b"k"]
        group.create_dataset("k", data=kernel.reshape(9, 6), chunks=(4, 3), compression="gzip", shuffle=True, fletcher32=True)
    with h5py.File(out / "keras3.h5", "w") as f:
        group = f.create_group("layers/conv2d/vars")
        group.attrs["name"] = "a"
        group["0"], group["1"] = kernel, bias
    with h5py.File(out / "checkpoint.h5", "w", libver=("v108", "v108")) as f:
        for key, value in {"format": "frcnn checkpoint", "format_version": 1, "program_version": "x", "config": ""}.items():
            f.attrs[key] = value
        f.attrs["classes"] = ["cat"]
        f.create_group("parameters").create_dataset("w", data=kernel.reshape(9, 6), chunks=(4, 6), fletcher32=True)


if __name__ == "__main__":
    {"keras2": keras2, "keras3": keras3, "block2": block2, "seeds": seeds}[sys.argv[1]]()
