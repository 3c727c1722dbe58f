"""Files in pieces that can be read by themselves, and parts made of them."""
import os
import random
import sys

from tokenize_lib.inputs import BLOCK, kind_of, open_plain
from tokenize_lib.refused import DATA, Refused, USAGE

RANGE = 64 << 20  # bytes of a plain file of JSON lines that make a unit


def units_of(path):
    """Pieces of a file that can be read by themselves: (kind, compression, path, from, to, bytes)."""
    kind, packed = kind_of(path)
    size = os.path.getsize(path)
    if kind == "parquet":
        import pyarrow.parquet
        meta = pyarrow.parquet.ParquetFile(path).metadata
        return [(kind, "", path, i, i + 1, meta.row_group(i).total_byte_size) for i in range(meta.num_row_groups)]
    if kind == "lines" and not packed:
        return [(kind, "", path, at, min(at + RANGE, size), min(RANGE, size - at)) for at in range(0, size, RANGE)]
    return [(kind, packed, path, 0, size, size)]


def check_texts(args, units):
    """A readme is easily taken for text that is wanted; and a text has no fields."""
    texts = sorted({unit[2] for unit in units if unit[0] == "text"})
    if args.field != "text" and units and all(unit[0] == "text" for unit in units):
        raise Refused(USAGE, f"--field {args.field} is for tables and JSON lines, and no input is one")
    if texts and any(unit[0] != "text" for unit in units):
        print(f"plain text beside tables or JSON lines, a document each: {', '.join(texts[:5])}"
              f"{f' and {len(texts) - 5} more' if len(texts) > 5 else ''}", file=sys.stderr)


def make_parts(args, files):
    """Units in an order of the seed, so that a part holds documents from everywhere."""
    try:
        units = []
        for path in files:
            units += units_of(path)
    except Refused:
        raise
    except Exception as error:  # of pyarrow
        raise Refused(DATA, f"input {path} cannot be read: {error}") from None
    check_texts(args, units)
    random.Random(args.seed).shuffle(units)
    total = sum(unit[5] for unit in units)
    share = total / max(1, round(total / args.part_bytes))  # no part is much smaller than others
    parts, filled = [[]], 0
    for unit in units:
        if parts[-1] and filled + unit[5] / 2 > share * len(parts):
            parts.append([])
        parts[-1].append(unit)
        filled += unit[5]
    return parts


def line_blocks(unit):
    """Whole lines of a unit, some at a time. A plain range has those that begin in it."""
    _, packed, path, start, stop, _ = unit
    with open_plain(path, packed) as file:
        if start:
            file.seek(start - 1)
            file.readline()
        at = file.tell() if not packed else 0
        while packed or at < stop:
            block = file.read(BLOCK if packed else min(BLOCK, stop - at))
            if not block:
                return
            block += file.readline() if not block.endswith(b"\n") else b""
            at += len(block)
            yield block


def tasks_of(unit):
    """What workers are given: (kind, unit, bytes of lines)."""
    if unit[0] != "lines":
        yield unit[0], unit, b""
        return
    try:
        for block in line_blocks(unit):
            yield "lines", unit, block
    except Exception as error:  # of gzip, of pyarrow
        raise Refused(DATA, f"input {unit[2]}: {error}") from None
