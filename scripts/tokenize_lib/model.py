"""The model's tokenizer, and the marks of its documents."""
import hashlib
import os
import sys

from tokenize_lib.json_files import read_json
from tokenize_lib.refused import DATA, Refused, USAGE


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


def is_ordinary(tokenizer, mark):
    """Whether texts may have it as one of their own tokens."""
    added = tokenizer.get_added_tokens_decoder().get(mark)
    return tokenizer.id_to_token(mark) is not None and not (added and added.special)


def tell_marks(args, tokenizer, path, marks):
    for name, verb in (("bos", "begin"), ("eos", "end")):
        if marks[name] is not None:
            print(f"documents {verb} with {marks[name]} ({tokenizer.id_to_token(marks[name])})", file=sys.stderr)
    if is_ordinary(tokenizer, marks["eos"]):
        source = "--eos" if args.eos is not None else f"eos_token_id of {args.model}"
        print(f"warning: {source}: {marks['eos']} is an ordinary token of {path}, no special one: a text that has it "
              "is cut there into documents; name a special token with --eos", file=sys.stderr)


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
            raise Refused(USAGE, f"the mark {mark} ({name}) is no id below the vocab_size {vocab} of {args.model}/"
                                 "config.json: give the id that ends a document with --eos, or --bos no")
    tell_marks(args, tokenizer, path, marks)
    with open(path, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    return {"tokenizer": path, "sha256": digest, "vocab": vocab, "width": 2 if vocab <= 1 << 16 else 4,
            "special_as_text": args.special_as_text, "eos_ordinary": is_ordinary(tokenizer, marks["eos"]), **marks}
