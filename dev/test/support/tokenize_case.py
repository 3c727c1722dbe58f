#!/usr/bin/env python3
"""For test_tokenize.sh, in the environment that tokenize.py makes:

    tokenize_case.py make FOLDER            a small model's folder, and awkward texts in every format
    tokenize_case.py hold FOLDER OUT [no]   the shards in OUT hold the library's ids of every text, each once;
                                            no: without the mark that begins a document
    tokenize_case.py needle FOLDER FILE     what --needle wrote are the library's ids of needle and question
    tokenize_case.py ranges FOLDER SCRIPTS  the script's pieces of lines are the file, however small the pieces
"""
import array
import collections
import glob
import gzip
import json
import os
import random
import sys

import pyarrow
import pyarrow.parquet
import tokenizers

MARKS = ["<|begin|>", "<|end|>", "<|turn|>"]
AWKWARD = [
    "plain words, and plain words again", "Zw\u00f6lf Boxk\u00e4mpfer jagen Viktor",
    "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    "\u4f60\u597d\uff0c\u4e16\u754c", "e\u0301 \u00e9 \ufb01",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f3f3\ufe0f\u200d\U0001f308", "tabs\t\tand\r\nlines\n\n\n",
    "   blanks   before and behind   ", "a\u00a0b\u2003c\u200bd", "zero\x00byte", "\x1b[31mred\x7f", "1234567890" * 40,
    "x" * 3000, "written <|end|> in a text <|turn|>", "\ufeffmark within", "\\u0041 {\"text\": 1}", "we're they'll I'd",
    "\U0010ffff\ue000\ufffd", " ", "\n", "a",
]
LONE = "half \ud83d a pair"


def texts():
    """Awkward ones, and many made of their parts."""
    draw, parts = random.Random(7), [p for t in AWKWARD for p in t.split(" ")]
    made = [" ".join(draw.choice(parts) for _ in range(draw.randrange(1, 80))) + f" {i}" for i in range(900)]
    return AWKWARD + made


def make_model(folder):
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=600, special_tokens=MARKS, show_progress=False,
                                             initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(texts()[:500], trainer)
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="<|begin|> $A", special_tokens=[("<|begin|>", 0)])
    tokenizer.enable_truncation(16)  # which nobody must heed
    tokenizer.save(os.path.join(folder, "tokenizer.json"))
    write(folder, "config.json", {"vocab_size": 640, "bos_token_id": 0, "eos_token_id": 1})
    write(folder, "tokenizer_config.json", {"eos_token": {"content": "<|end|>"}, "bos_token": "<|begin|>"})
    write(folder, "generation_config.json", {"eos_token_id": [2, 1]})


def make_words(folder):
    """A tokenizer that knows no digit."""
    words = {"a": 0, "<unk>": 1, "<|end|>": 2}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(os.path.join(folder, "tokenizer.json"))
    write(folder, "config.json", {"vocab_size": 3, "eos_token_id": 2})


def write(folder, name, value):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        json.dump(value, file)


def lines_of(some):
    return "".join(json.dumps({"id": i, "text": t}) + "\n" for i, t in enumerate(some)).encode()


def make(folder):
    for name in ("/model", "/words", "/texts"):
        os.makedirs(folder + name, exist_ok=True)
    make_model(folder + "/model")
    make_words(folder + "/words")
    parts = [texts()[i::6] for i in range(6)]
    at = folder + "/texts/"
    with open(at + "a.jsonl", "wb") as file:
        file.write(lines_of(parts[0] + [LONE]))
    with gzip.open(at + "b.json.gz", "wb") as file:
        file.write(lines_of(parts[1][:60]))
    with gzip.open(at + "b.json.gz", "ab") as file:  # a second member
        file.write(lines_of(parts[1][60:]))
    zstd = pyarrow.Codec("zstd")
    with open(at + "c.jsonl.zst", "wb") as file:  # two frames
        for piece in (parts[2][:60], parts[2][60:]):
            file.write(zstd.compress(lines_of(piece), asbytes=True))
    table = pyarrow.table({"n": list(range(len(parts[3]))), "text": parts[3]})
    pyarrow.parquet.write_table(table, at + "d.parquet", row_group_size=100)
    for name, some, new in (("e.arrow", parts[4], pyarrow.ipc.new_file), ("f.arrow", parts[5], pyarrow.ipc.new_stream)):
        table = pyarrow.table({"text": some})
        with new(at + name, table.schema) as writer:
            writer.write_table(table, max_chunksize=100)
    with open(at + "g.txt", "w", encoding="utf-8", newline="") as file:
        file.write("One text.\r\nOf two lines, twelve \u00e9.\n")


def expected(folder, begin):
    """Documents as tuples of ids, by the library alone; `begin`: with the mark in front, as it gives it."""
    library = tokenizers.Tokenizer.from_file(folder + "/model/tokenizer.json")
    library.no_truncation()
    some = texts() + [LONE.replace("\ud83d", "\ufffd"), "One text.\r\nOf two lines, twelve \u00e9.\n"]
    return [tuple(library.encode(t).ids[0 if begin else 1:]) + (1,) for t in some if t.strip()]


def documents(out):
    """Those of all shards, parted by the end mark as pack does."""
    ids = []
    for path in sorted(glob.glob(out + "/*.bin")):
        with open(path, "rb") as file:
            ids += array.array("H", file.read()[64:])
    found, document = [], []
    for token in ids:
        document.append(token)
        if token == 1:
            found.append(tuple(document))
            document = []
    assert not document, "a shard ends within a document"
    return found


def hold(folder, out, begin="yes"):
    wanted = collections.Counter()
    for ids in expected(folder, begin == "yes"):  # one that has the end mark within is several documents
        start = 0
        for at, token in enumerate(ids):
            if token == 1:
                wanted[ids[start:at + 1]] += 1
                start = at + 1
    found = collections.Counter(documents(out))
    missing, more = wanted - found, found - wanted
    if missing or more:
        sys.exit(f"{sum(missing.values())} documents are missing, {sum(more.values())} are others: "
                 f"{list(missing)[:1]} {list(more)[:1]}")


def needle(folder, path):
    library = tokenizers.Tokenizer.from_file(folder + "/model/tokenizer.json")
    library.no_truncation()
    with open(path, encoding="utf-8") as file:
        task = json.load(file)
    size = len(task["question"])
    for digit, ids in enumerate(task["needles"]):
        text = f"\nThe passkey is {digit}.\n"
        around = library.encode(f"before{text}behind").ids
        assert library.decode(ids) == text, f"{digit} is {library.decode(ids)!r}"
        assert any(around[i:i + len(ids)] == ids for i in range(len(around))), f"{digit} is cut up otherwise in a text"
        assert ids[:size] == task["question"] and str(digit) in library.decode(ids[size:size + 1]), f"no answer {digit}"
    assert len({ids[size] for ids in task["needles"]}) == 10 and len(task["needles"]) == 10
    assert (task["begin"], task["marks"], task["text"]) == ([0], [0, 1, 2], "\nThe passkey is D.\n")


def ranges(folder, scripts):
    sys.path.append(scripts)
    from tokenize_lib import units
    with open(folder + "/texts/a.jsonl", "rb") as file:
        whole = file.read()
    for path, text in ((folder + "/ends.jsonl", whole), (folder + "/open.jsonl", whole.rstrip())):
        with open(path, "wb") as file:
            file.write(text)
        for units.RANGE, units.BLOCK in ((100, 1 << 20), (4096, 50), (1 << 20, 1000), (len(text), 7)):
            blocks = [block for unit in units.units_of(path) for block in units.line_blocks(unit)]
            assert b"".join(blocks) == text, f"{path} in ranges of {units.RANGE}: other bytes"
            assert all(block.endswith(b"\n") for block in blocks[:-1]), "a block ends within a line"


if __name__ == "__main__":
    {"make": make, "hold": hold, "needle": needle, "ranges": ranges}[sys.argv[1]](*sys.argv[2:])
