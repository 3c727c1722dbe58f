#!/usr/bin/env python3
"""This machine's sources, headers and documentation as pieces of text of one size, each file once.

    machine_text.py OUT PIECE MEGABYTES ROOT...

OUT/train and OUT/val receive files of PIECE bytes. The text is the files below the roots in the order of their paths, a form
feed between two, so that a piece holds neighbours. Left out: files that are empty, above 2 MB, no UTF-8, hold a zero byte, have
lines of more than 200 bytes on average (data, or code for machines alone), or say what an earlier one said, byte for byte. The
files stand in stretches of eight pieces; every fiftieth stretch, of whole files, is for validation. A piece ends with a whole
character; newlines fill the bytes that are left. Prints files and bytes of each kind, and a hash of each text: two machines
with the same hashes have the same text.
"""
import collections
import hashlib
import multiprocessing
import os
import sys

KINDS = {
    "Python": ".py .pyi .pyx .pxd",
    "C, C++, CUDA": ".c .cc .cpp .cxx .h .hh .hpp .hxx .cu .cuh .inl .ipp .tcc",
    "documentation": ".rst .md .txt .html .htm .tex .texi .adoc",
    "other sources": ".cmake .sh .pl .pm .tcl .rb .lua .f .f90 .rs .go .java .scala .ts .s",
}
KIND_OF = {ending: kind for kind, endings in KINDS.items() for ending in endings.split()}
STRETCH = 8  # pieces
VALIDATION = 50  # every so many stretches one
MOST_BYTES = 2_000_000
MOST_LINE = 200  # bytes, on average
SEPARATOR = b"\f"


def kind_of(path):
    """The kind by the name's ending; the headers of C++'s own library have none."""
    ending = os.path.splitext(path)[1].lower()
    if not ending and "/include/c++/" in path:
        return "C, C++, CUDA"
    return KIND_OF.get(ending)


def walk(roots):
    """All regular files of a kind below the roots, by path; links are not followed."""
    for root in roots:
        for folder, folders, names in os.walk(root):
            folders[:] = [name for name in folders if name != "__pycache__"]
            for name in names:
                path = os.path.join(folder, name)
                if kind_of(path) and not os.path.islink(path):
                    yield path


def text_of(path):
    """The bytes of a file, or None where it is left out."""
    try:
        if not 0 < os.path.getsize(path) <= MOST_BYTES:
            return None
        with open(path, "rb") as file:
            text = file.read()
        text.decode()
    except (OSError, UnicodeDecodeError):
        return None
    if b"\0" in text or len(text) > MOST_LINE * (text.count(b"\n") + 1):
        return None
    return text


def fingerprint(path):
    text = text_of(path)
    return path, len(text or b""), hashlib.blake2b(text, digest_size=16).digest() if text else None


def choose(roots, limit):
    """(path, kind) of every file taken, in order; ends when there are `limit` bytes."""
    with multiprocessing.Pool() as pool:
        prints = pool.map(fingerprint, sorted(set(walk(roots))), chunksize=64)
    seen, total = set(), 0
    for path, size, digest in prints:
        if digest is None or digest in seen or total + size > limit:
            continue
        seen.add(digest)
        total += size
        yield path, kind_of(path), size


class Pieces:
    """Takes a text as it comes and writes it as files of one size."""

    def __init__(self, folder, size):
        os.makedirs(folder)
        self.folder, self.size, self.count, self.rest, self.hash = folder, size, 0, b"", hashlib.sha256()

    def write(self, text):
        self.rest += text
        while len(self.rest) >= self.size:
            self.cut()

    def cut(self):
        end = self.size
        while end < len(self.rest) and self.rest[end] & 0xC0 == 0x80:  # within a character
            end -= 1
        piece = self.rest[:end].ljust(self.size, b"\n")
        self.rest = self.rest[end:]
        self.hash.update(piece)
        with open(f"{self.folder}/{self.count:06d}.txt", "wb") as file:
            file.write(piece)
        self.count += 1


def main():
    out, piece, megabytes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    train, val = Pieces(out + "/train", piece), Pieces(out + "/val", piece)
    files, sizes = collections.Counter(), collections.Counter()
    total = 0
    for path, kind, size in choose(sys.argv[4:], megabytes * 1_000_000):
        stretch = total // (STRETCH * piece)
        text = text_of(path)
        if text is None or len(text) != size:
            sys.exit(f"{path} has changed in the meantime")
        (val if stretch % VALIDATION == VALIDATION // 2 else train).write(text + SEPARATOR)
        total += size + 1
        files[kind] += 1
        sizes[kind] += size
    for kind in KINDS:
        print(f"{kind}: {files[kind]} files, {sizes[kind]} bytes")
    for name, pieces in (("training", train), ("validation", val)):
        print(f"{name}: {pieces.count} sequences, {pieces.count * piece} bytes, sha256 {pieces.hash.hexdigest()}")
    if not train.count or not val.count:
        sys.exit(f"only {total} bytes of text below {' '.join(sys.argv[4:])}: name other folders")


if __name__ == "__main__":
    main()
