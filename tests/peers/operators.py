#!/usr/bin/env python3
"""Operators on the CPU beside torch and torchvision: the same arrays, outputs compared, then times.

  python tests/peers/operators.py --frcnn build/release/apps/frcnn
  python tests/peers/operators.py --frcnn F --only "nms 12000" "roi_align backward 128" --rounds 7

The arrays of each case are written to an HDF5 file that every contender reads. First each computes
the outputs once; they must agree with torch's (labels and kept boxes exactly, numbers within the
rounding of their sums), or the script ends with status 1 before anything is timed. Then every round
starts each contender in a fresh process, in turn; a process measures for --seconds after a warm-up
and gives its median. The table shows the median of these, their range, and the ratio to torch's in
its fastest form, taken round by round.

Ours runs through `frcnn op`: maps lie in the layout that the network uses (channels in blocks of
16), torch's in NCHW and, where it has kernels for it, in channels-last. Torch's forms of the SGD
update are the loop over parameters, foreach and fused.

The last line is JSON. Needs torch, torchvision, numpy, h5py.
"""

import argparse
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

from alternate import finish, summary, take_turns

HEIGHT, WIDTH, STRIDE = 600, 800, 16
CHANNELS, MAP_H, MAP_W = 512, 37, 50


# ---- arrays, made with numpy alone so that all contenders can have them

def clipped(boxes):
    import numpy as np
    return np.clip(boxes, 0, [WIDTH, HEIGHT, WIDTH, HEIGHT]).astype(np.float32)


def anchors(rows=MAP_H, columns=MAP_W):
    """Nine per cell, as in the paper; (rows * columns * 9, 4)."""
    import numpy as np
    shapes = [(s * np.sqrt(1 / r), s * np.sqrt(r)) for s in (128, 256, 512) for r in (0.5, 1, 2)]
    y, x = np.meshgrid(np.arange(rows) * STRIDE + 8.0, np.arange(columns) * STRIDE + 8.0, indexing="ij")
    centres = np.stack([x, y], -1).reshape(-1, 1, 2)
    half = np.array(shapes).reshape(1, -1, 2) / 2
    return np.concatenate([centres - half, centres + half], -1).reshape(-1, 4).astype(np.float32)


def proposals(random, count):
    """Anchors moved and scaled a little: what a region proposal network gives."""
    import numpy as np
    base = np.concatenate([anchors()] * (1 + count // (MAP_H * MAP_W * 9)))
    base = base[random.permutation(len(base))[:count]]
    size = base[:, 2:] - base[:, :2]
    centre = (base[:, 2:] + base[:, :2]) / 2 + 0.1 * size * random.normal(size=(count, 2))
    size = size * np.exp(0.2 * random.normal(size=(count, 2)))
    boxes = clipped(np.concatenate([centre - size / 2, centre + size / 2], 1))
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 16)
    return boxes


def scattered(random, count):
    import numpy as np
    corner = random.uniform(0, 1, (count, 2)) * [WIDTH - 40, HEIGHT - 40]
    return clipped(np.concatenate([corner, corner + random.uniform(16, 160, (count, 2))], 1))


def regions(random, count):
    import numpy as np
    return np.concatenate([np.zeros((count, 1), np.float32), proposals(random, count)], 1)


def nms_arrays(count, like_rpn):
    def make(random):
        boxes = proposals(random, count) if like_rpn else scattered(random, count)
        # All scores differ: torch's sort is not stable, the order of equals would be its own.
        return {"boxes": boxes, "scores": random.permutation(count).astype("float32") / count}
    return make


def roi_arrays(count, backward=False):
    def make(random):
        arrays = {"x": random.normal(size=(1, CHANNELS, MAP_H, MAP_W)).astype("float32"),
                  "rois": regions(random, count)}
        if backward:
            arrays["d_y"] = random.normal(size=(count, CHANNELS, 7, 7)).astype("float32")
        return arrays
    return make


def pool_arrays(random):
    return {"x": random.normal(size=(1, 64, HEIGHT, WIDTH)).astype("float32")}


def match_arrays(count, objects):
    def make(random):
        import numpy as np
        base = anchors(rows=37, columns=62)  # 20,646 at 600x1000 pixels
        base = np.resize(base, (count, 4)) if count != len(base) else base
        return {"boxes": base, "truth": scattered(random, objects) * [1.25, 1, 1.25, 1]}
    return make


def sgd_arrays(count):
    def make(random):
        return {name: random.random(count, dtype="float32") - 0.5 for name in "gwv"}
    return make


# ---- the cases

class Case:
    def __init__(self, name, op, arrays, forms, goal, settings=(), passes=("forward",), outputs=None):
        self.name, self.op, self.arrays, self.forms, self.goal = name, op, arrays, forms, goal
        self.settings, self.passes, self.outputs = list(settings), passes, outputs or {}


BLOCKED = ["layout=blocked16"]
EXACT, ROUNDING = 0.0, 2e-5  # of the largest value of the array
CASES = (
    [Case(f"nms {n} {'proposals' if rpn else 'random'}", "nms", nms_arrays(n, rpn), ["torchvision"], 10,
          [f"max_keep={n}"], outputs={"kept": EXACT})
     for n in (12000, 6000) for rpn in (True, False)]
    + [Case(f"roi_pool {n}", "roi_pool", roi_arrays(n), ["torchvision"], 4, BLOCKED, outputs={"y": EXACT})
       for n in (300, 2000)]
    + [Case(f"roi_align {n}", "roi_align", roi_arrays(n), ["torchvision"], 4, BLOCKED, outputs={"y": ROUNDING})
       for n in (300, 2000)]
    + [Case(f"roi_align backward {n}", "roi_align", roi_arrays(n, True), ["torchvision"], 10, BLOCKED,
            ("backward",), {"d_x": ROUNDING}) for n in (128, 512)]
    + [Case(f"roi_pool backward {n}", "roi_pool", roi_arrays(n, True), ["torchvision"], None, BLOCKED,
            ("backward",), {"d_x": ROUNDING}) for n in (128, 512)]
    + [Case("max_pool 64x600x800", "max_pool", pool_arrays, ["nchw", "channels_last"], 5, BLOCKED,
            outputs={"y": EXACT}),
       Case("sgd 64 M numbers", "sgd", sgd_arrays(1 << 26), ["loop", "foreach", "fused"], 2.5,
            outputs={"w_new": ROUNDING, "v_new": ROUNDING}),
       Case("matching 20646 x 20", "iou_match", match_arrays(20646, 20), ["torchvision"], 3,
            passes=("overlaps", "labels"), outputs={"labels": EXACT}),
       Case("matching 20646 x 200", "iou_match", match_arrays(20646, 200), ["torchvision"], None,
            passes=("overlaps", "labels"), outputs={"labels": EXACT})]
)


# ---- torch, in its own process

def torch_step(case, form, arrays, torch):
    """What is timed, and the outputs of one run under our names."""
    from torchvision import ops
    given = {name: torch.from_numpy(value) for name, value in arrays.items()}
    if case.op == "nms":
        def step():
            return {"kept": ops.nms(given["boxes"], given["scores"], 0.7).to(torch.int32)}
    elif case.op in ("roi_pool", "roi_align"):
        backward = "d_y" in given
        x = given["x"].requires_grad_(backward)
        extra = {"sampling_ratio": 2} if case.op == "roi_align" else {}
        if not backward:
            def step():
                return {"y": getattr(ops, case.op)(x, given["rois"], (7, 7), 1 / STRIDE, **extra)}
        else:
            y = getattr(ops, case.op)(x, given["rois"], (7, 7), 1 / STRIDE, **extra)

            def step():
                return {"d_x": torch.autograd.grad(y, x, given["d_y"], retain_graph=True)[0]}
    elif case.op == "max_pool":
        x = given["x"]
        if form == "channels_last":
            x = x.contiguous(memory_format=torch.channels_last)

        def step():
            return {"y": torch.nn.functional.max_pool2d(x, 2)}
    elif case.op == "sgd":
        weights = torch.nn.Parameter(given["w"].clone())
        weights.grad = given["g"]
        sgd = torch.optim.SGD([weights], lr=0.001, momentum=0.9, weight_decay=0.0005,
                              foreach=form == "foreach", fused=form == "fused")
        sgd.state[weights]["momentum_buffer"] = velocity = given["v"].clone()

        def step():
            sgd.step()
            return {"w_new": weights.detach(), "v_new": velocity}
    else:
        from torchvision.models.detection._utils import Matcher
        matcher = Matcher(0.7, 0.3, allow_low_quality_matches=True)

        def step():
            matched = matcher(ops.box_iou(given["truth"], given["boxes"]))
            return {"labels": torch.where(matched >= 0, 1, torch.where(matched == -1, 0, -1)).to(torch.int32)}
    return step


def sample(step, seconds):
    """Median of runs for about so many seconds, at least three; milliseconds."""
    step()
    times, begin = [], time.perf_counter()
    while len(times) < 3 or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def worker(args):
    import contextlib

    import h5py
    import torch
    torch.set_num_threads(args.threads)
    case = next(c for c in CASES if c.name == args.worker)
    with h5py.File(args.case) as file:
        arrays = {name: file[name][()] for name in file}
    # Inference mode is torch's fastest; gradients and updates need more.
    mode = torch.inference_mode() if "d_y" not in arrays and case.op != "sgd" else contextlib.nullcontext()
    with mode:
        step = torch_step(case, args.form, arrays, torch)
        if args.results:
            results = {name: value.numpy() for name, value in step().items()}
            with h5py.File(args.results, "w") as file:
                for name, value in results.items():
                    file[name] = value
            print("{}")
            return
        print(json.dumps({"ms": sample(step, args.seconds), "torch": torch.__version__}))


# ---- comparison and alternation

class Bench:
    def __init__(self, args, case, folder):
        import h5py
        import numpy as np
        self.args, self.case, self.folder = args, case, folder
        self.file = folder / "case.h5"
        arrays = case.arrays(np.random.default_rng(1))
        with h5py.File(self.file, "w") as file:
            for name, value in arrays.items():
                file[name] = np.asarray(value, "float32")

    def theirs(self, form, results=None):
        command = [sys.executable, os.path.abspath(__file__), "--worker", self.case.name, "--form", form,
                   "--case", self.file, "--threads", str(self.args.threads), "--seconds", str(self.args.seconds)]
        return finish(command + (["--results", results] if results else []), self.args.threads).json().get("ms")

    def ours(self, results, measured=True):
        settings = [word for setting in self.case.settings for word in ("--set", setting)]
        command = [self.args.frcnn, "--threads", str(self.args.threads), "op", self.case.op, "--in", self.file,
                   "--out", results, "--seconds", str(self.args.seconds if measured else 1e-4), "--json", *settings]
        times = {p["pass"]: p["median_ms"] for p in finish(command, self.args.threads).json()["passes"]}
        return sum(times[name] for name in self.case.passes)

    def agree(self):
        """Raises SystemExit unless ours and torch's outputs agree; returns the largest difference."""
        import h5py
        import numpy as np
        ours, theirs = self.folder / "ours.h5", self.folder / "theirs.h5"
        self.ours(ours, measured=False)
        worst = 0.0
        for form in self.case.forms:
            self.theirs(form, theirs)
            with h5py.File(ours) as a, h5py.File(theirs) as b:
                for name, tolerance in self.case.outputs.items():
                    mine, other = a[name][()], b[name][()]
                    if name == "kept":  # one row, -1 behind the last
                        mine = mine[0][mine[0] >= 0]
                    if mine.shape != other.shape:
                        raise SystemExit(f"{self.case.name}: {name} is {mine.shape} here, {other.shape} in {form}")
                    error = float(np.abs(mine.astype("float64") - other).max() / max(1e-30, np.abs(other).max()))
                    if not error <= tolerance:
                        raise SystemExit(f"{self.case.name}: {name} differs by {error:.2e} of the largest value "
                                         f"from {form}, more than {tolerance:.0e}")
                    worst = max(worst, error)
        return worst

    def rounds(self):
        def timed(measure):
            return lambda: {"ms": measure()}
        contenders = {form: timed(lambda form=form: self.theirs(form)) for form in self.case.forms}
        contenders["ours"] = timed(lambda: self.ours(self.folder / "ours.h5"))
        return take_turns(contenders, self.args.rounds)


def summary_of(rounds):
    """Times of all, and how much faster ours is than the fastest other."""
    columns = summary(rounds)
    fastest = min((name for name in columns if name != "ours"), key=lambda name: columns[name]["median_ms"])
    return {"columns": columns, "fastest": fastest, "ratio": columns[fastest]["times_ours"],
            "ratio_range": columns[fastest]["times_ours_range"]}


def compare(args):
    cases = [case for case in CASES if not args.only or any(case.name.startswith(name) for name in args.only)]
    if not cases:
        raise SystemExit("no such case; there are: " + ", ".join(case.name for case in CASES))
    print(f"{'':26}{'ours ms':>9}{'range':>17}  {'torch ms (range), fastest form first':52}{'ratio':>7}{'range':>15}{'goal':>6}")
    results = []
    for case in cases:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            bench = Bench(args, case, pathlib.Path(folder))
            error = bench.agree()
            result = {"case": case.name, "goal": case.goal, "difference": error, **summary_of(bench.rounds())}
        results.append(result)
        columns = result["columns"]
        forms = sorted(case.forms, key=lambda form: form != result["fastest"])
        theirs = ", ".join(f"{form} {columns[form]['median_ms']:.4g} "
                           f"({columns[form]['range_ms'][0]:.4g}-{columns[form]['range_ms'][1]:.4g})" for form in forms)
        ours = columns["ours"]
        goal = "" if case.goal is None else f">= {case.goal:g}"
        low, high = result["ratio_range"]
        print(f"{case.name:26}{ours['median_ms']:>9.4g}{ours['range_ms'][0]:>9.4g}-{ours['range_ms'][1]:<8.4g} "
              f"{theirs:52}{result['ratio']:>7.2f}{f'{low:.2f}-{high:.2f}':>15}{goal:>8}", flush=True)
    print(json.dumps({"threads": args.threads, "rounds": args.rounds, "cases": results}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--frcnn", help="the program")
    parser.add_argument("--only", nargs="+", default=[], help="cases whose name begins with one of these")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="measuring time of a process")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", help="for the arrays; default: the system's folder for temporary files")
    for hidden in ("--worker", "--form", "--case", "--results"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        worker(args)
    elif not args.frcnn:
        parser.error("--frcnn is missing: the program to be compared")
    else:
        compare(args)


if __name__ == "__main__":
    main()
