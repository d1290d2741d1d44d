#!/usr/bin/env python3
"""Writes png_rows.h5: the first row of some PngSuite pictures as 8-bit RGB, decoded by Pillow (or
numpy, for 16 bits: the high byte), without alpha.

Usage: make_png_rows.py <folder of PngSuite with primary/ and 16bit/>
"""
import os
import sys

import h5py
import numpy as np
from PIL import Image

PRIMARY = ["basn0g01", "basn0g08", "basn2c08", "basn3p04", "basn4a08", "basn6a08", "basi3p08"]
DEEP = ["basn0g16", "basi0g16"]  # Pillow keeps all bits of gray only


def main():
    folder = sys.argv[1]
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "png_rows.h5")
    with h5py.File(path, "w") as file:
        for name in PRIMARY:
            image = Image.open(os.path.join(folder, "primary", name + ".png"))
            file[name] = np.asarray(image.convert("RGB"), np.int64)[0]
        for name in DEEP:
            image = Image.open(os.path.join(folder, "16bit", name + ".png"))
            row = np.asarray(image).astype(np.int64)[0] >> 8
            file[name] = np.repeat(row[:, None], 3, axis=1)
        print(path, len(file))


if __name__ == "__main__":
    main()
