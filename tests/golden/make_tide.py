#!/usr/bin/env python3
"""Writes tide.h5: random cases and what the package tidecv (the TIDE paper's own program) says.

  pip install --no-deps tidecv; python make_tide.py
Without crowds: tidecv counts errors of ignored detections too, which data/detection_errors.h doesn't.
Without equal scores: tidecv ranks them in another order after a correction than before it.
"""
import os
import sys
from unittest import mock

import h5py
import numpy as np

# tidecv loads drawing packages that nothing here needs.
for name in ("cv2", "matplotlib", "matplotlib.pyplot", "matplotlib.lines",
             "matplotlib.patches", "seaborn", "pandas", "appdirs"):
    sys.modules.setdefault(name, mock.MagicMock())
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from make_coco_eval import random_case  # noqa: E402
from tidecv import TIDE, Data  # noqa: E402

KINDS = ["Cls", "Loc", "Both", "Dupe", "Bkg", "Miss"]  # order of ErrorKind


def reference(objects, detections, images, classes, right=0.5, background=0.1):
    """(14): mean AP, counts and dAP by kind, dAP of false positives; then of false negatives (15)."""
    truth, found = Data("truth"), Data("found")
    for data in (truth, found):
        for k in range(classes):
            data.add_class(k, str(k))
        for i in range(images):
            data.add_image(i, str(i))
    for o in objects:
        truth.add_ground_truth(int(o[0]), int(o[1]), [o[2], o[3], o[4] - o[2], o[5] - o[3]])
    for d in detections:
        found.add_detection(int(d[0]), int(d[1]), d[2], [d[3], d[4], d[5] - d[3], d[6] - d[4]])
    tide = TIDE(pos_threshold=right, background_threshold=background)
    run = tide.evaluate(truth, found, mode=TIDE.BOX)
    main = {k.short_name: v / 100 for k, v in run.fix_main_errors().items()}
    counts = {k.short_name: v for k, v in run.count_errors().items()}
    special = {k.short_name: v / 100 for k, v in run.fix_special_errors().items()}
    return np.array([run.ap / 100, *[counts[k] for k in KINDS], *[main[k] for k in KINDS],
                     special["FalsePos"], special["FalseNeg"]], float)


def tide_case(rng, images, classes, **options):
    """A random case without crowds and equal scores, with overlapping objects of several classes."""
    objects, detections = random_case(rng, images=images, classes=classes, crowds=0, **options)
    detections[:, 2] = np.float32(rng.permutation(len(detections)) + 1) / 65536
    shifted = objects[rng.random(len(objects)) < 0.3].copy()  # neighbours of another class
    shifted[:, 1] = (shifted[:, 1] + 1) % classes
    shifted[:, 2:6] += np.round(rng.normal(0, 4, (len(shifted), 1)) * 4) / 4
    return np.concatenate([objects, shifted]), detections


def main():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tide.h5")
    with h5py.File(path, "w", track_order=False) as file:
        for seed, images, classes in ((1, 10, 3), (2, 6, 5), (3, 12, 1)):
            objects, detections = tide_case(np.random.default_rng(seed), images, classes)
            group = file.create_group(str(seed))
            group.attrs["classes"], group.attrs["images"] = float(classes), float(images)
            for key, value in (("objects", objects), ("detections", detections)):
                group.create_dataset(key, data=value, compression="gzip")
            group["expected"] = reference(objects, detections, images, classes)
            print(seed, group["expected"][:].round(4).tolist())


if __name__ == "__main__":
    main()
