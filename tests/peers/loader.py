#!/usr/bin/env python3
"""Decoding of JPEG pictures beside Pillow and OpenCV, and how long a training waits for its pictures.

  python tests/peers/loader.py --frcnn build/release/apps/frcnn --pictures VOC2012/JPEGImages
  python tests/peers/loader.py --frcnn F --pictures DIR --train VOC2012 --steps 20

Files lie in memory; every contender decodes all of them to R, G, B bytes again and again for --seconds,
with one thread and with --threads (Pillow's and OpenCV's run in a pool: both leave Python's lock while
they decode). Before that the mean value of each picture is compared with Pillow's, to 0.5: decoders
differ by grey levels. Fresh processes in turn; medians of the rounds.

--train DATA: also trains the paper's VGG16 (random weights) for --steps steps on DATA, and prints the
share of the time that the model waited for pictures, from the run's log.csv, without the first step.

The last line is JSON. Needs Pillow, numpy; opencv-python-headless for its lines.
"""

import argparse
import csv
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

from alternate import finish, take_turns

ROOT = pathlib.Path(__file__).resolve().parents[2]
PEERS = ["pillow", "opencv"]


def decoder(name):
    import io

    import numpy as np
    if name == "opencv":
        import cv2
        cv2.setNumThreads(1)
        return lambda data: cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    from PIL import Image
    return lambda data: np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def worker(args):
    from concurrent.futures import ThreadPoolExecutor
    files = [file.read_bytes() for file in sorted(pathlib.Path(args.pictures).iterdir())]
    decode = decoder(args.worker)
    result = {"means": [float(decode(data).mean()) for data in files], "rows": []}
    for threads in sorted({1, args.threads}):
        with ThreadPoolExecutor(threads) as pool:
            times, begin = [], time.perf_counter()
            while len(times) < 3 or time.perf_counter() - begin < args.seconds:
                start = time.perf_counter()
                # The pixels of a part of the list are thrown away at once, as ours are.
                parts = [files[i::threads] for i in range(threads)]
                list(pool.map(lambda part: [decode(data).shape for data in part], parts))
                times.append(time.perf_counter() - start)
        result["rows"].append({"threads": threads, "pictures_per_second": len(files) / statistics.median(times)})
    print(json.dumps(result))


def compare(args):
    def theirs(peer):
        return finish([sys.executable, os.path.abspath(__file__), "--worker", peer, "--pictures", args.pictures,
                       "--threads", args.threads, "--seconds", args.seconds], args.threads).json()

    def ours():
        return finish([args.frcnn, "--threads", args.threads, "bench", "decode", args.pictures, "--seconds", args.seconds,
                       "--json"], args.threads).json()

    contenders = {"ours": ours, **{peer: lambda peer=peer: theirs(peer) for peer in PEERS}}
    rounds = take_turns(contenders, args.rounds)
    expected = rounds[0]["pillow"]["means"]
    for name in contenders:
        found = rounds[0][name]["means"]
        apart = max(abs(a - b) for a, b in zip(found, expected))
        if len(found) != len(expected) or not apart <= 0.5:
            raise SystemExit(f"{name}: the mean of a picture is {apart:.2f} from Pillow's")
    print(f"{len(expected)} pictures of {args.pictures}, pictures/s, median of {args.rounds} rounds (range):")
    table = {}
    for place, threads in enumerate(sorted({1, args.threads})):
        rates = {name: [r[name]["rows"][place]["pictures_per_second"] for r in rounds] for name in contenders}
        for name, values in rates.items():
            ratios = [a / b for a, b in zip(rates["ours"], values)]
            row = {"median": statistics.median(values), "range": [min(values), max(values)],
                   "ours_times": statistics.median(ratios)}
            table[f"{name}, {threads} threads"] = row
            print(f"  {name:8} {threads} thread{'s' if threads > 1 else ' '} {row['median']:8.4g} ({row['range'][0]:.4g} .. "
                  f"{row['range'][1]:.4g})   ours / this: {row['ours_times']:.2f}")
    return table


def waiting(args):
    """Share of the time that the training waited, and its pictures per second."""
    with tempfile.TemporaryDirectory() as folder:
        finish([args.frcnn, "--threads", args.threads, "train", ROOT / "configs/paper-vgg16.toml", "--data", args.train,
                "--out", f"{folder}/run", "--set", f"train.steps={args.steps}", "--set", "train.log_every=1",
                "--set", "optimizer.lr=1e-9",  # random weights would diverge at a useful rate
                *(word for setting in args.set for word in ("--set", setting))], args.threads)
        with open(f"{folder}/run/log.csv") as file:
            rows = list(csv.DictReader(file))[1:]
    share = statistics.mean(float(row["data_wait"]) for row in rows)
    most = max(float(row["data_wait"]) for row in rows)
    rate = statistics.median(float(row["images_per_second"]) for row in rows)
    print(f"training VGG16 on {args.train}: {len(rows)} steps, {rate:.3g} pictures/s, waited for pictures "
          f"{100 * share:.2f} % of the time (largest of a step {100 * most:.2f} %)")
    return {"steps": len(rows), "wait_share": share, "largest": most, "pictures_per_second": rate}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--frcnn", help="the program")
    parser.add_argument("--pictures", required=True, help="folder of JPEG files")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--train", help="data set for the wait share")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--set", nargs="*", default=[], help="settings of the training")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return worker(args)
    if not args.frcnn:
        parser.error("--frcnn is missing: the program to be compared")
    result = {"decoding": compare(args)}
    if args.train:
        result["training"] = waiting(args)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
