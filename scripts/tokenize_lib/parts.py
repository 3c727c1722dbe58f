"""Parts: pieces through the workers into `pack`."""
import collections
import concurrent.futures
import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
import time

from tokenize_lib.json_files import write_json
from tokenize_lib.refused import DATA, Refused
from tokenize_lib.units import tasks_of
from tokenize_lib.worker import begin_worker, work_on


class Progress:
    """A bar on a terminal, else a line from time to time."""

    def __init__(self, total):
        self.total, self.done, self.bytes, self.tokens = max(total, 1), 0, 0, 0
        self.start, self.next, self.terminal = time.monotonic(), 0, sys.stderr.isatty()

    def show(self, last=False):
        seconds = time.monotonic() - self.start
        if not last and seconds < (self.next or (0.5 if self.terminal else 10)):
            return
        self.next = seconds + 0.2 if self.terminal else seconds * 2
        share = min(1, self.done / self.total)
        left = seconds * (self.total - self.done) / max(self.done, 1)
        bar = "#" * round(24 * share)
        line = (f"[{bar:24}] {100 * share:3.0f}%  {self.bytes / 1e6 / max(seconds, 1e-9):.1f} MB/s  "
                f"{self.tokens / max(seconds, 1e-9):,.0f} tokens/s" + ("" if last else f"  {max(left, 0):.0f} s left"))
        print(("\r\033[K" if self.terminal else "") + line, end="" if self.terminal and not last else "\n",
              file=sys.stderr, flush=True)


class Pack:
    """`pack --tokens` on a pipe. What it says beside its totals is shown, and why it fails."""

    def __init__(self, args, model, out):
        words = [args.binary, "pack", "-", "--tokens", f"uint{8 * model['width']}", "--vocab", str(model["vocab"]),
                 "--document-end", str(model["eos"]), "--out", out, "--seed", str(args.seed),
                 "--val-fraction", args.val_fraction, "--shard-tokens", args.shard_tokens]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=False, start_new_session=True)
        self.told, self.said = [], []
        self.readers = [threading.Thread(target=lines.extend, args=(stream,), daemon=True)
                        for lines, stream in ((self.told, self.process.stdout), (self.said, self.process.stderr))]
        for reader in self.readers:
            reader.start()

    def write(self, ids):
        try:
            self.process.stdin.write(ids)
        except BrokenPipeError:
            self.end()

    def end(self):
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        status = self.process.wait()
        for reader in self.readers:
            reader.join()
        told, lines = ([line.decode("utf-8", "replace").strip() for line in said] for said in (self.told, self.said))
        if status:
            raise Refused(status if status > 0 else DATA, f"pack: {lines[-1] if lines else f'status {status}'}")
        for line in [s for s in lines if "warning" in s] + [s for s in told if not s.startswith("packed into ")]:
            print(line, file=sys.stderr)

    def stop(self):
        self.process.terminate()
        self.process.wait()


def results_of(pool, tasks, field, ahead):
    """Results in the order of the tasks, of which only some are read ahead."""
    waiting = collections.deque()
    for task in tasks:
        waiting.append((task, pool.submit(work_on, task, field)))
        if len(waiting) >= ahead:
            task, future = waiting.popleft()
            yield task, future.result()
    for task, future in waiting:
        yield task, future.result()


def run_part(args, model, pool, units, out, progress, counts):
    pack = Pack(args, model, out)
    try:
        tasks = (task for unit in units for task in tasks_of(unit))
        began, before = progress.done, counts[0]
        for task, (ids, found) in results_of(pool, tasks, args.field, 2 * args.workers):
            if found is None:
                raise Refused(DATA, ids)
            pack.write(ids)
            for i in range(4):
                counts[i] += found[i]
            plain = task[0] == "lines" and not task[1][1]
            progress.done += len(task[2]) if plain else 0 if task[0] == "lines" else task[1][5]
            progress.bytes += found[1]
            progress.tokens += len(ids) // model["width"]
            progress.show()
        progress.done = began + sum(unit[5] for unit in units)
        check_bad(args, counts)
        if counts[0] > before:
            pack.end()
        else:
            pack.stop()  # which has nothing to pack
    except BaseException:
        pack.stop()
        raise


def check_bad(args, counts):
    lines = counts[0] + counts[2] + counts[3]
    if counts[3] > args.max_bad * lines:
        raise Refused(DATA, f"{counts[3]} of {lines} lines or rows have no text in the field {args.field}, more than "
                            f"--max-bad {args.max_bad:g} allows")


def run_parts(args, model, parts, work):
    counts = [0, 0, 0, 0, 0]  # documents, bytes, empty, malformed; parts from before
    progress = Progress(sum(unit[5] for part in parts for unit in part))
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(args.workers, context, begin_worker, (model,)) as pool:
        try:
            for number, units in enumerate(parts):
                folder = f"{work}/part_{number:05d}"
                if os.path.exists(folder + ".done"):
                    progress.total -= sum(unit[5] for unit in units)
                    counts[4] += 1
                    continue
                shutil.rmtree(folder, ignore_errors=True)
                run_part(args, model, pool, units, folder, progress, counts)
                write_json(folder + ".done", {})
        except BaseException:
            for process in list((pool._processes or {}).values()):
                process.kill()
            raise
    progress.show(last=True)
    return counts, progress
