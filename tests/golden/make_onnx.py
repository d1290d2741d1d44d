"""Small ONNX networks and what ONNX Runtime computes with them. Writes onnx.h5, and some of the
networks as seeds of the fuzzer (tests/fuzz/corpus/onnx).

Group nodes/<case>: one or few nodes with odd attributes, made with onnx.helper; their input is the
dataset x, for channels_last channels_last_x. Group exported/<case>: blocks of networks as torch's two
exporters write them; their input is the dataset picture. Each has `model` (the bytes of the file) and
`y`. The network of `mobile` is cut: y is its last map of stride 16.

Run: python tests/golden/make_onnx.py   (needs torch, onnx, onnxscript, onnxruntime, numpy, h5py)
"""
import io
import pathlib
import warnings

import h5py
import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

warnings.filterwarnings("ignore")
torch.manual_seed(20261121)
random = np.random.default_rng(20261121)


def numbers(*shape, low=-1.0, high=1.0):
    return (np.round(random.uniform(low, high, shape) * 64) / 64).astype(np.float32)


def model(nodes, constants, x, opset, out="y", producer="make_onnx"):
    """A graph from `x` to `out`; constants are initialisers by name."""
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *x.shape[1:2], "h", "w"]
                                       if x.shape[1] <= 8 else ["n", "h", "w", x.shape[3]])],
        [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()])
    made = helper.make_model(graph, producer_name=producer,
                             opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return made


def node(op, inputs, outputs=("y",), name=None, **attributes):
    return helper.make_node(op, list(inputs), list(outputs), name=name or op, **attributes)


def run(made, x, out=None):
    """Of ONNX Runtime, in float32; the value `out` where it is no output of the graph."""
    if out is not None:
        made = onnx.ModelProto.FromString(made.SerializeToString())
        del made.graph.output[:]
        made.graph.output.append(helper.make_tensor_value_info(out, TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(made.SerializeToString(), options,
                                           providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


X = numbers(2, 4, 9, 11)
X_LAST = numbers(2, 9, 11, 4)
W = numbers(6, 4, 3, 3)
B = numbers(6)


def conv(**attributes):
    return lambda: model([node("Conv", ["x", "w", "b"], **attributes)], {"w": W, "b": B}, X, 17)


def conv_of(weight, **attributes):
    return lambda: model([node("Conv", ["x", "w"], **attributes)], {"w": weight}, X, 17)


def simple(op, opset=17, constants=None, inputs=("x",), **attributes):
    return lambda: model([node(op, inputs, **attributes)], constants or {}, X, opset)


def batch_norm():
    c = {"s": numbers(4, low=0.5, high=2), "b": numbers(4), "m": numbers(4),
         "v": numbers(4, low=0.5, high=2)}
    return model([node("BatchNormalization", ["x", "s", "b", "m", "v"], ["t"], epsilon=1e-2,
                       momentum=0.7), node("Relu", ["t"])], c, X, 15)


def preprocessing():
    """Channel-wise subtraction and division, as networks that normalise their own input have."""
    c = {"m": numbers(4, 1, 1), "s": numbers(1, 4, 1, 1, low=0.5, high=2), "w": W, "b": B,
         "two": np.float32(2)}
    return model([node("Sub", ["x", "m"], ["a"], "a"), node("Div", ["a", "s"], ["t"], "t"),
                  node("Sub", ["two", "t"], ["u"], "u"), node("Mul", ["two", "u"], ["v"], "v"),
                  node("Conv", ["v", "w", "b"])], c, X, 13)


def squeeze_excite():
    """GlobalAveragePool, Flatten, Gemm, Sigmoid, Reshape, and a product spread over the map."""
    c = {"w": numbers(4, 4), "b": numbers(4), "s": np.array([0, 4, 1, 1], np.int64)}
    return model([node("GlobalAveragePool", ["x"], ["g"], "g"), node("Flatten", ["g"], ["f"], "f"),
                  node("Gemm", ["f", "w", "b"], ["l"], "l", alpha=0.5, beta=2.0),
                  node("Sigmoid", ["l"], ["s1"], "s1"), node("Reshape", ["s1", "s"], ["r"], "r"),
                  node("Mul", ["r", "x"])], c, X, 13)


def folded():
    """A kernel that the graph computes: transposed, and scaled along a chain of shapes."""
    kernel = np.ascontiguousarray(W.transpose(2, 3, 1, 0))
    c = {"k": kernel, "one": np.float32(1), "axes": np.array([0], np.int64),
         "start": np.array([0], np.int64), "end": np.array([2], np.int64),
         "pad": np.array([1, 1], np.int64), "three": np.float32(3)}
    return model(
        [node("Transpose", ["k"], ["w0"], "w0", perm=[3, 2, 0, 1]),
         node("Add", ["one", "three"], ["four"], "four"), node("Sqrt", ["four"], ["root"], "root"),
         node("Div", ["w0", "root"], ["w"], "w"), node("Shape", ["k"], ["shape"], "shape"),
         node("Slice", ["shape", "start", "end", "axes"], ["hw"], "hw"),  # 3, 3
         node("Concat", ["pad", "pad", "hw", "pad"], ["p64"], "p64", axis=0),
         node("Cast", ["p64"], ["pf"], "pf", to=TensorProto.FLOAT),
         node("Cast", ["pf"], ["pi"], "pi", to=TensorProto.INT64),
         node("Gather", ["pi", "zero"], ["unused"], "unused"),
         node("Conv", ["x", "w"], name="Conv")], {**c, "zero": np.int64(0)}, X, 13)


def channels_last():
    """As converters from TensorFlow begin: pictures (N, H, W, C)."""
    return model([node("Transpose", ["x"], ["t"], "t", perm=[0, 3, 1, 2]),
                  node("Conv", ["t", "w", "b"], ["u"], "c", auto_pad="SAME_UPPER", strides=[2, 2]),
                  node("Transpose", ["u"], ["v"], "v", perm=[0, 2, 3, 1]),
                  node("Transpose", ["v"], ["z"], "z", perm=[0, 3, 1, 2]), node("Relu", ["z"])],
                 {"w": W, "b": B}, X_LAST, 13)


def pads(*values, **attributes):
    return lambda: model([node("Pad", ["x", "p", "v"], **attributes)],
                         {"p": np.array(values, np.int64), "v": np.float32(0.5)}, X, 13)


def flat():
    c = {"w": numbers(5, 4 * 9 * 11, low=-0.1, high=0.1), "b": numbers(5), "m": numbers(5, 3)}
    return model([node("Flatten", ["x"], ["f"], "f"),
                  node("Gemm", ["f", "w", "b"], ["g"], "g", transB=1), node("Relu", ["g"], ["r"], "r"),
                  node("Dropout", ["r"], ["d"], "d"), node("MatMul", ["d", "m"])], c, X, 13)


NODES = {
    "conv": conv(pads=[1, 1, 1, 1]),
    "conv_asymmetric": conv(pads=[0, 1, 2, 3], strides=[2, 1]),
    "conv_same_upper": conv(auto_pad="SAME_UPPER", strides=[2, 3]),
    "conv_same_lower": conv(auto_pad="SAME_LOWER", strides=[2, 2]),
    "conv_valid": conv(auto_pad="VALID"),
    "conv_dilated": conv(dilations=[2, 3], pads=[2, 3, 2, 3]),
    "conv_groups": conv_of(numbers(6, 2, 3, 3), group=2, pads=[1, 1, 1, 1]),
    "conv_depthwise": conv_of(numbers(4, 1, 3, 3), group=4, strides=[2, 2], pads=[1, 1, 1, 1]),
    "conv_1x7": conv_of(numbers(3, 4, 1, 7), pads=[0, 3, 0, 3]),
    "conv_7x1": conv_of(numbers(3, 4, 7, 1), pads=[3, 0, 3, 0], strides=[1, 2]),
    "batch_norm": batch_norm,
    "relu": simple("Relu"),
    "leaky_relu": simple("LeakyRelu", alpha=0.3),
    "sigmoid": simple("Sigmoid"),
    "clip_attributes": simple("Clip", 10, min=-0.25, max=0.5),
    "clip_inputs": simple("Clip", 13, {"lo": np.float32(0), "hi": np.float32(0.5)},
                          ("x", "lo", "hi")),
    "clip_one_side": simple("Clip", 13, {"hi": np.float32(0.25)}, ("x", "", "hi")),
    "clip_is_relu": simple("Clip", 13, {"lo": np.float32(0)}, ("x", "lo")),
    "max_pool": simple("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "max_pool_asymmetric": simple("MaxPool", kernel_shape=[3, 2], strides=[2, 2],
                                  pads=[0, 0, 1, 1]),
    "max_pool_same": simple("MaxPool", kernel_shape=[3, 3], strides=[2, 2],
                            auto_pad="SAME_UPPER"),
    "max_pool_ceil": simple("MaxPool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    "max_pool_ceil_pad": simple("MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1,
                                pads=[1, 1, 1, 1]),
    "average_pool": simple("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "average_pool_counted": simple("AveragePool", kernel_shape=[3, 3], strides=[2, 2],
                                   pads=[1, 1, 1, 1], count_include_pad=1),
    "average_pool_counted_asymmetric": simple("AveragePool", kernel_shape=[2, 3], strides=[1, 2],
                                              pads=[1, 0, 0, 2], count_include_pad=1),
    "average_pool_same": simple("AveragePool", kernel_shape=[3, 3], auto_pad="SAME_UPPER"),
    "average_pool_ceil": simple("AveragePool", 19, kernel_shape=[3, 2], strides=[2, 2],
                                ceil_mode=1),
    "global_average": simple("GlobalAveragePool"),
    "reduce_mean": simple("ReduceMean", 13, axes=[2, 3], keepdims=0),
    "reduce_mean_input": simple("ReduceMean", 18, {"a": np.array([-1, -2], np.int64)}, ("x", "a")),
    "local_response": simple("LRN", size=3, alpha=0.3, beta=0.6, bias=1.5),
    "add_self": simple("Add", inputs=("x", "x")),
    "add_channels": simple("Add", constants={"c": numbers(4, 1, 1)}, inputs=("c", "x")),
    "multiply_number": simple("Mul", constants={"c": np.full((1,), 0.17, np.float32)},
                              inputs=("x", "c")),
    "divide": simple("Div", constants={"c": numbers(1, 4, 1, 1, low=1, high=3)}, inputs=("x", "c")),
    "silu": lambda: model([node("Sigmoid", ["x"], ["s"], "s"), node("Mul", ["x", "s"])], {}, X, 13),
    "concatenate": lambda: model(
        [node("Relu", ["x"], ["r"], "r"), node("LeakyRelu", ["x"], ["l"], "l"),
         node("Concat", ["r", "x", "l"], axis=1)], {}, X, 13),
    "subtract": lambda: model([node("Relu", ["x"], ["r"], "r"), node("Sub", ["r", "x"])], {}, X, 13),
    "pad": pads(0, 0, 1, 0, 0, 0, 2, 3),
    "pad_attributes": simple("Pad", 10, pads=[0, 0, 0, 1, 0, 0, 1, 0], value=-2.0),
    "pad_axes": lambda: model([node("Pad", ["x", "p", "", "a"])],
                              {"p": np.array([2, 1], np.int64), "a": np.array([-1], np.int64)}, X,
                              18),
    "preprocessing": preprocessing,
    "squeeze_excite": squeeze_excite,
    "folded": folded,
    "channels_last": channels_last,
    "flat": flat,
}


class Residual(nn.Module):
    """A ResNet block with a projection."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, 2, 1, bias=False)
        self.na = nn.BatchNorm2d(8)
        self.b = nn.Conv2d(8, 8, 3, 1, 1, bias=False)
        self.nb = nn.BatchNorm2d(8)
        self.p = nn.Conv2d(3, 8, 1, 2, bias=False)
        self.np = nn.BatchNorm2d(8)

    def forward(self, x):
        y = self.nb(self.b(torch.relu(self.na(self.a(x)))))
        return torch.relu(y + self.np(self.p(x)))


class Mobile(nn.Module):
    """Strides 2, 4, 8, 16 of depthwise convolutions with ReLU6, then a classifier."""

    def __init__(self):
        super().__init__()
        layers = [nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6()]
        for _ in range(4):
            layers += [nn.Conv2d(8, 8, 3, 2, 1, groups=8, bias=False), nn.BatchNorm2d(8),
                       nn.ReLU6(), nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8)]
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(8, 5), nn.Softplus())

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3)))


class Mixed(nn.Module):
    """Branches of 1 x 7 and 7 x 1 kernels, pools, a concatenation and a scaled shortcut."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, 2)
        self.one = nn.Conv2d(6, 4, 1)
        self.row = nn.Conv2d(6, 4, (1, 7), padding=(0, 3))
        self.column = nn.Conv2d(4, 4, (7, 1), padding=(3, 0))
        self.pool = nn.AvgPool2d(3, 1, 1, count_include_pad=False)
        self.up = nn.Conv2d(14, 6, 1)
        self.down = nn.MaxPool2d(3, 2, ceil_mode=True)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        branches = torch.cat([torch.relu(self.one(x)),
                              torch.relu(self.column(torch.relu(self.row(x)))), self.pool(x)], 1)
        return self.down(torch.relu(x + 0.17 * self.up(branches)))


def lively(network):
    """Statistics as after training instead of 0 and 1."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.uniform_(-0.5, 0.5)
    return network.eval()


def export(network, x, dynamo, keep_norm):
    buffer = io.BytesIO()
    if dynamo:
        dim = torch.export.Dim
        program = torch.onnx.export(network, (x,), dynamo=True, verbose=False, optimize=not keep_norm,
                                    dynamic_shapes=({0: dim.AUTO, 2: dim.AUTO, 3: dim.AUTO},))
        return program.model_proto
    mode = torch.onnx.TrainingMode
    torch.onnx.export(network, x, buffer, dynamo=False, do_constant_folding=not keep_norm,
                      training=mode.PRESERVE if keep_norm else mode.EVAL,
                      dynamic_axes={"x": {0: "n", 2: "h", 3: "w"}}, input_names=["x"])
    return onnx.ModelProto.FromString(buffer.getvalue())


SEEDS = ["nodes/conv_same_upper", "nodes/batch_norm", "nodes/folded", "nodes/preprocessing",
         "nodes/squeeze_excite", "nodes/channels_last", "nodes/clip_inputs", "nodes/pad_axes",
         "exported/residual_script_norm", "exported/mixed_script", "exported/mobile_dynamo"]
CORPUS = pathlib.Path(__file__).resolve().parent.parent / "fuzz/corpus/onnx"
CORPUS.mkdir(parents=True, exist_ok=True)

with h5py.File(pathlib.Path(__file__).with_name("onnx.h5"), "w", libver=("v110", "v110")) as file:
    def write(name, made, y):
        group = file.create_group(name)
        made.doc_string = ""
        for made_node in made.graph.node:  # the exporters' notes on lines of source
            made_node.doc_string = ""
            del made_node.metadata_props[:]
        for value in list(made.graph.value_info):
            made.graph.value_info.remove(value)
        if name in SEEDS:
            (CORPUS / f"seed_{name.split('/')[1]}.onnx").write_bytes(made.SerializeToString())
        bytes_ = np.frombuffer(made.SerializeToString(), np.uint8)
        group.create_dataset("model", data=bytes_, compression="gzip")
        group.create_dataset("y", data=y, compression="gzip")

    file.create_dataset("x", data=X, compression="gzip")
    file.create_dataset("channels_last_x", data=X_LAST.transpose(0, 3, 1, 2), compression="gzip")
    for name, make in NODES.items():
        made = make()
        write(f"nodes/{name}", made, run(made, X_LAST if name == "channels_last" else X))

    picture = torch.tensor(numbers(1, 3, 37, 45))
    file.create_dataset("picture", data=picture.numpy(), compression="gzip")
    for kind, dynamo in (("script", False), ("dynamo", True)):
        for name, network in (("residual", Residual()), ("mixed", Mixed()), ("mobile", Mobile())):
            lively(network)
            for norm in ((False, True) if name == "residual" else (False,)):
                made = export(network, picture, dynamo, norm)
                onnx.checker.check_model(made)
                if name == "mobile":
                    with torch.no_grad():
                        y = network.features[:18](picture).numpy()
                else:
                    y = run(made, picture.numpy())
                write(f"exported/{name}_{kind}{'_norm' if norm else ''}", made, y)
