"""Golden values of the operations of imported networks, from torch in float64; each forward result is
also compared with ONNX Runtime's. Writes graph_ops.h5 beside itself.

Run: python tests/golden/make_graph_ops.py   (needs torch, numpy, h5py, onnx, onnxruntime)
"""
import pathlib

import h5py
import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F

random = np.random.default_rng(20260304)


def tensor(*shape):
    # Whole 1/64: exact in float32, so that both precisions see the same inputs.
    return torch.tensor(random.integers(-128, 128, shape) / 64.0, dtype=torch.float64, requires_grad=True)


def cotangent(y):
    return torch.tensor(random.integers(-64, 64, y.shape) / 64.0, dtype=y.dtype)


def check_onnx(y, op, inputs, **attributes):
    """y equals what ONNX Runtime makes of the same node."""
    names = [f"x{i}" for i in range(len(inputs))]
    arrays = [np.asarray(x.detach() if torch.is_tensor(x) else x, dtype=np.float32) for x in inputs]
    if op == "Pad":
        arrays[1] = arrays[1].astype(np.int64)
    kinds = [onnx.TensorProto.INT64 if a.dtype == np.int64 else onnx.TensorProto.FLOAT for a in arrays]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(op, names, ["y"], **attributes)], "one",
        [onnx.helper.make_tensor_value_info(n, k, a.shape) for n, k, a in zip(names, kinds, arrays)],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 19)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    result = session.run(None, dict(zip(names, arrays)))[0]
    np.testing.assert_allclose(result, y.detach().numpy(), rtol=1e-5, atol=1e-5, err_msg=f"{op} {attributes}")


def write(file, path, arrays, **attributes):
    group = file.create_group(path)
    for name, value in arrays.items():
        value = value.detach().numpy() if torch.is_tensor(value) else value
        single = value.astype(np.float32)
        if np.array_equal(single, value):
            value = single  # exact, and half the bytes
        packed = dict(compression="gzip", shuffle=True) if value.nbytes > 1024 else {}
        group.create_dataset(name, data=value, **packed)
    for name, value in attributes.items():
        group.attrs[name] = float(value)


def one_input(file, path, x, y, **attributes):
    dy = cotangent(y)
    y.backward(dy)
    write(file, path, dict(x=x, y=y, dy=dy, dx=x.grad), **attributes)


def main():
    with h5py.File(pathlib.Path(__file__).with_name("graph_ops.h5"), "w", libver=("v110", "v110"), meta_block_size=512) as f:
        # n, c, h, w, out, kernel, stride, pad, dilation, groups
        convolutions = [
            (2, 18, 5, 4, 18, (3, 3), (1, 1), (1, 1), (1, 1), 18),   # depthwise
            (1, 20, 5, 6, 20, (3, 3), (2, 2), (1, 1), (1, 1), 20),   # its strided form
            (1, 8, 6, 5, 8, (5, 3), (1, 2), (2, 1), (1, 1), 8),
            (1, 6, 6, 5, 18, (3, 3), (1, 1), (1, 1), (1, 1), 6),     # three filters a channel
            (1, 8, 4, 5, 16, (3, 3), (1, 1), (1, 1), (1, 1), 4),    # ResNeXt
            (1, 12, 8, 6, 8, (1, 1), (1, 1), (0, 0), (1, 1), 4),     # ShuffleNet
            (1, 9, 6, 5, 4, (3, 3), (1, 1), (2, 2), (2, 2), 1),  # dilated
            (1, 5, 9, 8, 6, (3, 2), (2, 1), (3, 1), (3, 2), 1),
            (1, 9, 6, 7, 9, (3, 3), (1, 1), (2, 3), (2, 3), 9), # dilated depthwise
            (1, 8, 7, 6, 12, (3, 3), (2, 2), (2, 1), (2, 1), 2),
            (1, 12, 1, 1, 12, (1, 1), (1, 1), (0, 0), (1, 1), 12),
        ]
        for i, (n, c, h, w, o, kernel, stride, pad, dilation, groups) in enumerate(convolutions):
            x, weight, b = tensor(n, c, h, w), tensor(o, c // groups, *kernel), tensor(o)
            y = F.conv2d(x, weight, b, stride, pad, dilation, groups)
            check_onnx(y, "Conv", [x, weight, b], strides=stride, pads=pad + pad, dilations=dilation,
                       group=groups)
            dy = cotangent(y)
            y.backward(dy)
            write(f, f"conv/{i}", dict(x=x, w=weight, b=b, y=y, dy=dy, dx=x.grad, dw=weight.grad, db=b.grad),
                  stride_h=stride[0], stride_w=stride[1], pad_h=pad[0], pad_w=pad[1],
                  dilation_h=dilation[0], dilation_w=dilation[1], groups=groups)

        # c, h, w, kernel, stride, pad, ceil, include
        pools = [
            (3, 8, 10, (2, 2), (2, 2), (0, 0), False, True),
            (10, 5, 4, (3, 3), (2, 2), (1, 1), False, True),
            (3, 6, 5, (3, 3), (2, 2), (1, 1), False, False),
            (3, 8, 6, (3, 3), (2, 2), (1, 1), True, True),
            (3, 8, 6, (3, 3), (2, 2), (1, 1), True, False),
            (9, 5, 7, (3, 2), (1, 3), (1, 0), True, False),
            (5, 5, 5, (2, 2), (3, 3), (1, 1), True, True),   # a window that begins in the end padding is dropped
            (4, 5, 5, (5, 5), (1, 1), (2, 2), False, False),
            (2, 1, 1, (1, 1), (1, 1), (0, 0), False, False),
        ]
        for i, (c, h, w, kernel, stride, pad, ceil, include) in enumerate(pools):
            x = tensor(1 + (i == 0), c, h, w)
            y = F.avg_pool2d(x, kernel, stride, pad, ceil, include)
            check_onnx(y, "AveragePool", [x], kernel_shape=kernel, strides=stride, pads=pad + pad,
                       ceil_mode=int(ceil), count_include_pad=int(include))
            one_input(f, f"avg_pool/{i}", x, y, kernel_h=kernel[0], kernel_w=kernel[1], stride_h=stride[0],
                      stride_w=stride[1], pad_h=pad[0], pad_w=pad[1], ceil_mode=ceil, count_include_pad=include)
        for i, shape in enumerate([(2, 20, 3, 4), (1, 3, 1, 1), (1, 3, 33, 9)]):
            x = tensor(*shape)
            y = x.mean((2, 3), keepdim=True)
            check_onnx(y, "GlobalAveragePool", [x])
            one_input(f, f"global_avg_pool/{i}", x, y)

        for i, slope in enumerate([0.01, 0.2, -0.5, 0.0]):
            x = tensor(2, 11, 2, 3)
            y = F.leaky_relu(x, slope)
            check_onnx(y, "LeakyRelu", [x], alpha=slope)
            one_input(f, f"leaky_relu/{i}", x, y, slope=slope)
        for i, (low, high) in enumerate([(0, 1), (-0.5, 0.25), (0.5, 1.5), (-np.inf, 0.5), (1, -1)]):
            x = tensor(2, 11, 2, 3)
            # torch's clamp passes the gradient at the bounds, its ReLU6 (hardtanh) does not; ours is ReLU6's.
            y = F.hardtanh(x, low, high) if low < high else torch.clamp(x, low, high)
            check_onnx(y, "Clip", [x, np.float32(low), np.float32(high)])
            one_input(f, f"clip/{i}", x, y, low=low, high=high)
        x = torch.tensor(random.uniform(-8, 8, (1, 11, 2, 3)).astype(np.float32).astype(np.float64),
                         requires_grad=True)
        y = torch.sigmoid(x)
        check_onnx(y, "Sigmoid", [x])
        one_input(f, "sigmoid/0", x, y)

        operations = {"add": torch.add, "sub": torch.sub, "mul": torch.mul}
        for name, operation in operations.items():
            for i, shape in enumerate([(1, 1, 1, 1), (1, 11, 1, 1), (2, 11, 1, 1)]):
                a, b = tensor(2, 11, 2, 3), tensor(*shape)
                y = operation(a, b)
                check_onnx(y, name.capitalize(), [a, b])
                dy = cotangent(y)
                y.backward(dy)
                write(f, f"broadcast/{name}_{i}", dict(a=a, b=b, y=y, dy=dy, da=a.grad, db=b.grad))

        x = tensor(1, 11, 3, 4)
        y = F.pad(x, (2, 0, 1, 3), value=0.75)  # left, right, top, bottom
        check_onnx(y, "Pad", [x, np.array([0, 0, 1, 2, 0, 0, 3, 0]), np.float32(0.75)])
        one_input(f, "pad/0", x, y, top=1, left=2, bottom=3, right=0, value=0.75)

        parts = [tensor(1, c, 2, 3) for c in (16, 5, 8)]
        y = torch.cat(parts, 1)
        check_onnx(y, "Concat", parts, axis=1)
        dy = cotangent(y)
        y.backward(dy)
        arrays = dict(y=y, dy=dy)
        for i, part in enumerate(parts):
            arrays[f"x{i}"], arrays[f"dx{i}"] = part, part.grad
        write(f, "concat/0", arrays)


if __name__ == "__main__":
    main()
