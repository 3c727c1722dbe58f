#!/usr/bin/env python3
"""Texts into shards of a model's own token ids, through its tokenizer.json:

    scripts/tokenize.py MODEL INPUT... --out DIR [--val-fraction F] [--field NAME] [--workers N]

MODEL is a Hugging Face folder. An INPUT is a file or a folder: Parquet, Arrow, JSON lines (plain, .gz, .zst), or
text, of which each file is one document. The shards are made by `pack --tokens`, a part at a time. A run that was
stopped goes on at the part where it was, by the same command.

The packages tokenizers and pyarrow are installed from PyPI on first use, into the folder --venv.
"""
import os
import sys

if sys.path and os.path.realpath(sys.path[0] or ".") == os.path.dirname(os.path.realpath(__file__)):
    del sys.path[0]  # Python's own module is called tokenize too

import argparse
import array
import collections
import concurrent.futures
import fcntl
import glob
import gzip
import hashlib
import json
import multiprocessing
import random
import re
import shutil
import signal
import subprocess
import threading
import time

USAGE, DATA, STOPPED = 2, 3, 75  # exit statuses, as the program has them
PACKAGES = ("tokenizers", "pyarrow")
WORK = ".tokenizing"  # in --out: the plan, and finished parts
BLOCK = 4 << 20  # bytes of JSON lines that a worker is given at a time
RANGE = 64 << 20  # bytes of a plain file of JSON lines that make a unit
SMALL = 64 << 10  # bytes of texts that are documents of their own, be they alike
HERE = os.path.dirname(os.path.realpath(__file__))


class Refused(Exception):
    """What ends the program in one line: a status and a message."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


# ---- The packages


def parse_words():
    parser = argparse.ArgumentParser(prog="tokenize.py", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="Hugging Face folder with tokenizer.json and config.json")
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="files and folders of texts")
    parser.add_argument("--out", required=True, help="folder for the shards")
    parser.add_argument("--field", default="text", help="field or column of the text; 'a.b' is b within a (text)")
    parser.add_argument("--val-fraction", default="0.01", help="share of documents kept for validation (0.01)")
    parser.add_argument("--shard-tokens", default="100000000", help="tokens of a shard, about (100000000)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the order of documents (1)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that tokenize (all cores)")
    parser.add_argument("--part-bytes", type=int, default=1 << 30, help="bytes of inputs of a part (1 GiB)")
    parser.add_argument("--bos", choices=("auto", "yes", "no"), default="auto",
                        help="a document begins with the mark: as the model's files say, or not (auto)")
    parser.add_argument("--eos", type=int, help="id that ends a document, where the model's files say none or another")
    parser.add_argument("--special-as-text", action="store_true",
                        help="marks that are written in a text are text, not the marks")
    parser.add_argument("--max-bad", type=float, default=0.001, help="share of malformed lines still accepted (0.001)")
    parser.add_argument("--venv", default=os.path.expanduser("~/.cache/train_gpt_lighthouse/tokenize"),
                        help="folder of the packages (~/.cache/train_gpt_lighthouse/tokenize)")
    parser.add_argument("--binary", default=os.path.join(HERE, "../build/train_gpt_lighthouse"), help="the program")
    return parser.parse_args()


def have_packages():
    import importlib.util
    return all(importlib.util.find_spec(name) for name in PACKAGES)


def run_quietly(words):
    done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    lines = done.stderr.strip().splitlines()
    return done.returncode, lines[-1] if lines else f"status {done.returncode}"


def make_environment(folder):
    """An environment is made beside, and moved into its place when it is whole."""
    print(f"installing {' and '.join(PACKAGES)} into {folder}", file=sys.stderr)
    os.makedirs(os.path.dirname(folder) or ".", exist_ok=True)
    if os.path.exists(folder) and not os.path.exists(os.path.join(folder, "pyvenv.cfg")):
        raise Refused(USAGE, f"--venv {folder} is there, and no virtual environment: name another folder")
    steps = (([sys.executable, "-m", "venv", folder],
              "a virtual environment; install python3-venv, or name one with --venv"),
             ([os.path.join(folder, "bin/python"), "-m", "pip", "install", "--quiet", "--retries", "1", *PACKAGES],
              "the packages from PyPI; without a network install them elsewhere and name that environment with --venv"))
    for words, what in steps:
        status, last = run_quietly(words)
        if status:
            raise Refused(DATA, f"cannot make {what} ({last})")


def enter_environment(args):
    """Goes on as the environment's own Python, where this one lacks the packages."""
    if have_packages():
        return
    folder = os.path.abspath(os.path.expanduser(args.venv))
    python = os.path.join(folder, "bin/python")
    inside = os.path.realpath(sys.prefix) == os.path.realpath(folder)
    check = [python, "-c", "import " + ", ".join(PACKAGES)]
    if inside or not os.path.exists(python) or run_quietly(check)[0]:
        make_environment(folder)
    if inside or run_quietly(check)[0]:
        raise Refused(DATA, f"{folder} lacks {' or '.join(PACKAGES)}: delete it, and it is made anew")
    os.execv(python, [python, os.path.realpath(__file__), *sys.argv[1:]])


# ---- The model


def read_json(folder, name, needed=False):
    path = os.path.join(folder, name)
    try:
        with open(path, encoding="utf-8") as file:
            value = json.load(file)
    except FileNotFoundError:
        if needed:
            raise Refused(DATA, f"{path} is not there: MODEL is a Hugging Face folder with a fast tokenizer") from None
        return {}
    except (OSError, ValueError) as error:
        raise Refused(DATA, f"{path} cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise Refused(DATA, f"{path} holds no JSON object")
    return value


def load_tokenizer(path, special_as_text):
    import tokenizers
    tokenizer = tokenizers.Tokenizer.from_file(path)
    tokenizer.no_truncation()  # a tokenizer.json may cut every text at some length, and fill short ones
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = special_as_text
    return tokenizer


def mark_id(tokenizer, config, key):
    """The id of a mark that tokenizer_config.json writes as a text or as an object."""
    mark = config.get(key)
    mark = mark.get("content") if isinstance(mark, dict) else mark
    return tokenizer.token_to_id(mark) if isinstance(mark, str) else None


def first_id(value):
    value = value[0] if isinstance(value, list) and value else value
    return value if isinstance(value, int) else None


def find_bos(args, tokenizer, config, model):
    """The id that begins a document, or None: add_bos_token, or else what the tokenizer does by itself."""
    plain, marked = tokenizer.encode("a", add_special_tokens=False).ids, tokenizer.encode("a").ids
    own = marked[0] if marked[:1] != plain[:1] and len(marked) > len(plain) else None
    says = config.get("add_bos_token")
    wanted = {"yes": True, "no": False, "auto": own is not None if says is None else bool(says)}[args.bos]
    if not wanted:
        return None
    ids = (mark_id(tokenizer, config, "bos_token"), own, first_id(model.get("bos_token_id")))
    found = next((i for i in ids if i is not None), None)
    if found is None:
        raise Refused(USAGE, f"a document is to begin with a mark, and {args.model} names none: give --bos no")
    return found


def find_eos(args, tokenizer, config, model):
    """The id that ends a document. Of several, as of a chat model, the tokenizer's own where it is among them."""
    if args.eos is not None:
        return args.eos
    generation = read_json(args.model, "generation_config.json").get("eos_token_id")
    several = generation if generation is not None else model.get("eos_token_id")
    own = mark_id(tokenizer, config, "eos_token")
    if own is not None and (several is None or own in (several if isinstance(several, list) else [several])):
        return own
    found = first_id(several)
    if found is None:
        raise Refused(USAGE, f"{args.model} names no mark that ends a document: give its id with --eos")
    return found


def read_model(args):
    """What workers and pack need to know, a dictionary."""
    model = read_json(args.model, "config.json", needed=True)
    read_json(args.model, "tokenizer.json", needed=True)
    path = os.path.join(args.model, "tokenizer.json")
    try:
        tokenizer = load_tokenizer(path, args.special_as_text)
    except Exception as error:  # the library raises nothing narrower
        raise Refused(DATA, f"{path} is no tokenizer that the library reads: {error}") from None
    config, vocab = read_json(args.model, "tokenizer_config.json"), model.get("vocab_size")
    if not isinstance(vocab, int) or vocab < 1:
        raise Refused(DATA, f"{args.model}/config.json has no vocab_size")
    marks = {"bos": find_bos(args, tokenizer, config, model), "eos": find_eos(args, tokenizer, config, model)}
    for name, mark in marks.items():
        if mark is not None and not 0 <= mark < vocab:
            raise Refused(USAGE, f"the mark {mark} ({name}) is no id below the model's vocab_size {vocab}")
    for name, verb in (("bos", "begin"), ("eos", "end")):
        if marks[name] is not None:
            print(f"documents {verb} with {marks[name]} ({tokenizer.id_to_token(marks[name])})", file=sys.stderr)
    with open(path, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    return {"tokenizer": path, "sha256": digest, "vocab": vocab, "width": 2 if vocab <= 1 << 16 else 4,
            "special_as_text": args.special_as_text, **marks}


# ---- The inputs


UNWANTED = {"backup": ("~", ".bak", ".orig", ".old", ".swp", ".swo"),  # endings of files in a folder, as pack has them
            "partial download": (".part", ".partial", ".crdownload", ".download", ".incomplete", ".filepart", ".aria2",
                                 ".tmp")}


def unwanted_name(path):
    name = os.path.basename(path).lower()
    return next((what for what, endings in UNWANTED.items() if name.endswith(endings)), None)


def refuse_folder(error):
    raise Refused(DATA, f"input {error.filename} cannot be listed: {error.strerror}")


def list_folder(top):
    """All files below it but hidden ones, in the order of their names. Links to folders are followed, each once."""
    found, seen = [], set()
    for at, folders, names in os.walk(top, onerror=refuse_folder, followlinks=True):
        real = os.path.realpath(at)
        folders[:] = [] if real in seen else [f for f in folders if not f.startswith(".")]
        found += [] if real in seen else [os.path.join(at, f) for f in names if not f.startswith(".")]
        seen.add(real)
    return sorted(found)


def digest_of(path):
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.digest()


def leave_copies(files, left):
    """Files without those that are another by a link, or hold the same; short texts may be alike."""
    sizes = collections.Counter(os.path.getsize(f) for f in files)
    kept, marks = [], set()
    for file in files:
        state = os.stat(file)
        own = {(state.st_dev, state.st_ino)}
        if sizes[state.st_size] > 1 and (state.st_size >= SMALL or kind_of(file)[0] != "text"):
            own.add(digest_of(file))
        if own & marks:
            left["copy"].append(file)
        else:
            kept.append(file)
        marks |= own
    return kept


def list_files(inputs):
    """Files as they are named; of a folder, all below it; none twice. What is left out is said."""
    files, left = [], collections.defaultdict(list)
    for name in inputs:
        folder = os.path.isdir(name)
        found = list_folder(name) if folder else [name] if os.path.exists(name) else sorted(glob.glob(name))
        if not found:
            raise Refused(DATA, f"input {name}: there is no file")
        for file in found:
            unwanted = unwanted_name(file) if folder else None
            if unwanted:
                left[unwanted].append(file)
            elif file not in files:
                files.append(file)
    files = leave_copies(files, left)
    for what, names in left.items():
        print(f"left out as {what}: {', '.join(names[:5])}{f' and {len(names) - 5} more' if len(names) > 5 else ''}",
              file=sys.stderr)
    return files


def open_plain(path, kind):
    """A file's bytes, decompressed."""
    if kind == "gz":
        return gzip.open(path, "rb")
    if kind == "zst":
        import pyarrow
        return pyarrow.input_stream(path, compression="zstd")
    return open(path, "rb")


def kind_of(path):
    """What a file is, by its first bytes: parquet, arrow, stream, lines, text, and how it is compressed."""
    try:
        with open(path, "rb") as file:
            first = file.read(16)
        packed = "gz" if first[:2] == b"\x1f\x8b" else "zst" if first[:4] == b"\x28\xb5\x2f\xfd" else ""
        with open_plain(path, packed) as file:
            start = file.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n")
    except Exception as error:  # of several libraries
        raise Refused(DATA, f"input {path} cannot be read: {error}") from None
    if first[:4] == b"PAR1":
        return "parquet", ""
    if first[:6] == b"ARROW1":
        return "arrow", ""
    if first[:4] == b"\xff\xff\xff\xff":
        return "stream", ""
    if b"\0" in start:
        raise Refused(DATA, f"input {path} is neither Parquet, Arrow, JSON lines nor text")
    if start[:1] == b"{":
        return "lines", packed
    check_text(path, start)
    return "text", packed


NO_TEXT = ((b"version https://git-lfs.github.com/spec/", "a Git LFS pointer: git lfs pull"),
           (b"%PDF-", "a PDF document: pdftotext makes text of it"),
           (b"%!PS-Adobe", "a PostScript document: ps2ascii makes text of it"),
           (b"WARC/", "a WARC archive, which pack reads"),
           (b"\x1e{", "JSON with RFC 7464's marks: tr -d '\\036' makes lines of it"))
NO_TEXT_NAMES = (".json", ".jsonl", ".ndjson", ".parquet", ".pq", ".arrow", ".feather", ".csv", ".tsv")


def check_text(path, start):
    """What looks like text and is something else is no document."""
    what = next((what for magic, what in NO_TEXT if start.startswith(magic)), None)
    if what:
        raise Refused(DATA, f"input {path} is {what}")
    name = re.sub(r"\.(gz|zst|zstd)$", "", os.path.basename(path).lower())
    if start and name.endswith(NO_TEXT_NAMES):
        raise Refused(DATA, f"input {path} holds no JSON object a line, Parquet or Arrow, and its name says that it is "
                            "no plain text: make JSON lines of it, or rename it if it is text")


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


def make_parts(args, files):
    """Units in an order of the seed, so that a part holds documents from everywhere."""
    try:
        units = [unit for path in files for unit in units_of(path)]
    except Refused:
        raise
    except Exception as error:  # of pyarrow
        raise Refused(DATA, f"an input cannot be read: {error}") from None
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


# ---- In a worker

worker = {}


def begin_worker(model):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the program ends its workers
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    worker.update(model, library=load_tokenizer(model["tokenizer"], model["special_as_text"]))


def field_of(value, field):
    for name in field.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def texts_of_lines(block, field):
    """Texts of JSON lines, None for a line that has none."""
    for line in block.lstrip(b"\xef\xbb\xbf").split(b"\n"):
        if not line.strip():
            continue
        try:
            text = field_of(json.loads(line), field)
        except (ValueError, RecursionError):
            text = None
        yield text if isinstance(text, str) else None


def texts_of_table(kind, path, group, field):
    import pyarrow
    import pyarrow.parquet
    if kind == "parquet":
        file = pyarrow.parquet.ParquetFile(path)
        column = [field.split(".")[0]]
        column = column if column[0] in file.schema_arrow.names else None
        batches = file.iter_batches(1024, row_groups=[group], columns=column)
    elif kind == "arrow":
        reader = pyarrow.ipc.open_file(pyarrow.memory_map(path))
        batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
    else:
        batches = pyarrow.ipc.open_stream(pyarrow.memory_map(path))
    top, _, rest = field.partition(".")
    for batch in batches:
        if top not in batch.schema.names:
            raise ValueError(f"has no column {top}, but {', '.join(batch.schema.names)}")
        for value in batch.column(batch.schema.names.index(top)).to_pylist():
            text = field_of(value, rest) if rest else value
            yield text if isinstance(text, str) else None


def text_of_file(unit):
    with open_plain(unit[2], unit[1]) as file:
        text = file.read()
    if b"\0" in text:
        raise ValueError("has zero bytes, and is no text")
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 at byte {error.start}: iconv -f ENCODING -t UTF-8 makes it so") from None


def whole(text):
    """Half of a surrogate pair, which JSON can hold, is no character."""
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def encode(texts):
    """Ids of documents, marks included, as pack reads them."""
    begin, end = [] if worker["bos"] is None else [worker["bos"]], [worker["eos"]]
    ids = array.array("H" if worker["width"] == 2 else "I")
    for encoding in worker["library"].encode_batch(texts, add_special_tokens=False):
        if encoding.ids and max(encoding.ids) >= worker["vocab"]:
            raise ValueError(f"gives the id {max(encoding.ids)}, and the model's vocab_size is {worker['vocab']}")
        ids.extend(begin + encoding.ids + end)
    return ids.tobytes()


def work_on(task, field):
    """(ids, documents, bytes of text, empty documents, malformed ones), or the message of what is wrong."""
    kind, unit, block = task
    pieces, counts, batch, size = [], [0, 0, 0, 0], [], 0
    try:
        texts = (texts_of_lines(block, field) if kind == "lines" else [text_of_file(unit)] if kind == "text"
                 else texts_of_table(kind, unit[2], unit[3], field))
        for text in texts:
            if text is None or not text.strip():
                counts[3 if text is None else 2] += 1
                continue
            batch.append(whole(text))
            counts[0] += 1
            counts[1] += len(batch[-1].encode())
            size += len(text)
            if size > 1 << 20:
                pieces.append(encode(batch))
                batch, size = [], 0
        return b"".join(pieces + [encode(batch)]), counts
    except Exception as error:  # of three libraries
        return f"input {unit[2]}: {error}", None


# ---- Parts


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
    """`pack --tokens` on a pipe. What it says is shown where it warns or fails."""

    def __init__(self, args, model, out):
        words = [args.binary, "pack", "-", "--tokens", f"uint{8 * model['width']}", "--vocab", str(model["vocab"]),
                 "--document-end", str(model["eos"]), "--out", out, "--seed", str(args.seed),
                 "--val-fraction", args.val_fraction, "--shard-tokens", args.shard_tokens]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                        text=False, start_new_session=True)
        self.said = []
        self.reader = threading.Thread(target=lambda: self.said.extend(self.process.stderr), daemon=True)
        self.reader.start()

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
        self.reader.join()
        lines = [line.decode("utf-8", "replace").strip() for line in self.said]
        if status:
            raise Refused(status if status > 0 else DATA, f"pack: {lines[-1] if lines else f'status {status}'}")
        for line in lines:
            if "warning" in line:
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


# ---- The whole


def write_json(path, value):
    with open(path + ".tmp", "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".tmp", path)


def plan_of(args, model, files):
    kept = {k: model[k] for k in ("sha256", "vocab", "bos", "eos", "special_as_text")}
    stats = [[os.path.abspath(f), os.path.getsize(f), os.stat(f).st_mtime_ns] for f in files]
    return {"model": kept, "inputs": stats, "field": args.field, "val_fraction": args.val_fraction,
            "shard_tokens": args.shard_tokens, "seed": args.seed, "part_bytes": args.part_bytes}


def hold_work(work):
    """One program at a time; the lock lives as long as the file is open."""
    os.makedirs(work, exist_ok=True)
    lock = open(os.path.join(work, "lock"), "w", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Refused(USAGE, f"{work}: another tokenize.py is at work there") from None
    return lock


def hold_plan(work, plan):
    """A folder that was begun goes on with what it was begun with, or not at all."""
    path = os.path.join(work, "plan.json")
    if not os.path.exists(path):
        write_json(path, plan)
        return
    before = read_json(work, "plan.json")
    other = [key for key in plan if json.loads(json.dumps(plan[key])) != before.get(key)]
    if other:
        raise Refused(USAGE, f"{work} was begun with other settings ({', '.join(other)}): give those again, or delete "
                             "the folder to begin anew")
    print(f"going on in {work}", file=sys.stderr)


def moves_of(work, out, n_parts):
    """Where each shard of a part goes, as pairs."""
    moves = []
    for split in ("train", "val"):
        patterns = [glob.escape(f"{work}/part_{part:05d}") + f"/{split}_*.bin" for part in range(n_parts)]
        shards = [shard for pattern in patterns for shard in sorted(glob.glob(pattern))]
        moves += [[shard, f"{out}/{split}_{i:05d}.bin"] for i, shard in enumerate(shards)]
    return moves


def move_shards(work, out, n_parts):
    """Moves of a program that was killed among them are made up."""
    path = os.path.join(work, "moves.json")
    if not os.path.exists(path):
        moves = moves_of(work, out, n_parts)
        taken = next((target for _, target in moves if os.path.lexists(target)), None)
        if taken:
            raise Refused(USAGE, f"{taken} is there, and not of this run: move it away, and the same command goes on")
        write_json(path, {"moves": moves})
    moves = read_json(work, "moves.json")["moves"]
    for source, target in moves:
        if os.path.exists(source):
            os.rename(source, target)
        elif not os.path.exists(target):
            raise Refused(DATA, f"{source} has gone: delete {work} to begin anew")
    shutil.rmtree(work)
    return moves


def check_out(args, work):
    if not os.path.exists(os.path.join(work, "moves.json")) and glob.glob(glob.escape(args.out) + "/*.bin"):
        raise Refused(USAGE, f"--out {args.out} holds shards already: delete them, or name another folder")
    if not os.access(args.binary, os.X_OK):
        raise Refused(USAGE, f"{args.binary} is not there: make it, or name it with --binary")
    if args.workers < 1 or args.part_bytes < 1:
        raise Refused(USAGE, "--workers and --part-bytes must be 1 or more")


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


def leave_nothing(args, work):
    """What has failed before its first part was whole leaves nothing behind."""
    if glob.glob(glob.escape(work) + "/*.done"):
        return
    shutil.rmtree(work, ignore_errors=True)
    if os.path.isdir(args.out) and not os.listdir(args.out):
        os.rmdir(args.out)


def tokenize(args):
    work = os.path.join(args.out, WORK)
    check_out(args, work)
    model = read_model(args)
    files = list_files(args.inputs)
    if os.path.exists(os.path.join(work, "moves.json")):
        lock = hold_work(work)
        hold_plan(work, plan_of(args, model, files))
        move_shards(work, args.out, 0)
        lock.close()
        return print(f"{args.out}: the shards are in place")
    parts = make_parts(args, files)
    lock = hold_work(work)
    hold_plan(work, plan_of(args, model, files))
    try:
        counts, progress = run_parts(args, model, parts, work)
    except BaseException:
        leave_nothing(args, work)
        raise
    if counts[0] == 0 and not counts[4]:
        shutil.rmtree(work)
        raise Refused(DATA, f"the inputs hold no text in the field {args.field}")
    moves = move_shards(work, args.out, len(parts))
    lock.close()
    text = f"{args.out}: {len(moves)} shards; {counts[0]} documents, {counts[1]} bytes, {progress.tokens} tokens"
    left = [f"{n} {what}" for n, what in ((counts[2], "empty"), (counts[3], "malformed")) if n]
    before = f"; {counts[4]} of {len(parts)} parts were done before" if counts[4] else ""
    return print(text + (f"; left out: {', '.join(left)}" if left else "") + before)


def stop(number, _frame):
    raise SystemExit(128 + number)


def main():
    args = parse_words()
    signal.signal(signal.SIGTERM, stop)
    try:
        enter_environment(args)
        tokenize(args)
    except Refused as error:
        print(f"tokenize.py: {error}", file=sys.stderr)
        return error.status
    except concurrent.futures.process.BrokenProcessPool:
        print("tokenize.py: a worker was killed, for want of memory perhaps: the same command goes on, with fewer "
              "--workers", file=sys.stderr)
        return 4
    except OSError as error:
        print(f"tokenize.py: {error}", file=sys.stderr)
        return DATA
    except (KeyboardInterrupt, SystemExit):
        print(f"tokenize.py: stopped; the same command goes on in {args.out}", file=sys.stderr)
        return STOPPED
    return 0


if __name__ == "__main__":
    sys.exit(main())
