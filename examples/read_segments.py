"""Read the segments of a run with NumPy and the standard library alone: python read_segments.py RUN/segments gradients

docs/segments.md describes the bytes. Digests are BLAKE3, which neither has, so they are not compared here: `lockstep
runs check RUN` does.
"""

import json
import struct
import sys
from pathlib import Path

import numpy as np

HEAD = struct.Struct("<8sQQQ")  # tag, two numbers, length of the body; all little-endian
SEAL = 32  # bytes of a digest behind each body


def records(path):
    """(tag, first number, second number, body) of each whole record of a file."""
    data = path.read_bytes()
    place = 0
    while place + HEAD.size + SEAL <= len(data):
        tag, one, two, length = HEAD.unpack_from(data, place)
        start = place + HEAD.size
        place = start + length + SEAL
        if place <= len(data):  # the last record of a run that was killed may be cut
            yield tag, one, two, data[start : start + length]


def frames(folder, name):
    """(step, columns) of a segment, step by step; columns are arrays by name, rows along the first axis."""
    for path in sorted(Path(folder).glob(f"{name}.[0-9][0-9][0-9][0-9][0-9][0-9].seg")):
        for tag, step, rows, body in records(path):
            if tag == b"LSSCHEM1":
                schema = json.loads(body)["columns"]
                continue
            columns, place = {}, 0
            for column, dtype, shape in schema:
                count = rows * int(np.prod(shape, dtype=np.int64))
                columns[column] = np.frombuffer(body, dtype, count, place).reshape(rows, *shape)
                place += -(-columns[column].nbytes // 8) * 8  # each column ends at a multiple of 8
            yield step, columns


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python read_segments.py RUN/segments NAME")
    for step, columns in frames(sys.argv[1], sys.argv[2]):
        print(step, {column: (array.dtype.str, array.shape) for column, array in columns.items()})
