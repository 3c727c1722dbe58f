#!/usr/bin/env python3
"""Draws the loss of a run through both stages from its log.jsonl: plot_loss.py RUN OUT.png|OUT.svg   (needs matplotlib)"""
import json
import pathlib
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

SMOOTH = 20  # steps of the running mean


def read_log(run):
    steps, events = [], []
    for line in (pathlib.Path(run) / "log.jsonl").read_text().splitlines():
        row = json.loads(line)
        (events if "event" in row else steps).append(row)
    return steps, events


def running_mean(values, width):
    means = []
    for i in range(len(values)):
        part = values[max(0, i - width + 1) : i + 1]
        means.append(sum(part) / len(part))
    return means


def main(run, out):
    steps, events = read_log(run)
    figure, axes = plt.subplots(figsize=(8, 3.6), dpi=150)
    losses = running_mean([s["loss"] for s in steps], SMOOTH)
    colours = {"lighthouse": "#d98200", "dense": "#2b5fa8"}
    axes.plot([s["step"] for s in steps], [s["loss"] for s in steps], color="#cccccc", linewidth=0.6, label="every step")
    for stage, colour in colours.items():
        points = [(s["step"], loss) for s, loss in zip(steps, losses) if s["attention"] == stage]
        if points:
            axes.plot(*zip(*points), color=colour, linewidth=1.8, label=f"training, {stage} (mean of {SMOOTH})")
        points = [(e["step"], e["loss"]) for e in events if e["event"] == "validation" and e["attention"] == stage]
        if points:
            axes.plot(*zip(*points), "o", color=colour, markersize=4, label=f"validation, {stage}")
    stages = [s["attention"] for s in steps]
    if stages[0] != stages[-1]:
        axes.axvline(steps[stages.index(stages[-1])]["step"] - 0.5, color="#666666", linestyle="--", linewidth=0.8)
    axes.set_xlabel("step")
    axes.set_ylabel("loss, nats a byte")
    axes.set_ylim(top=min(max(losses[len(losses) // 20 :]) * 1.1, max(s["loss"] for s in steps)))
    axes.legend(frameon=False, fontsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(out)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
