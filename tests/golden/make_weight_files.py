"""Small files of weights of every format but HDF5 and ONNX, made by the libraries that define them,
and hostile ones. Writes weights/* and weight_files.h5, which has the numbers of each as float32.

Run: python tests/golden/make_weight_files.py   (needs torch, safetensors, numpy, h5py, protobuf)

There is no Caffe on PyPI: its files are written with the protobuf package from the few fields of
caffe.proto that hold weights, declared below.
"""
import collections
import io
import os
import pathlib
import pickle
import zipfile

import h5py
import numpy as np
import safetensors.torch
import torch
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

HERE = pathlib.Path(__file__).parent
OUT = HERE / "weights"
OUT.mkdir(exist_ok=True)
random = np.random.default_rng(20261121)
expected = h5py.File(HERE / "weight_files.h5", "w")


def expect(file, **arrays):
    group = expected.require_group(file)
    for name, array in arrays.items():
        if isinstance(array, torch.Tensor):
            array = array.detach().to(torch.float32).numpy()
        group.create_dataset(name, data=np.asarray(array, np.float32))


def numbers(*shape):
    return np.round(random.uniform(-4, 4, shape) * 256).astype(np.float32) / 256


# --- PyTorch -------------------------------------------------------------------------------------
base = torch.tensor(numbers(4, 6))
tensors = {
    "f64": torch.tensor(numbers(2, 3), dtype=torch.float64),
    "f32": torch.tensor(numbers(3, 2, 2, 2)),
    "f16": torch.tensor([0, -0.0, 1, -2.5, 65504, 6e-8, 6.1e-5, float("inf"), float("nan")],
                        dtype=torch.float16),
    "bf16": torch.tensor(numbers(5), dtype=torch.bfloat16),
    "i64": torch.tensor([-1, 2**40, 7]),
    "i32": torch.tensor([[-(2**31)], [12345]], dtype=torch.int32),
    "i16": torch.tensor([-32768, 32767], dtype=torch.int16),
    "i8": torch.tensor([-128, 127], dtype=torch.int8),
    "u8": torch.tensor([0, 255], dtype=torch.uint8),
    "bool": torch.tensor([True, False, True]),
    "scalar": torch.tensor(2.5),
    "empty": torch.empty(0, 3),
    "transposed": base.t(),
    "part": base[1:3, 2:5],
    "shared": base,
    "channels_last": torch.tensor(numbers(2, 3, 4, 5)).to(memory_format=torch.channels_last),
    "expanded": torch.tensor([1.5]).expand(2, 3),
    "parameter": torch.nn.Parameter(torch.tensor(numbers(3))),
}
nested = dict(tensors, block={"conv": {"weight": torch.tensor(numbers(2, 2))}, "list": [base[0]]})
flat = {k: v for k, v in nested.items() if k != "block"}
flat.update({"block.conv.weight": nested["block"]["conv"]["weight"], "block.list.0": base[0]})
torch.save(nested, OUT / "all_types.pth")
torch.save(nested, OUT / "all_types_legacy.pth", _use_new_zipfile_serialization=False)
torch.save(nested, OUT / "all_types_protocol5.pth", pickle_protocol=5)
expect("torch_all_types", **flat)

torch.manual_seed(1)
model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.25, momentum=0.9)
model[2](torch.ones(1, 4)).sum().backward()
optimizer.step()
torch.save({"epoch": 12, "arch": "tiny", "best": 0.5, "done": False, "model": model.state_dict(),
            "optimizer": optimizer.state_dict()}, OUT / "checkpoint.pth")
expect("torch_checkpoint", **model.state_dict())

# The same archive as a big-endian machine would write it, and deflated, which torch never does.
with zipfile.ZipFile(OUT / "big_endian.pth", "w", zipfile.ZIP_DEFLATED) as archive:
    source = io.BytesIO()
    torch.save({"a": torch.arange(6.0).view(2, 3), "h": torch.arange(3, dtype=torch.float16)}, source)
    with zipfile.ZipFile(source) as little:
        for name in little.namelist():
            data = little.read(name)
            if name.endswith("byteorder"):
                data = b"big"
            if name.endswith("data/0"):
                data = np.frombuffer(data, "<f4").astype(">f4").tobytes()
            if name.endswith("data/1"):
                data = np.frombuffer(data, "<f2").astype(">f2").tobytes()
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
expect("torch_big_endian", a=np.arange(6.0).reshape(2, 3), h=np.arange(3))


# --- Hostile PyTorch -----------------------------------------------------------------------------
class Evil:
    def __init__(self, function, *arguments):
        self.what = (function, arguments)

    def __reduce__(self):
        return self.what


def archive(name, data_pkl, **storages):
    with zipfile.ZipFile(OUT / name, "w") as out:
        for entry, data in [("data.pkl", data_pkl), ("byteorder", b"little"), ("version", b"3\n")] + [
                (f"data/{key}", value) for key, value in storages.items()]:
            out.writestr(zipfile.ZipInfo("archive/" + entry), data)


archive("evil_os_system.pth", pickle.dumps({"w": Evil(os.system, "touch /tmp/frcnn_was_here")}, 2))
archive("evil_protocol4.pth", pickle.dumps({"w": Evil(eval, "1 + 1")}, 4))
torch.save({"w": Evil(os.system, "touch /tmp/frcnn_was_here")}, OUT / "evil_legacy.pth",
           _use_new_zipfile_serialization=False)


def tensor_pickle(key="0", elements=4, offset=0, sizes=(4,), strides=(1,), storage="FloatStorage"):
    """A pickle of {"w": tensor} with any numbers in it."""
    def integer(value):
        return pickle.dumps(value, 2)[2:-1]

    def integers(values):
        return b"(" + b"".join(map(integer, values)) + b"t"

    def text(value):
        return b"X" + len(value).to_bytes(4, "little") + value.encode()

    return (b"\x80\x02}" + text("w") + b"ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage")
            + b"ctorch\n" + storage.encode() + b"\n" + text(key) + text("cpu") + integer(elements)
            + b"tQ" + integer(offset) + integers(sizes) + integers(strides)
            + b"\x89ccollections\nOrderedDict\n)RtRs.")


data = np.arange(4, dtype="<f4").tobytes()
for name, what in {
        "good": {},
        "huge": dict(sizes=(2**62,)),
        "huge_product": dict(sizes=(2**31, 2**31, 2**31), strides=(1, 1, 1)),
        "huge_offset": dict(offset=2**62),
        "offset_past_end": dict(offset=1),
        "stride_past_end": dict(sizes=(2, 2), strides=(3, 1)),
        "negative_stride": dict(sizes=(2, 2), strides=(-1, 1)),
        "negative_size": dict(sizes=(-4,)),
        "repeated": dict(sizes=(2**20, 2**20), strides=(0, 0)),
        "wrong_count": dict(elements=5),
        "wrong_dtype": dict(storage="DoubleStorage"),
        "complex": dict(storage="ComplexFloatStorage", elements=2),
        "missing_storage": dict(key="1"),
}.items():
    archive(f"tensor_{name}.pth", tensor_pickle(**what), **{"0": data})
# d = {}; d["self"] = d
archive("cyclic.pth", b"\x80\x02}q\x00X\x04\x00\x00\x00selfh\x00s.")
# Each of 40 dictionaries holds the next one twice: 2^40 paths.
bomb = b"\x80\x02}q\x00"
for i in range(1, 41):
    bomb += b"}q" + bytes([i]) + b"(K\x00h" + bytes([i - 1]) + b"K\x01h" + bytes([i - 1]) + b"u"
archive("bomb.pth", bomb + b".")
with zipfile.ZipFile(OUT / "nan.pth", "w") as out:
    out.writestr(zipfile.ZipInfo("archive/data.pkl"), tensor_pickle())
    out.writestr(zipfile.ZipInfo("archive/data/0"), np.array([1, np.nan, np.inf, 2], "<f4").tobytes())
expect("torch_nan", w=[1, np.nan, np.inf, 2])

# --- safetensors ---------------------------------------------------------------------------------
plain = {k: v.detach().contiguous().clone() for k, v in tensors.items()}
safetensors.torch.save_file(plain, OUT / "all_types.safetensors", metadata={"format": "pt", "a": "b"})
expect("safetensors", **plain)

# --- NumPy ---------------------------------------------------------------------------------------
arrays = {
    "f8": numbers(2, 3).astype("f8"), "f4": numbers(3, 2, 2), "f2": numbers(4).astype("f2"),
    "big4": numbers(2, 3).astype(">f4"), "big8": np.array([1, -2, 2**40], ">i8"),
    "i4": np.array([-5, 5], "i4"), "i2": np.array([-5, 5], "i2"), "i1": np.array([-5, 5], "i1"),
    "u1": np.array([0, 255], "u1"), "b1": np.array([True, False]),
    "fortran": np.asfortranarray(numbers(3, 4, 2)), "scalar": np.float32(2.5),
    "empty": np.zeros((0, 3), "f4"),
}
np.savez(OUT / "stored.npz", **arrays)
np.savez_compressed(OUT / "deflated.npz", **arrays)
expect("numpy", **arrays)
for version in ((1, 0), (2, 0), (3, 0)):
    with open(OUT / f"version{version[0]}.npy", "wb") as file:
        np.lib.format.write_array(file, arrays["fortran"], version)
with open(OUT / "unsigned.npy", "wb") as file:
    np.save(file, np.array([1, 2], "u4"))

# --- Caffe ---------------------------------------------------------------------------------------
F = descriptor_pb2.FieldDescriptorProto
FIELDS = {  # message: name, number, type, repeated, packed
    "BlobShape": [("dim", 1, F.TYPE_INT64, True, True)],
    "BlobProto": [("num", 1, F.TYPE_INT32, False, False), ("channels", 2, F.TYPE_INT32, False, False),
                  ("height", 3, F.TYPE_INT32, False, False), ("width", 4, F.TYPE_INT32, False, False),
                  ("data", 5, F.TYPE_FLOAT, True, True), ("diff", 6, F.TYPE_FLOAT, True, True),
                  ("shape", 7, "BlobShape", False, False),
                  ("double_data", 8, F.TYPE_DOUBLE, True, True)],
    "LayerParameter": [("name", 1, F.TYPE_STRING, False, False),
                       ("type", 2, F.TYPE_STRING, False, False),
                       ("bottom", 3, F.TYPE_STRING, True, False), ("top", 4, F.TYPE_STRING, True, False),
                       ("blobs", 7, "BlobProto", True, False)],
    "V1LayerParameter": [("bottom", 2, F.TYPE_STRING, True, False),
                         ("top", 3, F.TYPE_STRING, True, False),
                         ("name", 4, F.TYPE_STRING, False, False),
                         ("type", 5, F.TYPE_INT32, False, False),
                         ("blobs", 6, "BlobProto", True, False)],
    "NetParameter": [("name", 1, F.TYPE_STRING, False, False),
                     ("layers", 2, "V1LayerParameter", True, False),
                     ("input", 3, F.TYPE_STRING, True, False),
                     ("input_dim", 4, F.TYPE_INT32, True, False),
                     ("layer", 100, "LayerParameter", True, False)],
}


def caffe_classes():
    schema = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    for name, fields in FIELDS.items():
        message = schema.message_type.add(name=name)
        for field, number, kind, repeated, packed in fields:
            label = F.LABEL_REPEATED if repeated else F.LABEL_OPTIONAL
            added = message.field.add(name=field, number=number, label=label)
            if isinstance(kind, str):
                added.type, added.type_name = F.TYPE_MESSAGE, ".caffe." + kind
            else:
                added.type = kind
            if packed:
                added.options.packed = True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(schema)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe." + name))
            for name in FIELDS}


Net = caffe_classes()["NetParameter"]


def fill(blob, array, legacy, double=False):
    (blob.double_data if double else blob.data).extend(array.ravel().tolist())
    if legacy:
        sizes = (1,) * (4 - array.ndim) + array.shape
        blob.num, blob.channels, blob.height, blob.width = sizes
    else:
        blob.shape.dim.extend(array.shape)


weights = {"conv1/weight": numbers(4, 3, 3, 3), "conv1/bias": numbers(4),
           "fc6/weight": numbers(5, 8), "fc6/bias": numbers(5),
           "bn/weight": numbers(4), "bn/bias": numbers(4), "bn/2": numbers(1)}
layers = [("conv1", "Convolution", 4), ("fc6", "InnerProduct", 14), ("bn", "BatchNorm", 40)]
for file, v1, legacy in [("new.caffemodel", False, False), ("v1.caffemodel", True, True),
                         ("new_legacy_dims.caffemodel", False, True)]:
    net = Net(name="tiny", input=["data"], input_dim=[1, 3, 9, 9])
    for name, kind, number in [("data", "Input", 5), ("relu", "ReLU", 18)] + layers:
        layer = net.layers.add() if v1 else net.layer.add()
        layer.name = name
        layer.type = number if v1 else kind
        layer.top.append(name)
        for key in weights:
            if key.startswith(name + "/"):
                fill(layer.blobs.add(), weights[key], legacy)
    (OUT / file).write_bytes(net.SerializeToString())
expect("caffe", **weights)
net = Net()
blob = net.layer.add(name="a", type="InnerProduct").blobs.add()
fill(blob, np.array([[1.5, -2]]), False, double=True)
blob.diff.extend([9, 9])
(OUT / "double.caffemodel").write_bytes(net.SerializeToString())
expect("caffe_double", **{"a/weight": [[1.5, -2]]})
for name, sizes in [("huge", [2**62]), ("negative", [-1]), ("wrong", [3])]:
    net = Net(name="x")
    blob = net.layer.add(name="a", type="InnerProduct").blobs.add()
    blob.data.extend([1, 2])
    blob.shape.dim.extend(sizes)
    (OUT / f"shape_{name}.caffemodel").write_bytes(net.SerializeToString())
expected.close()
print(sum(f.stat().st_size for f in OUT.iterdir()), "bytes in", len(list(OUT.iterdir())), "files")
