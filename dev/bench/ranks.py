#!/usr/bin/env python3
"""The table of steps on several GPUs against one, from the rows that gpu_ranks.sh wrote.

    dev/bench/ranks.py FOLDER

On slices: "expected" is one GPU's step on one slice whose attention is replaced by that of the whole sequence's rows and this
rank's heads, measured by itself; the rest of a step on slices is what the ranks wait for each other, and what packs rows.
"""
import json
import os
import sys

LAYERS, DENSE = 30, 4  # of 530m
LIGHTHOUSE_PARTS = ("sdpa of S rows", "sdpa of S rows backward")


def read(folder, name):
    path = os.path.join(folder, name + ".jsonl")
    if not os.path.exists(path):
        return []
    with open(path) as file:
        return [json.loads(line) for line in file]


def ms(rows, name, attention=None):
    return sum(row["ms"] for row in rows if row["name"] == name and row.get("attention") == attention)


def attention_ms(rows, attention):
    """All attention products of a step, a dense layer at a time or of S rows."""
    dense = DENSE if attention == "lighthouse" else LAYERS
    gathered = sum(ms(rows, part) for part in LIGHTHOUSE_PARTS)
    return dense * ms(rows, "dense forward+backward") + (LAYERS - dense) * gathered


def main():
    folder = sys.argv[1]
    layer, share, step = (read(folder, name) for name in ("layer", "layer_share", "step"))
    data, context, long = (read(folder, name) for name in ("step_data", "step_context", "step_long"))
    print("| 530m | one GPU, ms | ranks | ms | expected, ms | of it | waiting for ranks, ms |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for attention in ("lighthouse", "dense"):
        alone = ms(step, "step", attention)
        for what, rows in (("own sequences", data), ("slices", context)):
            expected = alone
            if rows is context:
                expected += attention_ms(share, attention) - attention_ms(layer, attention)
            took = ms(rows, "step", attention)
            waits = ms(rows, "waiting for other ranks", attention)
            print(f"| {attention} | {alone:.1f} | {rows[0]['ranks']}, {what} | {took:.1f} | {expected:.1f} "
                  f"| {100 * took / expected:.1f} % | {waits:.1f} |")
    if long:
        took, waits = ms(long, "step", "lighthouse"), ms(long, "waiting for other ranks", "lighthouse")
        print(f"| lighthouse, {long[0]['seq_len']:,} tokens | | {long[0]['ranks']}, slices | {took:.1f} | | | {waits:.1f} |")
    for name, rows in (("one GPU", step), ("own sequences", data), ("slices", context)):
        for attention in ("lighthouse", "dense"):
            parts = [f"{row['name']} {row['ms']:.1f}" for row in rows
                     if row.get("attention") == attention and "timed_ms" not in row]
            print(f"\n{name}, {attention}, ms: " + ", ".join(parts))


if __name__ == "__main__":
    main()
