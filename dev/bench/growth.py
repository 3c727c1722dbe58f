#!/usr/bin/env python3
"""The table and the picture of how cost grows with the context, from the rows that gpu_growth.sh wrote.

    dev/bench/growth.py ROWS.jsonl PICTURE.svg > table.md

The exponent of a column is the slope of log(time) over log(tokens) by least squares over its last four contexts. The picture
needs matplotlib; without it only the table is made.
"""
import json
import math
import sys

COLUMNS = [  # title, name of the row, attention of a step, levels
    ("layer, dense, ms", "dense forward+backward", None),
    ("layer, Lighthouse, ms", "lighthouse forward+backward", None),
    ("`small` step, dense, ms", "step", "dense"),
    ("`small` step, Lighthouse, ms", "step", "lighthouse"),
]


def read(path):
    """{(column, levels, tokens): ms}"""
    times = {}
    with open(path) as file:
        for line in file:
            row = json.loads(line)
            for column, (_, name, attention) in enumerate(COLUMNS):
                if row["name"] == name and row.get("attention") == attention:
                    times[column, row.get("levels", 3), row["seq_len"]] = row["ms"]
    return times


def exponent(points):
    points = [(math.log(tokens), math.log(ms)) for tokens, ms in points[-4:]]
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points))
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
    return f"{slope:.2f}"


def number(ms):
    return "–" if ms is None else f"{ms:,.{max(0, 2 - int(math.log10(ms)))}f}"


def print_table(times):
    contexts = sorted({tokens for _, _, tokens in times})
    print("| tokens | " + " | ".join(title for title, _, _ in COLUMNS) + " | layer, dense over Lighthouse |")
    print("| ---: |" + " ---: |" * (len(COLUMNS) + 1))
    for levels in sorted({levels for _, levels, _ in times}):
        for tokens in contexts:
            row = [times.get((column, levels, tokens)) for column in range(len(COLUMNS))]
            if not any(row):
                continue
            dense = row[0] or times.get((0, 3, tokens))
            ratio = f"{dense / row[1]:.1f}×" if dense and row[1] else "–"
            name = f"{tokens:,}" + (f" (L {levels})" if levels != 3 else "")
            print(f"| {name} | " + " | ".join(map(number, row)) + f" | {ratio} |")
    curves = [[(t, times[c, 3, t]) for t in contexts if (c, 3, t) in times] for c in range(len(COLUMNS))]
    print("| exponent | " + " | ".join(exponent(curve) if len(curve) > 1 else "–" for curve in curves) + " | |")
    return curves


def draw(curves, path):
    try:
        import matplotlib
    except ImportError:
        print("matplotlib is missing: no picture", file=sys.stderr)
        return
    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(9, 3.6), sharex=True)
    for panel, title, first in zip(panels, ("one layer, forward + backward", "step of `small`, one sequence"), (0, 2)):
        for curve, name, colour in zip(curves[first : first + 2], ("dense", "Lighthouse"), ("#c44e52", "#4c72b0")):
            if curve:
                panel.loglog(*zip(*curve), "o-", label=name, color=colour)
        panel.set(title=title, xlabel="tokens", ylabel="ms")
        panel.set_xticks([1 << i for i in range(13, 21)], [f"{1 << i - 10}K" for i in range(13, 21)])
        panel.grid(alpha=0.3)
        panel.legend()
    figure.tight_layout()
    figure.savefig(path)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    draw(print_table(read(sys.argv[1])), sys.argv[2])


if __name__ == "__main__":
    main()
