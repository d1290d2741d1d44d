"""Time and memory of reading a COCO annotation file as large as instances_train2017.json: this
program's reader beside Python's json and pycocotools.

    ninja -C build/release read_coco
    python tests/peers/coco_reading.py build/release/tests/read_coco [FILE.json]

Without FILE it writes one of 118,287 pictures and 860,001 annotations with polygons, about 450 MB,
to a temporary folder. Each reader runs in a process of its own; needs pycocotools.
"""
import json
import os
import random
import subprocess
import sys
import tempfile

PICTURES, ANNOTATIONS, CATEGORIES = 118_287, 860_001, 80

READERS = {
    "json.load": "import json; d = json.load(open(path)); n = len(d['images']), len(d['annotations'])",
    "pycocotools": "import contextlib, os\n"
                   "with contextlib.redirect_stdout(open(os.devnull, 'w')):\n"
                   "    from pycocotools.coco import COCO\n"
                   "    c = COCO(path)\n"
                   "n = len(c.imgs), len(c.anns)",
}
PROGRAM = """
import sys, time
path = sys.argv[1]
start = time.perf_counter()
{}
seconds = time.perf_counter() - start
peak = next(l.split()[1] for l in open('/proc/self/status') if l.startswith('VmHWM'))
print(f'{{seconds:.3f}} {{peak}} {{n[0]}} {{n[1]}}')
"""


def make(path):
    """Members and number formats as in the real file: no line ends, polygons of two digits."""
    numbers = random.Random(1)
    with open(path, "w") as out:
        out.write('{"info": {"description": "generated"}, "licenses": [], "images": [')
        for i in range(PICTURES):
            entry = {"license": 3, "file_name": f"{i * 5 + 9:012}.jpg", "coco_url":
                     f"http://images.example.org/train2017/{i * 5 + 9:012}.jpg", "height": 480,
                     "width": 640, "date_captured": "2013-11-14 11:18:45", "flickr_url":
                     f"http://farm.example.org/{i}.jpg", "id": i * 5 + 9}
            out.write((", " if i else "") + json.dumps(entry))
        out.write('], "annotations": [')
        for k in range(ANNOTATIONS):
            x, y = numbers.uniform(0, 500), numbers.uniform(0, 400)
            w, h = numbers.uniform(2, 139), numbers.uniform(2, 79)
            crowd = k % 90 == 0
            if crowd:
                shape = {"counts": [numbers.randrange(400) for _ in range(150)], "size": [480, 640]}
            else:
                shape = [[round(c + s * numbers.random(), 2) for _ in range(19)
                          for c, s in ((x, w), (y, h))]]
            entry = {"segmentation": shape, "area": round(w * h * 0.6, 4), "iscrowd": int(crowd),
                     "image_id": numbers.randrange(PICTURES) * 5 + 9,
                     "bbox": [round(v, 2) for v in (x, y, w, h)],
                     "category_id": 1 + k % CATEGORIES, "id": 900_000 + k}
            out.write((", " if k else "") + json.dumps(entry))
        out.write('], "categories": ')
        json.dump([{"supercategory": "thing", "id": k + 1, "name": f"class {k + 1}"}
                   for k in range(CATEGORIES)], out)
        out.write("}")


def main():
    reader = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        path = sys.argv[2] if len(sys.argv) > 2 else os.path.join(folder, "instances_made.json")
        if len(sys.argv) <= 2:
            make(path)
        print(f"{os.path.getsize(path) / 1e6:.0f} MB")
        commands = {"frcnn": [reader, path]}
        for name, text in READERS.items():
            commands[name] = [sys.executable, "-c", PROGRAM.format(text), path]
        for name, command in commands.items():
            runs = [subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
                    for _ in range(3)]
            best = min(runs, key=lambda run: float(run[0]))
            print(f"{name:12} {float(best[0]):6.2f} s  {int(best[1]) / 1024:6.0f} MiB  "
                  f"pictures {best[2]}, annotations {' + '.join(best[3:])}")


if __name__ == "__main__":
    main()
