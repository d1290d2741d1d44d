#!/usr/bin/env python3
"""torchvision's Faster R-CNN from scratch on a small VOC set: the peer of configs/bccd-tiny.toml.

  python tests/peers/train_bccd.py --data DIR --epochs 30
  python tests/peers/train_bccd.py --data DIR --profile 20     where the time of a step goes

Same net, anchors, samplers, losses, schedule and augmentation as our configuration; what the two
cannot share is listed in the configuration's comments. The pictures are decoded before the clock
starts, which favours this side. The last line is JSON.
"""

import argparse
import json
import time

import numpy as np
import torch
from PIL import Image
from torch import nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.ops import MultiScaleRoIAlign

import voc_set
from parts import PartTimer, peak_rss_mb, watch_detector


def integers(text):
    return [int(v) for v in text.split(",")]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of the set (VOC layout)")
    parser.add_argument("--epochs", type=float, default=30)
    parser.add_argument("--steps", type=int, default=0, help="instead of --epochs")
    parser.add_argument("--train", default="train,val", help="splits")
    parser.add_argument("--test", default="test", help="split")
    parser.add_argument("--first-pixel", type=int, default=1, help="annotations count pixels from")
    parser.add_argument("--channels", type=integers, default=[24, 32, 64, 64, 128, 128, 128])
    parser.add_argument("--strides", type=integers, default=[2, 1, 2, 1, 2, 1, 1])
    parser.add_argument("--hidden", type=int, default=256, help="width of the head's two layers")
    parser.add_argument("--rois", type=int, default=128, help="sampled RoIs per image")
    parser.add_argument("--proposals", type=int, default=2000, help="per image before and after NMS, training")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--lr", type=float, default=0.02)
    parser.add_argument("--weight-decay", type=float, default=5e-4)
    parser.add_argument("--init", choices=["torch", "match"], default="match",
                        help="torch: its layers' defaults; match: He backbone, Xavier head, as ours")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--eval-every", type=int, default=0, help="epochs between tests; 0: end only")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--profile", type=int, default=0, help="time this many steps part by part, then stop")
    parser.add_argument("--log-every", type=int, default=50)
    return parser.parse_args()


def backbone(channels, strides):
    layers, width = [], 3
    for out, stride in zip(channels, strides, strict=True):
        layers += [nn.Conv2d(width, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
        width = out
    net = nn.Sequential(*layers)
    net.out_channels = width
    return net


def detector(args, classes):
    net = backbone(args.channels, args.strides)
    model = FasterRCNN(
        net, min_size=300, max_size=1000,
        rpn_anchor_generator=AnchorGenerator(((24, 48, 96, 144),), ((0.7, 1.0, 1.4),)),
        rpn_pre_nms_top_n_train=args.proposals, rpn_post_nms_top_n_train=args.proposals,
        rpn_pre_nms_top_n_test=2000,
        box_roi_pool=MultiScaleRoIAlign(["0"], 7, 2),
        box_head=TwoMLPHead(net.out_channels * 49, args.hidden),
        box_predictor=FastRCNNPredictor(args.hidden, classes + 1),
        box_batch_size_per_image=args.rois)
    if args.init == "match":
        for layer in model.backbone.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
        for layer in model.roi_heads.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
        nn.init.normal_(model.roi_heads.box_predictor.bbox_pred.weight, std=0.03)
    return model.to(memory_format=torch.channels_last) if args.channels_last else model


def load_pictures(root, rows):
    pictures = []
    for name, _ in rows:
        with Image.open(root / "JPEGImages" / f"{name}.jpg") as image:
            pictures.append(torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).contiguous())
    return pictures


def sample(picture, objects, classes, flip):
    """The (3, H, W) float picture in [0, 1] and its target, mirrored where asked."""
    boxes = torch.tensor([o[1] for o in objects], dtype=torch.float32).reshape(-1, 4)
    labels = torch.tensor([classes.index(o[0]) + 1 for o in objects], dtype=torch.int64)
    image = picture.float().div_(255)
    if flip:
        image = image.flip(2)
        width = image.shape[2]
        boxes = torch.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], 1)
    return image, {"boxes": boxes, "labels": labels}


def batches(pictures, rows, classes, batch, rng):
    """One epoch: shuffled, each picture flipped with probability 1/2, the last short batch kept."""
    order = rng.permutation(len(rows))
    for start in range(0, len(order), batch):
        chosen = [sample(pictures[i], rows[i][1], classes, rng.random() < 0.5)
                  for i in order[start:start + batch]]
        yield [c[0] for c in chosen], [c[1] for c in chosen]


def train_step(model, optimizer, images, targets, timer=None):
    clock = time.perf_counter
    start = clock()
    losses = model(images, targets)
    total = sum(losses.values())
    forward = clock()
    optimizer.zero_grad(set_to_none=True)
    total.backward()
    backward = clock()
    optimizer.step()
    if timer:
        timer.add("forward (all)", forward - start)
        timer.add("backward", backward - forward)
        timer.add("optimizer", clock() - backward)
    if not torch.isfinite(total):
        raise SystemExit(f"the loss is not finite: {losses}")
    return {name: value.item() for name, value in losses.items()}


@torch.inference_mode()
def evaluate(model, pictures, rows, classes):
    """{class: AP at IoU 0.5}, mAP and ms per picture."""
    model.eval()
    found = {name: [] for name in classes}
    start = time.perf_counter()
    for (name, _), picture in zip(rows, pictures):
        result = model([picture.float().div_(255)])[0]
        for box, label, score in zip(result["boxes"].tolist(), result["labels"].tolist(), result["scores"].tolist()):
            found[classes[label - 1]].append((name, score, box))
    milliseconds = 1e3 * (time.perf_counter() - start) / len(rows)
    model.train()
    table = {}
    for wanted in classes:
        truth = {}
        for name, objects in rows:
            mine = [o for o in objects if o[0] == wanted]
            truth[name] = (np.array([o[1] for o in mine], float).reshape(-1, 4), np.array([o[2] for o in mine], bool))
        table[wanted] = round(voc_set.average_precision(found[wanted], truth), 4)
    return table, round(float(np.mean(list(table.values()))), 4), milliseconds


def profile(args, model, optimizer, pictures, rows, classes, rng):
    """Times `args.profile` steps: whole (unwrapped), parts by wrapping, operators by torch.profiler."""
    source = (b for _ in range(1000) for b in batches(pictures, rows, classes, args.batch, rng))
    for _ in range(3):
        train_step(model, optimizer, *next(source))
    whole = []
    for _ in range(args.profile):
        images, targets = next(source)
        start = time.perf_counter()
        train_step(model, optimizer, images, targets)
        whole.append(1e3 * (time.perf_counter() - start))
    print("step ms: median %.0f, quartiles %.0f-%.0f" % (
        np.median(whole), np.percentile(whole, 25), np.percentile(whole, 75)))
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as trace:
        for _ in range(3):
            train_step(model, optimizer, *next(source))
    print(trace.key_averages().table(sort_by="self_cpu_time_total", row_limit=16, max_name_column_width=48))
    timer = PartTimer()
    watch_detector(timer, model)
    start = time.perf_counter()
    for _ in range(args.profile):
        began = time.perf_counter()
        images, targets = next(source)
        timer.add("data", time.perf_counter() - began)
        train_step(model, optimizer, images, targets, timer)
    seconds = time.perf_counter() - start
    print(json.dumps({"step_ms_median": round(float(np.median(whole)), 1),
                      "wrapped_step_ms": round(1e3 * seconds / args.profile, 1),
                      "parts_ms": timer.table(args.profile), "rss_mb": round(peak_rss_mb())}))


def main():
    args = arguments()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    root = voc_set.find_root(args.data)
    rows, dropped = voc_set.read_split(root, args.train.split(","), args.first_pixel)
    rows = [(name, [o for o in objects if not o[2]]) for name, objects in rows]
    test_rows, test_dropped = voc_set.read_split(root, [args.test], args.first_pixel)
    classes = sorted({o[0] for _, objects in rows + test_rows for o in objects})
    pictures = load_pictures(root, rows)
    model = detector(args, len(classes))
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9, weight_decay=args.weight_decay)
    per_epoch = -(-len(rows) // args.batch)
    steps = args.steps or round(args.epochs * per_epoch)
    parameters = sum(p.numel() for p in model.parameters())
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; {len(rows)} pictures, {len(test_rows)} test, "
          f"{dropped}+{test_dropped} boxes without area dropped; {classes}; {parameters} parameters; {steps} steps", flush=True)
    if args.profile:
        return profile(args, model, optimizer, pictures, rows, classes, rng)

    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [round(steps * f) for f in (0.6, 0.9)], 0.1)
    test_pictures = load_pictures(root, test_rows)
    step, epoch, test_seconds, start = 0, 0, 0.0, time.perf_counter()
    while step < steps:
        began, sums = time.perf_counter(), {}
        for images, targets in batches(pictures, rows, classes, args.batch, rng):
            losses = train_step(model, optimizer, images, targets)
            schedule.step()
            step += 1
            sums = {k: sums.get(k, 0) + v for k, v in losses.items()}
            if step % args.log_every == 0:
                print(f"  step {step} " + " ".join(f"{k} {v:.3f}" for k, v in losses.items()), flush=True)
            if step == steps:
                break
        epoch += 1
        count = (step - 1) % per_epoch + 1
        print(f"epoch {epoch} {time.perf_counter() - began:.1f} s " +
              " ".join(f"{k} {v / count:.4f}" for k, v in sums.items()), flush=True)
        if args.eval_every and epoch % args.eval_every == 0 and step < steps:
            began = time.perf_counter()
            table, mean, _ = evaluate(model, test_pictures, test_rows, classes)
            test_seconds += time.perf_counter() - began
            print(f"  test {table} mAP {mean}", flush=True)
    train_seconds = time.perf_counter() - start - test_seconds
    table, mean, per_picture = evaluate(model, test_pictures, test_rows, classes)
    print(json.dumps({"framework": "torchvision", "map": mean, "ap": table, "epochs": round(steps / per_epoch, 2), "steps": steps,
                      "train_seconds": round(train_seconds, 1), "step_ms": round(1e3 * train_seconds / steps, 1),
                      "test_ms_per_picture": round(per_picture, 1), "threads": torch.get_num_threads(),
                      "rss_mb": round(peak_rss_mb()), "settings": vars(args)}))


if __name__ == "__main__":
    main()
