"""What the scripts here ask of train_gpt_lighthouse, and its shards, read without it."""
import glob
import json
import struct
import subprocess

import numpy

SHARD_HEADER = 64  # bytes; core/data/shard.h has the format


class Refused(ValueError):
    """The program ended with another status than 0; says its command, status and last line of errors."""


def run(binary, *words):
    """Standard output, as bytes."""
    command = [str(word) for word in (binary, *words)]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if result.returncode != 0:
        lines = result.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise Refused(f"{command[1]} ended with status {result.returncode}: {lines[-1]}")
    return result.stdout


def evaluate(binary, model, data, *options):
    """The validation loss that `eval` finds, in nats a target."""
    text = run(binary, "eval", "--model", model, "--data", data, *options).decode()
    return json.loads(text[text.index("{"):])["nats_per_target"]


def read_shard(path):
    with open(path, "rb") as file:
        magic, version, width, count = struct.unpack("<8sIIQ", file.read(24))
    if magic != b"LHSHARD\n" or version != 1:
        raise ValueError(f"{path} is not a shard")
    return numpy.fromfile(path, f"<u{width}", count, offset=SHARD_HEADER)


def read_shards(pattern):
    """The tokens of all shards in order of their names."""
    paths = sorted(glob.glob(pattern))
    if not paths:
        raise ValueError(f"no shard matches {pattern}")
    return numpy.concatenate([read_shard(path) for path in paths])
