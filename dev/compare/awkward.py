#!/usr/bin/env python3
"""Holds scripts/tokenize.py to transformers, and the bytes of `eval` to Python, on awkward text made of a seed:

    build/compare-env/bin/python dev/compare/awkward.py [--megabytes 1] [--seed 1] [--workers N] [--keep FOLDER]

Text of many scripts, emoji with joiners, long runs of spaces, control characters, line ends of all kinds, broken UTF-8,
digits, written marks, and this Python's own sources. Two tokenizers are trained on some of it: byte-level BPE as Llama 3
has it, and pieces with byte fallback as Llama 2 has it.

Exit status 0: every document has the same ids, and `eval` counts the bytes of the text; 1: not.
"""
import argparse
import collections
import glob
import hashlib
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "true"

import numpy
import tokenizers
import torch
import transformers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

import program

ROOT = Path(__file__).resolve().parents[2]
LLAMA3_WORDS = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
                r"|\s+(?!\S)|\s+")
BATCH = 500  # documents that transformers is given at a time

# ---- The text

SCRIPTS = ((0x41, 0x7B), (0xC0, 0x250), (0x1E00, 0x1F00), (0x370, 0x400), (0x400, 0x530), (0x531, 0x58A), (0x591, 0x5F5),
           (0x600, 0x700), (0x900, 0x980), (0x980, 0xA00), (0xB80, 0xC00), (0xE01, 0xE5C), (0xF00, 0xFBD), (0x1000, 0x10A0),
           (0x10A0, 0x1100), (0x1200, 0x1380), (0x1780, 0x17FA), (0x1800, 0x18AB), (0x2200, 0x2300), (0x3041, 0x3100),
           (0x4E00, 0x9FFF), (0xAC00, 0xD7A4), (0xFB00, 0xFB50), (0xFF00, 0xFFF0), (0x10330, 0x1034B), (0x1D400, 0x1D800),
           (0x20000, 0x2A6E0), (0xE000, 0xE100))
MARKS_ABOVE = [chr(c) for c in range(0x300, 0x370)]
EMOJI = [chr(c) for c in range(0x1F300, 0x1F650)]
JOINERS = ["\u200d", "\ufe0f", "\u200d\u2640\ufe0f", "\U0001f3fd", "\u20e3", "\u200d\u200d"]
SPACES = [" ", "\t", "\n", "\r\n", "\r", "\u00a0", "\u2003", "\u3000", "\u200b", "\u2028", "\x0b", "\x0c", "\x85"]
CONTROLS = [chr(c) for c in (*range(32), *range(0x7F, 0xA0), 0x200E, 0x202E, 0x2066, 0xFEFF, 0xFFFD, 0xFFFE, 0x10FFFF)]
WRITTEN = ["<s>", "</s>", "<unk>", "<|begin_of_text|>", "<|end_of_text|>", "<0x0A>", "\u2581", "\u0120", "[INST]", "<|im_end|>"]


def word(draw):
    first, end = draw.choice(SCRIPTS)
    return "".join(chr(draw.randrange(first, end)) for _ in range(draw.randrange(1, 12)))


def scripts(draw):
    return " ".join(word(draw) for _ in range(draw.randrange(1, 200)))


def accents(draw):
    return "".join(draw.choice("aeiou noxyzE") + "".join(draw.choices(MARKS_ABOVE, k=draw.randrange(4))) for _ in range(300))


def emoji(draw):
    return "".join(draw.choice(EMOJI) + draw.choice(["", " ", *JOINERS]) for _ in range(draw.randrange(1, 300)))


def spaces(draw):
    runs = (draw.choice(SPACES) * draw.choice([1, 2, 3, 7, 16, 17, 100, 4000]) + word(draw) for _ in range(20))
    return "".join(runs)


def controls(draw):
    return "".join(draw.choice([draw.choice(CONTROLS), word(draw)]) for _ in range(200))


def lines(draw):
    end = draw.choice(["\r\n", "\n", "\r", "\n\r", "\r\n\r\n"])
    return end.join(" ".join(word(draw) for _ in range(draw.randrange(10))) for _ in range(60))


def broken(draw):
    text = bytearray(scripts(draw).encode())
    for _ in range(len(text) // 20):
        text[draw.randrange(len(text))] = draw.randrange(256)
    return bytes(text).decode(errors="replace")


def digits(draw):
    signs = "0123456789" * 4 + ".,-+eE:/ \u0661\u0662\u0663\u0967\u00b2\u00bd\u2167"
    return "".join(draw.choices(signs, k=draw.randrange(1, 3000)))


def written(draw):
    return "".join(draw.choice([draw.choice(WRITTEN), " ", word(draw), "don't we'LL I'd", "x" * 500]) for _ in range(60))


def half_pairs(draw):
    return json.dumps(emoji(draw))[1:-1] + draw.choice(["\ud83d", "\udc4d a", "\udc4d\ud83d"])


SOURCES = sorted(glob.glob(os.path.dirname(os.__file__) + "/**/*.py", recursive=True))


def sources(draw):
    text = Path(draw.choice(SOURCES)).read_bytes().decode(errors="replace")
    at = draw.randrange(max(1, len(text) - 30000))
    return text[at:at + draw.choice([100, 3000, 30000])]


KINDS = (scripts, accents, emoji, spaces, controls, lines, broken, digits, written, half_pairs, sources, sources)


def texts_of(seed, size):
    """Documents of some `size` bytes, each with its number in it, so that no two are alike."""
    draw, number = random.Random(seed), 0
    while size > 0:
        text = f"{draw.choice(KINDS)(draw)} {number}"
        yield text
        size -= len(text.encode(errors="replace"))
        number += 1


def whole(text):
    """Half of a surrogate pair is no character: U+FFFD stands for it, as tokenize.py says."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


# ---- The tokenizers


def byte_level(texts, size):
    tokenizer = tokenizers.Tokenizer(models.BPE(ignore_merges=True))
    split = pre_tokenizers.Split(tokenizers.Regex(LLAMA3_WORDS), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    marks = ["<|begin_of_text|>", "<|end_of_text|>"]
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=size, special_tokens=marks, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{marks[0]} $A", special_tokens=[(marks[0], 0)])
    return tokenizer, marks


def pieces(texts, size):
    """What Llama 2's tokenizer.json holds: no words, a space before each text, and bytes of unknown characters."""
    tokenizer = tokenizers.Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<unk>", "<s>", "</s>"]
    texts = [text.replace("\0", "") for text in texts]  # no model has a piece with a zero byte, but <0x00>
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=size, special_tokens=special, show_progress=False,
                                                             limit_alphabet=700, max_token_length=16))
    made = json.loads(tokenizer.to_str())
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    learned = sorted(made["model"]["vocab"], key=made["model"]["vocab"].get)
    vocabulary = dict.fromkeys([*special, *fallback, *learned])  # in this order, each once
    made["model"] |= {"vocab": {piece: i for i, piece in enumerate(vocabulary)}, "byte_fallback": True, "fuse_unk": True}
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(made))
    tokenizer.pre_tokenizer = None
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(" ", 1, 0)])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer, ["<s>", "</s>"]


TOKENIZERS = {"byte-level BPE, as Llama 3": byte_level, "pieces with byte fallback, as Llama 2": pieces}


def make_model(folder, make, texts, size):
    """A folder with the tokenizer, and a model so small that only its vocabulary counts."""
    tokenizer, (bos, eos) = make(texts, size)
    config = transformers.LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=64, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=1, num_key_value_heads=1, head_dim=64, bos_token_id=tokenizer.token_to_id(bos),
        eos_token_id=tokenizer.token_to_id(eos))
    transformers.set_seed(1)
    transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": bos, "eos_token": eos}))
    return config


# ---- What is held


def documents_of(ids, eos):
    """Pieces up to each end mark, which a text may spell too."""
    ends = numpy.flatnonzero(ids == eos) + 1
    return (hashlib.blake2b(piece.tobytes(), digest_size=16).digest() for piece in numpy.split(ids, ends) if piece.size)


def ids_of_transformers(folder, texts, eos):
    """(documents, tokens), by AutoTokenizer alone."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    found, tokens, batch = collections.Counter(), 0, []

    def take():
        nonlocal tokens
        for ids in tokenizer(batch)["input_ids"]:
            found.update(documents_of(numpy.array(ids + [eos], "<u2"), eos))
            tokens += len(ids) + 1
        batch.clear()

    for text in texts:
        batch.append(text)
        if len(batch) == BATCH:
            take()
    if batch:
        take()
    return found, tokens


def tokenize(options, folder, texts, out):
    words = [ROOT / "scripts/tokenize.py", folder, texts, "--out", out, "--workers", options.workers, "--val-fraction", 0,
             "--binary", options.binary, "--venv", ROOT / "build/tokenize-env", "--seed", options.seed]
    done = subprocess.run([str(w) for w in words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"tokenize.py ended with status {done.returncode}: {done.stderr.strip().splitlines()[-1]}")
    return program.read_shards(str(out / "train_*.bin"))


def hold_bytes(options, folder, shards, ids, eos):
    """`eval` of the first documents counts the bytes of their text, as the library decodes it between marks."""
    ends = numpy.flatnonzero(ids == eos)
    last = int(ends[ends <= 6000][-1])
    library = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    marks = [i for i, token in library.get_added_tokens_decoder().items() if token.special]
    spans = numpy.split(ids[:last + 1], numpy.flatnonzero(numpy.isin(ids[:last + 1], marks)))
    wanted = sum(len(library.decode([int(i) for i in span if i not in marks]).encode()) for span in spans)
    text = program.run(options.binary, "eval", "--model", folder, "--data", shards, "--seq-len", last, "--val-batches", 1,
                       "--device", "cpu").decode()
    found = json.loads(text[text.index("{"):])
    per_byte = found["nats_per_target"] * found["targets"] / wanted
    right = found.get("bytes") == wanted and abs(found["nats_per_byte"] / per_byte - 1) < 1e-8
    return right, f"{found.get('bytes')} bytes in {last} targets, {wanted} by Python"


def hold(options, name, folder, texts):
    sample = [whole(text) for text in texts_of(options.seed + 1, options.sample)]
    config = make_model(folder, TOKENIZERS[name], sample, options.vocabulary)
    shards = folder / "shards"
    began = time.monotonic()
    ids = tokenize(options, folder, texts, shards)
    ours = collections.Counter(documents_of(ids, config.eos_token_id))
    between = time.monotonic()
    kept = (whole(text) for text in texts_of(options.seed, options.megabytes * 10**6) if text.strip())
    theirs, tokens = ids_of_transformers(folder, kept, config.eos_token_id)
    other = sum((theirs - ours).values())
    right, bytes_text = hold_bytes(options, folder, str(shards / "train_*.bin"), ids, config.eos_token_id)
    same = ours == theirs and len(ids) == tokens
    print(f"{name}: {len(ids)} tokens in {sum(theirs.values())} documents, {other} of them with other ids; "
          f"{bytes_text} (tokenize.py {between - began:.0f} s, transformers {time.monotonic() - between:.0f} s)", flush=True)
    if not same or not right:
        print(f"WRONG  {name}: {'other ids' if not same else 'other bytes'}; {tokens} tokens in transformers")
    return same and right


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="build/train_gpt_lighthouse", help="the program")
    parser.add_argument("--megabytes", type=int, default=1, help="text, of 10^6 bytes (1)")
    parser.add_argument("--sample", type=int, default=500_000, help="bytes that the tokenizers are trained on (500000)")
    parser.add_argument("--vocabulary", type=int, default=4000, help="ids of each tokenizer (4000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--keep", type=Path, help="a new folder for what is made, to look at")
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as scratch:
        work = options.keep or Path(scratch)
        work.mkdir(exist_ok=True)
        texts, size = work / "texts.jsonl", 0
        with open(texts, "w", encoding="ascii") as file:
            for text in texts_of(options.seed, options.megabytes * 10**6):
                size += len(text.encode(errors="replace"))
                file.write(json.dumps({"text": text}) + "\n")
        right = []
        for name in TOKENIZERS:
            folder = work / re.sub(r"\W+", "_", name)
            folder.mkdir()
            right.append(hold(options, name, folder, texts))
    versions = f"transformers {transformers.__version__}, tokenizers {tokenizers.__version__}"
    print(f"awkward: {size} bytes, {'the same ids and bytes' if all(right) else 'NOT the same'} ({versions})")
    sys.exit(0 if all(right) else 1)


if __name__ == "__main__":
    main()
