"""Which files are read, and what each of them is."""
import collections
import glob
import gzip
import hashlib
import os
import re
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
           (b"WARC/", "a WARC archive, which pack reads"),
           (b"\x1e{", "JSON with RFC 7464's marks: tr -d '\\036' makes lines of it"))
NO_TEXT_NAMES = (".json", ".jsonl", ".ndjson", ".parquet", ".pq", ".arrow", ".feather", ".csv", ".tsv")


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


def check_text(path, start):
    """What looks like text and is something else is no document."""
    what = next((what for magic, what in NO_TEXT if start.startswith(magic)), None)
    if what:
        raise Refused(DATA, f"input {path} is {what}")
    name = re.sub(r"\.(gz|zst|zstd)$", "", os.path.basename(path).lower())
    if start and name.endswith(NO_TEXT_NAMES):
        raise Refused(DATA, f"input {path} holds no JSON object a line, Parquet or Arrow, and its name says that it is "
                            "no plain text: make JSON lines of it, or rename it if it is text")
