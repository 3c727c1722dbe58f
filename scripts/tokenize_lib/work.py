"""The folder of a run that goes on: its plan, its lock, finished parts, and the move of their shards into place."""
import fcntl
import glob
import json
import os
import shutil
import sys

from tokenize_lib.json_files import read_json, write_json
from tokenize_lib.refused import DATA, Refused, USAGE

WORK = ".tokenizing"  # in --out: the plan, and finished parts


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


def leave_nothing(args, work):
    """What has failed before its first part was whole leaves nothing behind."""
    if glob.glob(glob.escape(work) + "/*.done"):
        return
    shutil.rmtree(work, ignore_errors=True)
    if os.path.isdir(args.out) and not os.listdir(args.out):
        os.rmdir(args.out)
