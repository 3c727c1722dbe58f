"""Which files are read, and what each of them is."""
import collections
import glob
import gzip
import hashlib
import io
import json
import os
import pickletools
import re
import stat
import sys

from tokenize_lib.refused import DATA, Refused

BLOCK = 4 << 20  # bytes of JSON lines that a worker is given at a time
SMALL = 64 << 10  # bytes of texts that are documents of their own, be they alike
UNWANTED = {"backup": ("~", ".bak", ".orig", ".old", ".swp", ".swo"),  # endings of files in a folder, as pack has them
            "partial download": (".part", ".partial", ".crdownload", ".download", ".incomplete", ".filepart", ".aria2",
                                 ".tmp")}
NO_TEXT = ((b"version https://git-lfs.github.com/spec/", "a Git LFS pointer: git lfs pull"),
           (b"%PDF-", "a PDF document: pdftotext makes text of it"),
           (b"%!PS-Adobe", "a PostScript document: ps2ascii makes text of it"),
           (b"WARC/", "a WARC archive: pack names the command that makes JSON lines of it"),
           (b"\x1e{", "JSON with RFC 7464's marks: tr -d '\\036' makes lines of it"))
NO_TEXT_NAMES = (".json", ".jsonl", ".ndjson", ".parquet", ".pq", ".arrow", ".feather", ".csv", ".tsv")


def unwanted_name(path):
    name = os.path.basename(path).lower()
    return next((what for what, endings in UNWANTED.items() if name.endswith(endings)), None)


def what_it_is(path):
    """None for a regular file, or what is there in its place: to open a pipe would wait for its writer."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return "dangling link"
    except OSError as error:  # a loop of links, a folder that may not be searched
        raise Refused(DATA, f"input {path} cannot be read: {error.strerror}") from None
    kinds = ((stat.S_ISFIFO, "pipe"), (stat.S_ISSOCK, "socket"), (stat.S_ISDIR, "folder"))
    return None if stat.S_ISREG(mode) else next((what for test, what in kinds if test(mode)), "device")


def find_named(name):
    """The files that an input names by itself, or by a pattern."""
    if "**" in name and not os.path.lexists(name):
        raise Refused(DATA, f"input {name}: ** for folders of any depth is not taken; name the folder, of which every "
                            "file is read, or write * for each of them")
    found = [name] if os.path.lexists(name) else sorted(glob.glob(name))
    for file in found:
        what = what_it_is(file)
        if what:
            raise Refused(DATA, f"input {file} is a {what}, and files are read more than once: write its texts to a "
                                "file, and name that" if what == "pipe" else f"input {file} is a {what}, no file")
    return found


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
        found = list_folder(name) if folder else find_named(name)
        if not found:
            raise Refused(DATA, f"input {name}: there is no file")
        for file in found:
            unwanted = unwanted_name(file) or what_it_is(file) if folder else None
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
        skipped = first[1:4] == b"\x2a\x4d\x18" and 0x50 <= first[0] < 0x60  # a frame of zstd's metadata
        packed = "gz" if first[:2] == b"\x1f\x8b" else "zst" if first[:4] == b"\x28\xb5\x2f\xfd" or skipped else ""
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


def rows_of_json(start):
    """What lines that are whole JSON are, or end in an object each, where all of some are so; else None."""
    lines = [line for line in start.split(b"\n")[:-1] if line.strip()][:16]
    for what, row in (("JSON behind something else", lambda s: s[s.index(b"{"):]), ("JSON arrays or strings", bytes)):
        try:
            values = [json.loads(row(line)) for line in lines]
        except (ValueError, RecursionError):
            continue
        if len(lines) > 2 and all(isinstance(v, (dict, list, str)) for v in values):
            return what
    return None


def is_pickle(start):
    """Whether it begins as a pickle of protocol 0, all of whose bytes are text; as pack tells them (text_pickle.c)."""
    file, holds, notes = io.BytesIO(start), False, False
    try:
        while not notes and file.tell() < len(start):
            for opcode, _, _ in pickletools.genops(file):
                if opcode.proto > 0:
                    return False
                holds, notes = holds or opcode.name in ("MARK", "GLOBAL"), notes or opcode.name == "PUT"
        return notes or holds
    except Exception as error:  # cut within an argument, or no pickle
        return holds and notes and any(s in str(error) for s in ("no newline found", "pickle exhausted"))


def check_text(path, start):
    """What looks like text and is something else is no document."""
    controls = sum(c < 32 and not 7 < c < 14 and c != 27 for c in start)  # as pack counts them
    what = next((what for magic, what in NO_TEXT if start.startswith(magic)), None)
    what = what or ("a pickle: if you trust it, load it in Python and write its texts as JSON lines"
                    if is_pickle(start) else None)
    what = what or ("binary: it is full of control characters" if controls * 10 > len(start) else rows_of_json(start))
    if what:
        raise Refused(DATA, f"input {path} is {what}")
    name = re.sub(r"\.(gz|zst|zstd)$", "", os.path.basename(path).lower())
    if start and name.endswith(NO_TEXT_NAMES):
        raise Refused(DATA, f"input {path} holds no JSON object a line, Parquet or Arrow, and its name says that it is "
                            "no plain text: make JSON lines of it, or rename it if it is text")
