#!/usr/bin/env python3
"""From nothing to the detections of one small picture, beside torchvision; and what has to be installed.

  python tests/peers/startup.py --frcnn build/release/apps/frcnn
  python tests/peers/startup.py --frcnn F --model RUN --picture photo.png --rounds 30

Without --model, the quick start's detector is trained for one step on drawn shapes of 128x128 pixels
(`frcnn synth`), and one of them is the picture. Whole processes take turns, each timed from outside
until it has ended: `frcnn detect MODEL PICTURE --json`, `frcnn --version` (loading the program and its
libraries), torchvision's FasterRCNN around the same weights in Python (tests/peers/torchvision_model.py),
and the import of torch and torchvision alone. Medians over the rounds; all use --threads threads.

Sizes: the program, the shared libraries that it loads, and the folders of the Python packages that the
other way needs. The last line is JSON. Needs torch, torchvision, safetensors.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

from alternate import finish, print_table, summary, take_turns

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent


def make_detector(frcnn, folder):
    run = lambda *words: subprocess.run([frcnn, *map(str, words)], check=True, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
    run("synth", "--out", folder / "shapes", "--images", 20, "--width", 128, "--height", 128, "--seed", 3)
    run("train", ROOT / "configs/quickstart.toml", "--data", folder / "shapes", "--out", folder / "run",
        "--set", "train.steps=1", "--set", "train.checkpoint_every=1", "--set", "roi.hidden=[64, 64]")
    return folder / "run", sorted((folder / "shapes/JPEGImages").iterdir())[0]


def library_bytes(program):
    """Sizes of the shared libraries that a program loads, largest first."""
    lines = subprocess.run(["ldd", program], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    files = {pathlib.Path(line.split("=>")[1].split()[0]).resolve() for line in lines if "=> /" in line}
    return sorted(((file.stat().st_size, file.name) for file in files), reverse=True)


def folder_bytes(folder):
    return sum(file.stat().st_size for file in pathlib.Path(folder).rglob("*") if file.is_file())


def python_packages():
    """Sizes of the packages of this Python that the other way needs."""
    import importlib.util
    sizes = {}
    for name in ("torch", "torchvision", "numpy", "safetensors"):
        found = importlib.util.find_spec(name)
        if found:
            sizes[name] = folder_bytes(pathlib.Path(found.origin).parent)
    return sizes


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--frcnn", required=True, help="the program")
    parser.add_argument("--model", help="checkpoint or run folder")
    parser.add_argument("--picture")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        model, picture = (args.model, args.picture) if args.model else make_detector(args.frcnn, folder)
        frcnn = [args.frcnn, "--threads", args.threads]
        exported = folder / "torchvision.safetensors"
        finish([*frcnn, "export", model, "--format", "torchvision", "--approximate", "--out", exported], args.threads)
        ours = [*frcnn, "detect", model, picture, "--json"]
        commands = {
            "frcnn detect": ours,
            "frcnn --version": [args.frcnn, "--version"],
            "torchvision detect": [sys.executable, HERE / "torchvision_model.py", exported, picture],
            "import torch, torchvision": [sys.executable, "-c", "import torch, torchvision"],
        }

        def measure(command):
            done = finish(command, args.threads, quiet=True)
            if isinstance(done, str):
                raise SystemExit(done)
            return {"ms": 1e3 * done.seconds, "peak_mb": done.peak_mb}

        contenders = {name: lambda command=command: measure(command) for name, command in commands.items()}
        take_turns(contenders, 1)  # the files are in memory from here on
        rows = summary(take_turns(contenders, args.rounds), ours="frcnn detect")
    print_table(f"whole processes, {args.threads} threads", rows)
    libraries = library_bytes(args.frcnn)
    sizes = {"program": pathlib.Path(args.frcnn).stat().st_size, "libraries": sum(size for size, _ in libraries),
             "packages": python_packages()}
    print(f"\nprogram {sizes['program'] / 1e6:.1f} MB, its {len(libraries)} shared libraries "
          f"{sizes['libraries'] / 1e6:.1f} MB (" + ", ".join(f"{name} {size / 1e6:.1f}" for size, name in libraries[:4])
          + ", ...)\nPython packages: " + ", ".join(f"{n} {s / 1e6:.1f} MB" for n, s in sizes["packages"].items()))
    print(json.dumps({"threads": args.threads, "rounds": args.rounds, "rows": rows, "bytes": sizes}))


if __name__ == "__main__":
    main()
