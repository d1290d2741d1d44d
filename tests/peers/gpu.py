#!/usr/bin/env python3
"""Times of PyTorch (cuDNN) and torchvision on a GPU for the cases of `frcnn bench kernels`.

  python tests/peers/gpu.py --json peers.json
  frcnn bench kernels --op conv2d --device cuda --save conv.json
  python tests/peers/gpu.py --against conv.json rois.json boxes.json   # table of ratios

The cases have the same sizes and the same distribution of random inputs as ours: VGG16's 13
convolutions with bias and ReLU at 600x1000 (f32, tf32, bf16; channels last), RoI pooling and RoIAlign
of 128, 300 and 2000 regions on a 512x37x62 map, NMS of 6000, 12000 and 100000 boxes to the end,
matching of 20646 anchors with 2, 8 and 50 objects. Every time is the median of samples between device
events after a warm-up.
"""

import argparse
import json
import statistics
import sys

VGG16 = [("conv1_1", 3, 64, 600, 1000), ("conv1_2", 64, 64, 600, 1000), ("conv2_1", 64, 128, 300, 500),
         ("conv2_2", 128, 128, 300, 500), ("conv3_1", 128, 256, 150, 250), ("conv3_2", 256, 256, 150, 250),
         ("conv3_3", 256, 256, 150, 250), ("conv4_1", 256, 512, 75, 125), ("conv4_2", 512, 512, 75, 125),
         ("conv4_3", 512, 512, 75, 125), ("conv5_1", 512, 512, 37, 62), ("conv5_2", 512, 512, 37, 62),
         ("conv5_3", 512, 512, 37, 62)]


class Timer:
    def __init__(self, torch, seconds):
        self.torch, self.seconds = torch, seconds

    def __call__(self, run):
        """Median and quartiles of one run in milliseconds."""
        torch = self.torch

        def sample(count):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            for _ in range(count):
                run()
            end.record()
            end.synchronize()
            return begin.elapsed_time(end) / count

        for _ in range(3):
            run()
        torch.cuda.synchronize()
        estimate = sample(1)
        count = max(1, min(1000, int(0.2 / max(estimate, 1e-3)) + 1))
        samples = max(3, min(50, int(1e3 * self.seconds / max(estimate * count, 1e-3))))
        times = sorted(sample(count) for _ in range(samples))
        quarter = statistics.quantiles(times, n=4) if len(times) > 1 else [times[0]] * 3
        return {"median_ms": statistics.median(times), "low_ms": quarter[0], "high_ms": quarter[2],
                "samples": samples}


def convolutions(torch, timer):
    from torch.nn import functional
    for arithmetic in ("f32", "tf32", "bf16"):
        torch.backends.cudnn.allow_tf32 = arithmetic == "tf32"
        torch.backends.cudnn.benchmark = True
        dtype = torch.bfloat16 if arithmetic == "bf16" else torch.float32
        for name, c, o, h, w in VGG16:
            def maps(*shape):
                return torch.randn(*shape, device="cuda").to(dtype).to(memory_format=torch.channels_last)
            x, weight, dy = maps(1, c, h, w), maps(o, c, 3, 3), maps(1, o, h, w)
            bias = torch.randn(o, device="cuda", dtype=dtype)
            row = {"op": "conv2d", "case": name, "arithmetic": arithmetic}
            with torch.inference_mode():
                yield {**row, "pass": "forward", **timer(lambda: functional.relu_(functional.conv2d(x, weight, bias, padding=1)))}
                yield {**row, "pass": "forward", "what": "torch.cudnn_convolution_relu",
                       **timer(lambda: torch.cudnn_convolution_relu(x, weight, bias, (1, 1), (1, 1), (1, 1), 1))}

                def backward(mask):
                    return torch.ops.aten.convolution_backward(dy, x, weight, [o], [1, 1], [1, 1], [1, 1],
                                                               False, [0, 0], 1, mask)
                if c > 3:
                    yield {**row, "pass": "backward_data", **timer(lambda: backward([True, False, False]))}
                yield {**row, "pass": "backward_weights", **timer(lambda: backward([False, True, True]))}


def scattered_boxes(torch, count, height, width):
    side = min(height, width)
    size = (0.05 + 0.45 * torch.rand(count, 2, device="cuda")) * side
    corner = torch.rand(count, 2, device="cuda") * (torch.tensor([width, height], device="cuda") - size)
    return torch.cat([corner, corner + size], 1)


def regions(torch, timer):
    from torchvision.ops import roi_align, roi_pool
    x = torch.rand(1, 512, 37, 62, device="cuda", requires_grad=True)
    for count in (128, 300, 2000):
        rois = torch.cat([torch.zeros(count, 1, device="cuda"), scattered_boxes(torch, count, 592, 992)], 1)
        for op, call in (("roi_pool", lambda: roi_pool(x, rois, (7, 7), 1 / 16)),
                         ("roi_align", lambda: roi_align(x, rois, (7, 7), 1 / 16, 0, True))):
            row = {"op": op, "case": f"{count} RoIs", "arithmetic": "f32"}
            with torch.inference_mode():
                yield {**row, "pass": "forward", **timer(call)}
            y = call()
            dy = torch.randn_like(y)
            yield {**row, "pass": "backward",
                   **timer(lambda: torch.autograd.grad(y, x, dy, retain_graph=True))}


def boxes(torch, timer):
    from torchvision.ops import box_iou, nms
    for count in (6000, 12000, 100000):
        corners = scattered_boxes(torch, count, 600, 1000)
        scores = torch.linspace(1, 0, count, device="cuda")  # sorted already, as ours
        yield {"op": "nms", "case": f"{count} boxes", "pass": "forward", "arithmetic": "f32",
               **timer(lambda: nms(corners, scores, 0.7))}
    from torchvision.models.detection._utils import Matcher
    matcher = Matcher(0.7, 0.3, allow_low_quality_matches=True)
    anchors = scattered_boxes(torch, 20646, 600, 1000)
    for objects in (2, 8, 50):
        truth = scattered_boxes(torch, objects, 600, 1000)
        yield {"op": "iou_match", "case": f"20646 anchors, {objects} objects", "pass": "forward",
               "arithmetic": "f32", **timer(lambda: matcher(box_iou(truth, anchors)))}


def measure(args):
    import torch
    import torchvision
    if not torch.cuda.is_available():
        raise SystemExit("gpu.py: PyTorch sees no GPU")
    timer = Timer(torch, args.seconds)
    rows = []
    for part in (convolutions, regions, boxes):
        for row in part(torch, timer):
            rows.append(row)
            print(f"{row['op']:10} {row['case']:28} {row['pass']:18} {row['arithmetic']:5}"
                  f" {row['median_ms']:10.4f} ms  {row['low_ms']:.4f} .. {row['high_ms']:.4f}", flush=True)
    return {"gpu": torch.cuda.get_device_name(0), "torch": torch.__version__,
            "torchvision": torchvision.__version__, "cudnn": torch.backends.cudnn.version(), "rows": rows}


def best(rows):
    """The fastest row by (op, case, pass, arithmetic)."""
    found = {}
    for row in rows:
        key = row["op"], row["case"], row["pass"], row["arithmetic"]
        if key not in found or row["median_ms"] < found[key]["median_ms"]:
            found[key] = row
    return found


def our_rows(files):
    for name in files:
        with open(name) as file:
            for row in json.load(file)["rows"]:
                if row.get("refused"):
                    continue
                yield {"op": row["op"], "case": row["case"], "pass": row["pass"],
                       "arithmetic": row["arithmetic"] or "f32", "version": row["version"],
                       "median_ms": row["median_ms"], "low_ms": row["quartiles_ms"][0],
                       "high_ms": row["quartiles_ms"][1]}


def same_case(row, peer):
    """Our labels say more than the sizes: '300 RoIs of 512x37x62 nhwc'."""
    return (row["case"] + " ").startswith(peer["case"] + " ") and all(
        row[key] == peer[key] for key in ("op", "pass", "arithmetic"))


def compare(peers, files):
    """Ratios peer / ours per case (above 1: ours is faster), with their spread, and geometric means."""
    own = [row for row in our_rows(files) if not row["version"].startswith(("cud", "cublas"))]
    groups = {}
    print(f"\n{'operation':10} {'case':28} {'pass':17} {'type':5} {'peer ms':>9} {'ours ms':>9} {'ratio':>6} {'quartiles':>13}  version")
    for (op, case, which, arithmetic), peer in best(peers["rows"]).items():
        mine = [row for row in own if same_case(row, peer)]
        if not mine:
            continue
        row = min(mine, key=lambda r: r["median_ms"])
        ratio = peer["median_ms"] / row["median_ms"]
        low, high = peer["low_ms"] / row["high_ms"], peer["high_ms"] / row["low_ms"]
        groups.setdefault((op, which, arithmetic), []).append(ratio)
        print(f"{op:10} {case:28} {which:17} {arithmetic:5} {peer['median_ms']:9.4f} {row['median_ms']:9.4f} {ratio:6.2f}"
              f" {low:6.2f}-{high:<6.2f}  {row['version']}")
    print("\ngeometric means of peer / ours")
    means = []
    for (op, which, arithmetic), ratios in groups.items():
        mean = statistics.geometric_mean(ratios)
        means.append({"op": op, "pass": which, "arithmetic": arithmetic, "cases": len(ratios), "ratio": mean})
        print(f"  {op:10} {which:17} {arithmetic:5} {mean:6.2f} over {len(ratios)} cases")
    return means


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.05, help="measuring time of each line")
    parser.add_argument("--json", help="write all rows to this file")
    parser.add_argument("--peers", help="rows that --json wrote, instead of measuring")
    parser.add_argument("--against", nargs="+", default=[], help="files of `frcnn bench kernels --save`")
    args = parser.parse_args()
    if args.peers:
        with open(args.peers) as file:
            result = json.load(file)
    else:
        result = measure(args)
    if args.against:
        result["ratios"] = compare(result, args.against)
    if args.json:
        with open(args.json, "w") as file:
            json.dump(result, file)


if __name__ == "__main__":
    sys.exit(main())
