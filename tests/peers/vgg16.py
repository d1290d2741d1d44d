#!/usr/bin/env python3
"""VGG16 Faster R-CNN at 600x800 (--width) in the paper's setting: torchvision's times, and ours in alternation.

  python tests/peers/vgg16.py --rounds 5
  python tests/peers/vgg16.py --rounds 5 --ours "build/release/apps/frcnn bench model --json"
  python tests/peers/vgg16.py --device cuda --precision tf32 --width 1000 \
      --ours "frcnn --device cuda --gpu-math tf32 bench model --width 1000 --json"

Setting: batch 1, RoI max pooling 7x7, proposals 6000 -> 300 (inference) and 12000 -> 2000
(training), 128 RoIs with 25 % foreground, 256 anchors, two layers of 4096, 21 classes, random
weights; training freezes the first four convolutions and includes the SGD-with-momentum update.
The picture already has its size and is not padded (37 x 50 map). On a GPU a measured time is that
of several runs in a row, waited for at their end, divided by their number.

Every round starts each contender once, in a fresh process and in turn, so that a slow spell of the
machine hits all alike; read the ratios, not the milliseconds. A contender prints one JSON line with
inference_ms, train_step_ms (lists, or single numbers) and peak_mb. The last line here is JSON too.
"""

import argparse
import json
import os
import shlex
import statistics
import sys
import time

from alternate import finish

HEIGHT, CLASSES = 600, 20


def build_model(torch):
    from torch import nn
    from torchvision.models import vgg16
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
    from torchvision.ops import roi_pool

    class RoiMaxPool(nn.Module):
        def forward(self, features, proposals, image_shapes):
            return roi_pool(features["0"], proposals, (7, 7), 1 / 16)

    backbone = vgg16(weights=None).features[:-1]
    backbone.out_channels = 512
    for layer in backbone[:10]:
        layer.requires_grad_(False)
    model = FasterRCNN(
        backbone, min_size=HEIGHT, max_size=1000, size_divisible=1,
        rpn_anchor_generator=AnchorGenerator(((128, 256, 512),), ((0.5, 1.0, 2.0),)),
        rpn_pre_nms_top_n_train=12000, rpn_post_nms_top_n_train=2000,
        rpn_pre_nms_top_n_test=6000, rpn_post_nms_top_n_test=300,
        box_head=TwoMLPHead(512 * 49, 4096),
        box_predictor=FastRCNNPredictor(4096, CLASSES + 1),
        box_nms_thresh=0.3, box_batch_size_per_image=128)
    model.roi_heads.box_roi_pool = RoiMaxPool()  # the constructor accepts RoIAlign only
    return model


def worker(args):
    """Runs one torch contender and prints its JSON line."""
    import torch

    from parts import PartTimer, peak_rss_mb, watch_detector

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    on_gpu = args.device == "cuda"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = args.precision == "tf32"
    torch.backends.cudnn.benchmark = on_gpu
    autocast = torch.autocast(args.device, torch.bfloat16, enabled=args.precision == "bf16")
    model = build_model(torch).to(args.device)
    if args.worker == "channels_last":
        model = model.to(memory_format=torch.channels_last)
    picture = torch.rand(3, HEIGHT, args.width).to(args.device)
    corner = torch.rand(8, 2) * torch.tensor([args.width - 320.0, HEIGHT - 320.0])
    boxes = torch.cat([corner, corner + 60 + 260 * torch.rand(8, 2)], 1)
    target = {"boxes": boxes.to(args.device), "labels": torch.randint(1, CLASSES + 1, (8,)).to(args.device)}
    timer = PartTimer()
    if args.parts:
        watch_detector(timer, model)

    def measure(step):
        together = 10 if on_gpu else 1  # runs that the device may overlap

        def sample():
            start = time.perf_counter()
            for _ in range(together):
                with autocast:
                    step()
            if on_gpu:
                torch.cuda.synchronize()
            return round(1e3 * (time.perf_counter() - start) / together, 3)

        for _ in range(2 if on_gpu else 1):
            sample()
        timer.reset()
        times = [sample() for _ in range(args.iterations)]
        return times, timer.table(args.iterations * together)

    result = {"torch": torch.__version__, "threads": torch.get_num_threads(), "variant": args.worker,
              "device": torch.cuda.get_device_name() if on_gpu else "cpu", "precision": args.precision}
    if "inference" in args.modes:
        model.eval()
        with torch.inference_mode():
            result["inference_ms"], parts = measure(lambda: model([picture]))
        result["inference_peak_mb"] = round(peak_rss_mb())
        if args.parts:
            result["inference_parts_ms"] = parts
    if "train" in args.modes:
        model.train()
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad],
                                    lr=1e-4, momentum=0.9, weight_decay=5e-4)

        def step():
            clock = time.perf_counter
            optimizer.zero_grad(set_to_none=True)
            total = sum(model([picture], [target]).values())
            start = clock()
            total.backward()
            middle = clock()
            optimizer.step()
            timer.add("backward", middle - start)
            timer.add("optimizer", clock() - middle)

        result["train_step_ms"], parts = measure(step)
        if args.parts:
            result["train_parts_ms"] = parts
    result["peak_mb"] = round(peak_rss_mb())
    print(json.dumps(result))


def as_list(value):
    return [] if value is None else list(value) if isinstance(value, list) else [value]


def compare(args):
    base = [sys.executable, os.path.abspath(__file__), "--iterations", str(args.iterations),
            "--threads", str(args.threads), "--seed", str(args.seed), "--modes", *args.modes,
            "--device", args.device, "--precision", args.precision, "--width", str(args.width)]
    if args.parts:
        base.append("--parts")
    contenders = {name: base + ["--worker", name] for name in args.variants}
    if args.ours:
        contenders["ours"] = shlex.split(args.ours)
    rounds = []
    for number in range(args.rounds):
        rounds.append({name: finish(command, args.threads).json() for name, command in contenders.items()})
        print(f"round {number + 1}: " + "; ".join(
            f"{name} " + "/".join(f"{statistics.median(as_list(row[k])):.4g}" for k in ("inference_ms", "train_step_ms") if k in row)
            for name, row in rounds[-1].items()), flush=True)

    print(f"\n{'':16}{'':12}{'median ms':>10}{'min':>9}{'max':>9}{'x ' + args.variants[0]:>10}  range of rounds")
    summary = {}
    for key in ("inference_ms", "train_step_ms"):
        if not as_list(rounds[0][args.variants[0]].get(key)):
            continue  # a mode that was not asked for
        for name in contenders:
            each = [statistics.median(as_list(r[name][key])) for r in rounds if as_list(r[name].get(key))]
            if not each:
                continue
            everything = [v for r in rounds for v in as_list(r[name][key])]
            ratios = [statistics.median(as_list(r[args.variants[0]][key])) / e for r, e in zip(rounds, each)]
            row = {"median": round(statistics.median(each), 3), "min": min(everything), "max": max(everything),
                   "speedup": round(statistics.median(ratios), 3),
                   "speedup_range": [round(min(ratios), 3), round(max(ratios), 3)]}
            summary.setdefault(name, {})[key] = row
            print(f"{name:16}{key[:-3]:12}{row['median']:>10.4g}{row['min']:>9.4g}{row['max']:>9.4g}{row['speedup']:>10.2f}"
                  f"  {row['speedup_range'][0]:.2f}-{row['speedup_range'][1]:.2f}")
    for name in contenders:
        summary[name]["peak_mb"] = max(r[name].get("peak_mb", 0) for r in rounds)
        print(f"{name:16}peak {summary[name]['peak_mb']} MB")
    print(json.dumps({"summary": summary, "rounds": rounds}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=3, help="timed runs in a process, after one untimed")
    parser.add_argument("--variants", nargs="+", choices=["eager", "channels_last"], default=["eager", "channels_last"])
    parser.add_argument("--modes", nargs="+", choices=["inference", "train"], default=["inference", "train"])
    parser.add_argument("--ours", help="command that prints our JSON line")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["f32", "tf32", "bf16"], default="f32", help="on a GPU: tf32 as PyTorch calls it; bf16 by autocast")
    parser.add_argument("--width", type=int, default=800, help="of the picture")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--parts", action="store_true", help="also time the parts of torchvision's model")
    parser.add_argument("--worker", choices=["eager", "channels_last"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        worker(args)
    else:
        compare(args)


if __name__ == "__main__":
    main()
