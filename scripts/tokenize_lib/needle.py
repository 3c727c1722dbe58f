"""Needle and question of `niah` in a model's own ids.

They are those that niah has for bytes (core/data/passkey.h). The file has the ids of the needle of each digit. The
question is what these ten begin with: a tokenizer may put the blank before a digit into the digit's token.
"""
import json
import os

from tokenize_lib.json_files import write_json
from tokenize_lib.model import load_tokenizer
from tokenize_lib.refused import DATA, Refused, USAGE

NEEDLE = "\nThe passkey is D.\n"


def encode_within(tokenizer, text):
    """Ids of a text that stands behind another one: many a tokenizer writes the beginning of a text otherwise."""
    before = tokenizer.encode("a", add_special_tokens=False).ids
    ids = tokenizer.encode("a" + text, add_special_tokens=False).ids
    if ids[:len(before)] != before:
        raise Refused(DATA, f"the tokenizer writes {text!r} and what is before it as one token")
    return ids[len(before):]


def check_place(path):
    """Only a file of needles is replaced."""
    try:
        with open(path, encoding="utf-8") as file:
            old = json.load(file)
    except FileNotFoundError:
        return
    except (OSError, ValueError):
        old = None
    if not isinstance(old, dict) or "needles" not in old:
        raise Refused(USAGE, f"--needle {path} is there, and holds no needles: name another file")


def make_needles(model):
    """What niah reads, of what read_model gives."""
    tokenizer = load_tokenizer(model["tokenizer"], model["special_as_text"])
    needles = [encode_within(tokenizer, NEEDLE.replace("D", str(digit))) for digit in range(10)]
    question = os.path.commonprefix(needles)
    answers = {tuple(needle[len(question):][:1]) for needle in needles}
    if () in answers or len(answers) < 10:
        raise Refused(DATA, f"{model['tokenizer']} has no token for each digit: the ten needles do not part there")
    special = [i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special]
    marks = {mark for mark in (model["bos"], model["eos"], *special) if mark is not None and mark < model["vocab"]}
    begin = [] if model["bos"] is None else [model["bos"]]
    return {"text": NEEDLE, "begin": begin, "question": question, "needles": needles, "marks": sorted(marks)}


def write_needles(path, model):
    check_place(path)
    needles = make_needles(model)
    write_json(path, needles)
    answers = [needle[len(needles["question"])] for needle in needles["needles"]]
    print(f"{path}: the question is {len(needles['question'])} tokens; the digits 0 to 9 are {answers}")
