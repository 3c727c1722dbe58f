#!/usr/bin/env python3
"""Texts into shards of a model's own token ids, through its tokenizer.json:

    scripts/tokenize.py MODEL INPUT... --out DIR [--val-fraction F] [--field NAME] [--workers N]
    scripts/tokenize.py MODEL --needle FILE

MODEL is a Hugging Face folder. An INPUT is a file or a folder: Parquet, Arrow, JSON lines (plain, .gz, .zst), or
text, of which each file is one document. The shards are made by `pack --tokens`, a part at a time. A run that was
stopped goes on at the part where it was, by the same command.

--needle writes the needle of `niah` in the model's ids, and tokenizes no input.

The packages tokenizers and pyarrow are installed from PyPI on first use, into the folder --venv.
"""
import os
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
if sys.path and os.path.realpath(sys.path[0] or ".") == HERE:
    del sys.path[0]  # Python's own module is called tokenize too
if HERE not in sys.path:
    sys.path.append(HERE)

import argparse
import glob
import shutil
import signal

from tokenize_lib.inputs import list_files
from tokenize_lib.model import read_model
from tokenize_lib.needle import write_needles
from tokenize_lib.packages import enter_environment
from tokenize_lib.parts import names_of, run_parts
from tokenize_lib.refused import DATA, Refused, STOPPED, USAGE
from tokenize_lib.units import make_parts
from tokenize_lib.work import WORK, hold_plan, hold_work, leave_nothing, move_shards, plan_of


def parse_words():
    parser = argparse.ArgumentParser(prog="tokenize.py", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="Hugging Face folder with tokenizer.json and config.json")
    parser.add_argument("inputs", nargs="*", metavar="INPUT", help="files and folders of texts")
    parser.add_argument("--out", help="folder for the shards")
    parser.add_argument("--needle", metavar="FILE", help="file for the needle of niah, in place of shards")
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
    args = parser.parse_intermixed_args()  # INPUT may stand behind options, too
    if args.needle is not None and (args.inputs or args.out is not None):
        parser.error("--needle takes no INPUT and no --out: it makes a file of its own")
    if args.needle is None and not (args.inputs and args.out is not None):
        parser.error("INPUT and --out are needed: the texts, and the folder for their shards")
    return args


def check_out(args, work):
    if not os.path.exists(os.path.join(work, "moves.json")) and glob.glob(glob.escape(args.out) + "/*.bin"):
        raise Refused(USAGE, f"--out {args.out} holds shards already: delete them, or name another folder")
    if not os.access(args.binary, os.X_OK):
        raise Refused(USAGE, f"{args.binary} is not there: make it, or name it with --binary")
    if args.workers < 1 or args.part_bytes < 1:
        raise Refused(USAGE, "--workers and --part-bytes must be 1 or more")
    if not 0 <= args.max_bad <= 1:
        raise Refused(USAGE, f"--max-bad {args.max_bad:g} is a share, from 0 to 1")


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
    if counts.documents == 0 and not counts.before:
        shutil.rmtree(work)
        names = names_of(unit for part in parts for unit in part)
        raise Refused(DATA, f"no text in the field {args.field} of {names}: name another with --field")
    moves = move_shards(work, args.out, len(parts))
    lock.close()
    text = (f"{args.out}: {len(moves)} shards; {counts.documents} documents, {counts.bytes} bytes, {progress.tokens} "
            "tokens")
    malformed = "malformed" + counts.worst()
    left = [f"{n} {what}" for n, what in ((counts.empty, "empty"), (counts.malformed, malformed)) if n]
    before = f"; {counts.before} of {len(parts)} parts were done before" if counts.before else ""
    return print(text + (f"; left out: {', '.join(left)}" if left else "") + before)


def stop(number, _frame):
    raise SystemExit(128 + number)


def main():
    args = parse_words()
    signal.signal(signal.SIGTERM, stop)
    try:
        enter_environment(args)
        if args.needle is None:
            tokenize(args)
        else:
            write_needles(args.needle, read_model(args))
    except Refused as error:
        print(f"tokenize.py: {error}", file=sys.stderr)
        return error.status
    except OSError as error:
        print(f"tokenize.py: {error}", file=sys.stderr)
        return DATA
    except (KeyboardInterrupt, SystemExit):
        goes_on = f"; the same command goes on in {args.out}" if args.out else ""
        print(f"tokenize.py: stopped{goes_on}", file=sys.stderr)
        return STOPPED
    return 0


if __name__ == "__main__":
    sys.exit(main())
