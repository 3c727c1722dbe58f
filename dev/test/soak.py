#!/usr/bin/env python3
"""A long run that is stopped at random, again and again, against one that nobody stopped.

  soak.py PROGRAM [--steps N] [--stops K] [--early E] [--every C] [--seed S] [--device D] [-- OPTION of train...]

Two runs of a very small model over N steps, both stages, with a save every C steps, the last two kept, and
validations. One is left alone, and watched: its memory, its open descriptors and the files of its folder must not
grow. The other gets SIGTERM, SIGINT, SIGUSR1 or SIGKILL K times at random steps, and E times a moment after its
start; it goes on with --resume auto. Both must end in the same bits. Prints what it has seen; status 1 where something
is wrong.
"""
import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

LOOKS = 60  # at a run, or it cannot be told whether anything grows
STATUSES = {0, 75, -signal.SIGTERM, -signal.SIGINT, -signal.SIGUSR1, -signal.SIGKILL}
MEMORY = 2 << 20  # bytes between the most of the second third of the run and of the last that are no growth


def fail(text):
    print(f"soak: {text}", file=sys.stderr)
    sys.exit(1)


# ---- What is trained


def make_data(program):
    os.mkdir("text")
    for i in range(40):
        with open(f"text/{i}.txt", "w") as file:
            for line in range(60):
                file.write(f"{(i * 37 + line * 11) % 1000} the quick brown fox jumps over the lazy dog.\n")
    subprocess.run([program, "pack", "text", "--out", "data", "--val-fraction", "0.2"], check=True, stdout=subprocess.DEVNULL)


def command(program, options, run):
    words = f"""train --out {run} --resume auto --data data/train_*.bin --val data/val_*.bin --steps {options.steps}
        --switch-at {options.steps // 10} --checkpoint-every {options.every} --keep 2 --val-every {2 * options.every + 1}
        --val-batches 2 --log-every 100000 --device {options.device} --layers 3 --dim 64 --heads 1 --kv-heads 1 --head-dim 64
        --ffn 64 --vocab 264 --dense-layers 0 --levels 2 --pool 2 --topk 128 --global-batch 2 --lr 3e-3 --warmup 10"""
    if "--seq-len" not in options.train:
        words += " --seq-len 256"
    return [program, *words.split(), *options.train]


# ---- What is seen of it


def resident(process):
    """Bytes of its own: pages of libraries come and go with the page cache."""
    with open(f"/proc/{process}/statm") as file:
        _, resident, shared, *_ = map(int, file.read().split())
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")


def files_below(folder):
    return sum(len(files) + len(folders) for _, folders, files in os.walk(folder))


class Watch:
    """Memory, descriptors and files of a run, looked at again and again."""

    def __init__(self, run):
        self.run, self.seen = run, []

    def look(self, process):
        try:
            look = resident(process), len(os.listdir(f"/proc/{process}/fd")), files_below(self.run)
        except (OSError, IndexError):  # it has ended meanwhile
            return
        if look[0] > 0:  # else it is about to end, with nothing left to look at
            self.seen.append(look)

    def third(self, what, which):
        """One of the three in a third of the run (0, 1, 2): of memory the most; of the others, of which a save has some more, the least."""
        size = len(self.seen) // 3
        seen = [look[what] for look in self.seen[which * size : (which + 1) * size]]
        return max(seen) if what == 0 else min(seen)


def last_step(run):
    """Of the log's last whole line of a step; 0 where there is none."""
    try:
        with open(f"{run}/log.jsonl", "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 4096))
            lines = file.read().split(b"\n")[:-1]
    except OSError:
        return 0
    steps = [line for line in lines if line.startswith(b'{"step":')]
    return int(steps[-1][len(b'{"step":') :].split(b",")[0]) if steps else 0


# ---- The runs


def start(program, options, run):
    with open("console", "a") as console:
        return subprocess.Popen(command(program, options, run), stdout=console, stderr=console)


def run_once(program, options):
    began, watch = time.monotonic(), Watch("whole")
    process = start(program, options, "whole")
    while process.poll() is None:
        watch.look(process.pid)
        time.sleep(0.005)
    if process.returncode != 0:
        fail(f"the run that nobody stopped ended with status {process.returncode}")
    return watch, time.monotonic() - began


def run_whole(program, options):
    """Once more where this process was given too little time to look."""
    for _ in range(5):
        watch, seconds = run_once(program, options)
        if len(watch.seen) >= LOOKS:
            return watch, seconds
        shutil.rmtree("whole")
    return fail(f"only {len(watch.seen)} looks at a run: give it more --steps")


def run_broken(program, options, chance):
    """Gives a watch, the numbers of ends by their status, and the longest time from a signal to be heeded to the end."""
    watch, ends, slowest = Watch("broken"), {}, 0.0
    at = sorted(chance.randrange(1, options.steps) for _ in range(options.stops))
    stops = [("step", step) for step in at] + [("moment", chance.uniform(0, 0.5)) for _ in range(options.early)]
    early = [stop for stop in stops if stop[0] == "moment"]
    stops = [stop for stop in stops if stop[0] == "step"]
    for stop in early:  # somewhere among the others
        stops.insert(chance.randrange(len(stops) + 1), stop)
    for kind, when in stops + [("step", options.steps + 1)]:
        process, began = start(program, options, "broken"), time.monotonic()
        number = chance.choice([signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGKILL])
        pause, twice = chance.uniform(0, 0.03), chance.random() < 0.1
        while process.poll() is None:
            watch.look(process.pid)
            if time.monotonic() - began >= when if kind == "moment" else last_step("broken") >= when:
                break
            time.sleep(0.005)
        sent = time.monotonic()
        if process.poll() is None:
            time.sleep(pause)
            process.send_signal(number)
            if twice:
                time.sleep(pause)
                process.send_signal(signal.SIGTERM)
            sent = time.monotonic()
        status = process.wait()
        if status not in STATUSES:
            fail(f"a start ended with status {status}")
        if status == 75:
            slowest = max(slowest, time.monotonic() - sent)
        ends[status] = ends.get(status, 0) + 1
    if ends.get(0, 0) == 0:
        fail(f"the run is not done after {sum(ends.values())} starts")
    return watch, ends, slowest


# ---- What must hold


def expect_no_growth(watch):
    for what, name, allowed in [(0, "memory", MEMORY), (1, "descriptors", 0), (2, "files", 0)]:
        before, after = watch.third(what, 1), watch.third(what, 2)
        if after > before + allowed:
            fail(f"{name} grow: {before} in the second third of the run, {after} in the last")


def log_of(run):
    """Steps and validations without what they took."""
    with open(f"{run}/log.jsonl") as file:
        lines = file.read().splitlines()
    steps = [line.split(',"tok_per_s"')[0] for line in lines if line.startswith('{"step":')]
    return steps, [line.split(',"seconds"')[0] for line in lines if '"validation"' in line]


def expect_same(options):
    last = f"step_{options.steps:08}"
    for name in ["model.safetensors", "trainer/optimizer.safetensors"]:
        with open(f"whole/{last}/{name}", "rb") as one, open(f"broken/{last}/{name}", "rb") as other:
            if one.read() != other.read():
                fail(f"{name} differs")
    (steps, validations), (other_steps, other_validations) = log_of("whole"), log_of("broken")
    if steps != other_steps or len(steps) != options.steps:
        fail("the steps of the logs differ")
    if validations != other_validations:
        odd = sorted(set(validations) ^ set(other_validations)) or "in their order or number"
        fail(f"the validations of the logs differ: {odd}")
    if files_below("whole") != files_below("broken"):  # of the checkpoints before the last, names may differ
        fail(f"files are left: {sorted(os.listdir('broken'))}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--steps", type=int, default=10000)
    parser.add_argument("--stops", type=int, default=60)
    parser.add_argument("--early", type=int, default=20)
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    words = sys.argv[1:]
    cut = words.index("--") if "--" in words else len(words)
    options = parser.parse_args(words[:cut])
    options.train = words[cut + 1 :]
    program = os.path.realpath(options.program)
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        make_data(program)
        try:
            whole, seconds = run_whole(program, options)
            _, ends, slowest = run_broken(program, options, random.Random(options.seed))
            expect_no_growth(whole)
            expect_same(options)
        except SystemExit:
            with open("console") as file:
                sys.stderr.write("".join(file.readlines()[-20:]))
            raise
        finally:
            os.chdir("/")
    stopped = sum(count for status, count in ends.items() if status != 0)
    print(f"{options.steps} steps on {options.device}, seed {options.seed}: {seconds:.0f} s left alone, {len(whole.seen)} looks")
    for what, name, unit in [(0, "memory", 1 << 20), (1, "descriptors", 1), (2, "files and folders", 1)]:
        thirds = ", ".join(f"{whole.third(what, which) / unit:.{1 if unit > 1 else 0}f}" for which in range(3))
        print(f"{name}{' (MiB), the most' if unit > 1 else ', the least'} of each third: {thirds}")
    print(f"stopped {stopped} times of {sum(ends.values())} starts, by status: " + ", ".join(f"{s}: {n}" for s, n in sorted(ends.items())))
    print(f"longest time from a signal to status 75: {slowest:.2f} s")
    print("the same bits, steps and validations; no file left over")


main()
