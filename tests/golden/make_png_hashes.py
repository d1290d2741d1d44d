#!/usr/bin/env python3
"""Writes png_hashes.txt: what every PNG of the stb_image test set decodes to as 8-bit RGB.

Decodes with zlib and numpy (PNG specification, 2nd edition, sections 7 to 12): samples of 16 bits
keep their high byte, gray is repeated, palettes are looked up, alpha is dropped. Before that the
picture in its own channels is compared with the hash of ref_results.csv (FNV-1a, 32 bits), so that
both agree on every file.

Lines: path width height hash, or path and "error" for a file that is refused.
Usage: make_png_hashes.py <folder tests/ of the set, with pngsuite/ref_results.csv>
"""
import csv
import os
import struct
import sys
import zlib

import numpy as np

ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
         (1, 0, 2, 1)]  # first row, first column, step of rows, step of columns
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def fnv1a(data):
    h = 0x811C9DC5
    for byte in data:
        h = (h ^ byte) * 0x01000193 & 0xFFFFFFFF
    return h


def unfilter(raw, at, rows, row_bytes, step):
    """Filtered rows to bytes: (rows, row_bytes), and where the next pass begins."""
    out = np.zeros((rows, row_bytes), np.uint8)
    above = [0] * row_bytes
    for y in range(rows):
        kind, line = raw[at], list(raw[at + 1:at + 1 + row_bytes])
        at += 1 + row_bytes
        for i in range(row_bytes):
            a = line[i - step] if i >= step else 0
            b, c = above[i], above[i - step] if i >= step else 0
            if kind == 1:
                line[i] = line[i] + a & 255
            elif kind == 2:
                line[i] = line[i] + b & 255
            elif kind == 3:
                line[i] = line[i] + (a + b) // 2 & 255
            elif kind == 4:
                p = a + b - c
                pa, pb, pc = abs(p - a), abs(p - b), abs(p - c)
                line[i] = line[i] + (a if pa <= pb and pa <= pc else b if pb <= pc else c) & 255
        out[y] = line
        above = line
    return out, at


def samples(lines, width, bits, channels):
    """Unpacked samples of the rows of a pass, (rows, width, channels), at most 8 bits."""
    if bits == 16:
        return lines.reshape(len(lines), width, channels, 2)[..., 0]
    if bits == 8:
        return lines.reshape(len(lines), width, channels)
    each = np.unpackbits(lines, axis=1).reshape(len(lines), -1, bits)
    values = each @ (1 << np.arange(bits)[::-1])
    return values[:, :width, None].astype(np.uint8)


def decode(path):
    """(height, width, channels), the own channels of the picture with palettes looked up."""
    data = open(path, "rb").read()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, packed, palette, see_through, apple = 8, b"", None, None, False
    while True:
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + size]
        at += size + 12
        if kind == b"IHDR":
            width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", body)
        elif kind == b"CgBI":
            apple = True
        elif kind == b"PLTE":
            palette = np.frombuffer(body, np.uint8).reshape(-1, 3)
        elif kind == b"tRNS":
            see_through = body
        elif kind == b"IDAT":
            packed += body
        elif kind == b"IEND":
            break
    raw = zlib.decompressobj(-15 if apple else 15).decompress(packed)
    channels = CHANNELS[colour]
    step = max(1, bits * channels // 8)
    picture = np.zeros((height, width, channels), np.uint8)
    at = 0
    for y0, x0, dy, dx in ADAM7 if interlaced else [(0, 0, 1, 1)]:
        rows, columns = -(-(height - y0) // dy), -(-(width - x0) // dx)
        if rows <= 0 or columns <= 0:
            continue
        lines, at = unfilter(raw, at, rows, -(-columns * bits * channels // 8), step)
        picture[y0::dy, x0::dx] = samples(lines, columns, bits, channels)
    if colour == 3:
        table = np.zeros((256, 4), np.uint8)
        table[:len(palette), :3] = palette
        table[:, 3] = 255
        if see_through is not None:
            table[:len(see_through), 3] = np.frombuffer(see_through, np.uint8)
        return table[picture[..., 0]][..., :4 if see_through is not None else 3]
    if colour == 0 and bits < 8:
        picture = picture * (255 // ((1 << bits) - 1))
    if see_through is not None:  # a colour that is transparent: alpha, which is dropped again
        picture = np.concatenate([picture, np.full_like(picture[..., :1], 255)], axis=2)
    return picture


def is_apple(path):
    """CgBI: blue, green, red; ref_results.csv has them as they are."""
    return open(path, "rb").read()[12:16] == b"CgBI"


def main():
    root = sys.argv[1]
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "png_hashes.txt")
    checked = 0
    with open(path, "w") as out:
        for row in csv.DictReader(open(os.path.join(root, "pngsuite", "ref_results.csv"))):
            name = row["filename"]
            if row["error"]:
                out.write(f"{name} error\n")
                continue
            own = decode(os.path.join(root, name))
            assert own.shape == (int(row["height"]), int(row["width"]), int(row["ncomp"])), name
            if own.shape[2] % 2 == 1 or b"tRNS" not in open(os.path.join(root, name), "rb").read():
                assert fnv1a(own.tobytes()) == int(row["hash"], 16), name
                checked += 1
            if is_apple(os.path.join(root, name)):
                own = own[..., [2, 1, 0, 3]]
            colours = own[..., :1].repeat(3, axis=2) if own.shape[2] < 3 else own[..., :3]
            out.write(f"{name} {own.shape[1]} {own.shape[0]} {fnv1a(colours.tobytes()):08x}\n")
    print(path, checked, "compared with ref_results.csv")


if __name__ == "__main__":
    main()
