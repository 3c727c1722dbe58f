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
from concurrent.futures.process import BrokenProcessPool

from tokenize_lib.json_files import write_json
from tokenize_lib.refused import DATA, MEMORY, Refused
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


class Counts:
    """What the inputs held."""

    def __init__(self):
        self.documents, self.bytes, self.empty, self.malformed = 0, 0, 0, 0
        self.before = 0  # parts that were done before
        self.bad = collections.Counter()  # malformed ones of each file

    def add(self, path, found):
        self.documents += found[0]
        self.bytes += found[1]
        self.empty += found[2]
        self.malformed += found[3]
        if found[3]:
            self.bad[path] += found[3]

    def worst(self):
        """Of the malformed ones, the file that has the most."""
        return "".join(f" ({n} of them in {path})" for path, n in self.bad.most_common(1))


def names_of(units):
    """The files of a part, some by name."""
    names = list(dict.fromkeys(unit[2] for unit in units))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


class Pack:
    """`pack --tokens` on a pipe. What it says beside its totals is shown, and why it fails."""

    def __init__(self, args, model, out, names):
        self.names, self.ordinary = names, model["eos_ordinary"]
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
            raise Refused(status if status > 0 else DATA,
                          f"pack: {lines[-1] if lines else f'status {status}'} (the ids of {self.names})")
        said = [s for s in lines if "warning" in s and (self.ordinary or "an ordinary token" not in s)]
        for line in said + [s for s in told if not s.startswith("packed into ")]:
            print(line, file=sys.stderr)

    def stop(self):
        self.process.terminate()
        self.process.wait()


def results_of(pool, tasks, field, ahead):
    """Results in the order of the tasks, of which only some are read ahead."""
    waiting = collections.deque()
    for task in tasks:
        waiting.append((task, submit(pool, task, field)))
        if len(waiting) >= ahead:
            task, future = waiting.popleft()
            yield task, result_of(task, future)
    for task, future in waiting:
        yield task, result_of(task, future)


def killed(task):
    return Refused(MEMORY, f"input {task[1][2]}, or one that is read beside it: a worker was killed, for want of "
                           "memory perhaps: the same command goes on, with fewer --workers")


def submit(pool, task, field):
    try:
        return pool.submit(work_on, task, field)
    except BrokenProcessPool:
        raise killed(task) from None


def result_of(task, future):
    try:
        return future.result()
    except BrokenProcessPool:
        raise killed(task) from None


def run_part(args, model, pool, units, out, progress, counts):
    pack = Pack(args, model, out, names_of(units))
    try:
        tasks = (task for unit in units for task in tasks_of(unit))
        began, before = progress.done, counts.documents
        for task, (ids, found) in results_of(pool, tasks, args.field, 2 * args.workers):
            if found is None:
                raise Refused(DATA, ids)
            pack.write(ids)
            counts.add(task[1][2], found)
            plain = task[0] == "lines" and not task[1][1]
            progress.done += len(task[2]) if plain else 0 if task[0] == "lines" else task[1][5]
            progress.bytes += found[1]
            progress.tokens += len(ids) // model["width"]
            progress.show()
        progress.done = began + sum(unit[5] for unit in units)
        check_bad(args, counts)
        if counts.documents > before:
            pack.end()
        else:
            pack.stop()  # which has nothing to pack
    except BaseException:
        pack.stop()
        raise


def check_bad(args, counts):
    lines = counts.documents + counts.empty + counts.malformed
    if counts.malformed > args.max_bad * lines:
        raise Refused(DATA, f"{counts.malformed} of {lines} lines or rows{counts.worst()} have no text in the field "
                            f"{args.field}, more than --max-bad {args.max_bad:g} allows")


def run_parts(args, model, parts, work):
    counts = Counts()
    progress = Progress(sum(unit[5] for part in parts for unit in part))
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(args.workers, context, begin_worker, (model,)) as pool:
        try:
            for number, units in enumerate(parts):
                folder = f"{work}/part_{number:05d}"
                if os.path.exists(folder + ".done"):
                    progress.total -= sum(unit[5] for unit in units)
                    counts.before += 1
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
