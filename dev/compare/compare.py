#!/usr/bin/env python3
"""Holds the program's CPU engine to transformers, on a tiny random model of every row of families.py.

    build/compare-env/bin/python dev/compare/compare.py [--binary build/train_gpt_lighthouse] [--only WORD] [--keep FOLDER]

loss       `eval` of the model's folder, in float32 and in bf16: 1e-5 nats a target
gradients  of one update by `train --init`, out of AdamW's first moment: 1e-4 of each tensor's largest
weights    after that update, against torch.optim.AdamW: 1e-6 where the gradient is no rounding error
update     loss after it: torch; transformers 5, transformers 4 and `eval` on the checkpoint: 1e-5 nats a target
files      config.json as transformers reads it; tokenizer files byte for byte; the ids of awkward texts
identity   load, export, load: every tensor bit for bit, of float32, bf16, one file and several

Exit status 0: all held; 1: not, or a fault that is planted beside them was not seen.
"""
import argparse
import copy
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from reference import SEQUENCES, loss_of, loss_of_folder  # before transformers: it keeps that from the network
import numpy
import tokenizers
import torch
import transformers
from safetensors.torch import load_file

import program
from families import CASES, PLANTED, SHAPE

LOSS, GRADIENT, WEIGHT = 1e-5, 1e-4, 1e-6
ROUNDING = 1e-3  # a gradient below this share of its tensor's largest may have any sign
RECIPE = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.95, "weight-decay": 0.5}
HERE = Path(__file__).parent
OLDER = Path(sys.prefix) / "older"  # transformers 4
AWKWARD_TEXT = "grüße, 世界 🚀 e\u0301 \ufeff\x00  two  spaces\r\n\t<s>in</s>" + "x" * 100
VARIANTS = {  # dtype and the most bytes of a file
    "float32": (torch.float32, "1GB"),
    "bf16": (torch.bfloat16, "1GB"),
    "float32 in parts": (torch.float32, "200KB"),
    "bf16 in parts": (torch.bfloat16, "100KB"),
}


class Report:
    """Quantities of a case with their largest errors, and those that do not hold."""

    def __init__(self, case):
        self.case, self.faulty, self.worst = case, set(), {}
        self.checkpoint, self.loss = None, None  # after the update, for transformers 4

    def fault(self, quantity, text):
        self.faulty.add(quantity.split(":")[0])
        if self.case != PLANTED:
            print(f"WRONG  {self.case.name}: {quantity}: {text}", flush=True)

    def hold(self, quantity, error, most, of=""):
        self.worst[quantity] = max(error, self.worst.get(quantity, 0.0))
        if not error <= most:  # also where it is no number
            self.fault(quantity, f"{of} is off by {error:.2e}, at most {most:.0e} may be".lstrip())

    def same(self, quantity, ours, theirs):
        if ours != theirs:
            self.fault(quantity, f"{ours} here, {theirs} in transformers")


# ---- The model, its tokenizer and its data


def config_of(case, more):
    return getattr(transformers, case.config)(**{**SHAPE, **case.settings, **more})


def random_model(case):
    """No weight has a value at which leaving it out would go unseen: neither norms of 1 nor biases of 0."""
    transformers.set_seed(1)
    model = transformers.AutoModelForCausalLM.from_config(config_of(case, {}), dtype=torch.float32)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 1:
                weight.add_(torch.randn_like(weight), alpha=0.2)
    return model


def tokenizer_files(folder):
    tokenizer = tokenizers.ByteLevelBPETokenizer()
    special = ["<unk>", "<s>", "</s>"]
    tokenizer.train_from_iterator([AWKWARD_TEXT, "and some words"], vocab_size=300, special_tokens=special,
                                  show_progress=False)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer._tokenizer, unk_token="<unk>", bos_token="<s>",
                                                eos_token="</s>", chat_template="{{ messages[0] }} \u00e9")
    fast.save_pretrained(folder)
    (folder / "merges.txt").write_bytes(b"#version: 0.2\r\na b\n")
    (folder / "LICENSE").write_bytes(b"a licence\n\n")
    return sorted(path.name for path in folder.iterdir())


def write_variants(model, folder):
    kept = None
    for name, (dtype, most) in VARIANTS.items():
        target = folder / name
        copy.deepcopy(model).to(dtype).save_pretrained(target, max_shard_size=most)
        kept = tokenizer_files(folder / "tokenizer") if kept is None else kept
        for file in kept:
            (target / file).write_bytes((folder / "tokenizer" / file).read_bytes())
    return [*kept, "generation_config.json"]


def write_data(binary, folder, vocab, context):
    """Random tokens, the first and last of the vocabulary among them, enough for one update."""
    tokens = numpy.random.default_rng(2).integers(0, vocab, SEQUENCES * context + 1).astype("<u4")
    tokens[[3, 5, 7, 11]] = [0, vocab - 1, vocab - 1, 0]
    tokens.tofile(folder / "ids.bin")
    program.run(binary, "pack", folder / "ids.bin", "--tokens", "uint32", "--vocab", vocab, "--val-fraction", 0, "--out",
                folder / "data")
    return tokens, str(folder / "data" / "*.bin")


# ---- What transformers computes


def hold_folder(report, quantity, expected, folder, tokens, context, of):
    """transformers finds that loss in the folder, and all of its tensors."""
    loss, faults = loss_of_folder(folder, tokens, context)
    report.same("files: tensors", faults, [])
    report.hold(quantity, abs(loss - expected), LOSS, of)


def decays(case, name):
    matrix = name.endswith(("_proj.weight", "lm_head.weight"))
    return matrix if case.decay == "matrices" else not name.endswith(".bias")


def adamw(case, model):
    named = list(model.named_parameters())
    groups = [{"params": [p for name, p in named if decays(case, name)]},
              {"params": [p for name, p in named if not decays(case, name)], "weight_decay": 0}]
    return torch.optim.AdamW(groups, lr=RECIPE["lr"], betas=(RECIPE["beta1"], RECIPE["beta2"]), eps=1e-8,
                             weight_decay=RECIPE["weight-decay"])


# ---- What is held


def tensors_of(folder):
    """Of all files. A name in two of them is a fault of whoever wrote them."""
    tensors = {}
    for path in sorted(Path(folder).glob("*.safetensors")):
        for name, tensor in load_file(path).items():
            assert name not in tensors, f"{path}: {name} twice"
            tensors[name] = tensor
    return tensors


def hold_gradients(report, checkpoint, model):
    moments = load_file(checkpoint / "trainer" / "optimizer.safetensors")
    first = {name.removesuffix(".exp_avg"): moment for name, moment in moments.items() if name.endswith(".exp_avg")}
    gradients = {name: weight.grad for name, weight in model.named_parameters()}
    report.same("gradients", sorted(first), sorted(gradients))
    for name in sorted(first.keys() & gradients.keys()):
        ours, theirs = first[name] / (1 - RECIPE["beta1"]), gradients[name]
        error = (ours - theirs).abs().max() / theirs.abs().max()
        report.hold("gradients", error.item(), GRADIENT, name)


def hold_weights(report, checkpoint, model):
    weights = tensors_of(checkpoint)
    expected = dict(model.named_parameters())
    report.same("weights", sorted(weights), sorted(expected))
    for name in sorted(weights.keys() & expected.keys()):
        gradient = expected[name].grad.abs()
        sure = (gradient > ROUNDING * gradient.max()) | (gradient == 0)
        error = ((weights[name] - expected[name].detach()).abs() * sure).max()
        report.hold("weights", error.item(), WEIGHT, name)


def hold_files(report, folder, result, kept, config):
    """`result` was made of `folder`, with `config` as its configuration."""
    for file in kept:
        if not (result / file).exists() or (result / file).read_bytes() != (folder / file).read_bytes():
            report.fault("files", f"{result.name}/{file} is not as it came")
    read, wanted = (json.loads(json.dumps(c.to_dict())) for c in (transformers.AutoConfig.from_pretrained(result), config))
    for member in sorted(wanted.keys() | read.keys()):
        if member not in ("dtype", "torch_dtype", "_name_or_path", "transformers_version", "architectures"):
            report.same(f"files: {member} of config.json", read.get(member), wanted.get(member))
    ids = [transformers.AutoTokenizer.from_pretrained(f)(AWKWARD_TEXT)["input_ids"] for f in (result, folder)]
    report.same("files: ids", *ids)


def hold_identity(report, binary, folder, kept, config):
    for name, (dtype, _) in VARIANTS.items():
        result = folder / "exported" / name
        result.parent.mkdir(exist_ok=True)
        for source, target in ((folder / name, result), (result, result.with_name(name + " again"))):
            as_bf16 = ("--bf16",) if dtype == torch.bfloat16 else ()
            program.run(binary, "export", "--model", source, "--out", target, *as_bf16)
            ours, theirs = tensors_of(target), tensors_of(folder / name)
            report.same("identity", sorted(ours), sorted(theirs))
            for tensor in sorted(ours.keys() & theirs.keys()):
                if ours[tensor].dtype != theirs[tensor].dtype or not torch.equal(ours[tensor], theirs[tensor]):
                    report.fault("identity", f"{tensor} of {name} is not as it came")
        hold_files(report, folder / name, result, kept, config)


def evaluate(binary, folder, data, context):
    return program.evaluate(binary, folder, data, "--val-batches", SEQUENCES, "--seq-len", context, "--device", "cpu")


def hold_loss(report, binary, folder, data, tokens, context):
    for name in ("float32", "bf16"):
        ours = evaluate(binary, folder / name, data, context)
        hold_folder(report, "loss", ours, folder / name, tokens, context, f"that of {name}")


def train(binary, case, folder, data, context):
    words = [word for name, value in RECIPE.items() for word in (f"--{name}", value)]
    program.run(binary, "train", "--init", folder / "float32", "--data", data, "--out", folder / "run", "--steps", 1,
                "--attention", "dense", "--global-batch", SEQUENCES, "--batch", 1, "--warmup", 0, "--clip", 0, "--seq-len",
                context, "--decay", case.decay, "--device", "cpu", *words, *case.train)
    return folder / "run" / "step_00000001"


def hold_update(report, binary, case, model, folder, kept, data, tokens):
    """One update by both from the same weights; `model` has the configuration that the options of `train` make."""
    context = case.context or model.config.max_position_embeddings
    checkpoint = train(binary, case, folder, data, context)
    optimizer = adamw(case, model)
    loss_of(model, tokens, context).backward()
    optimizer.step()
    hold_gradients(report, checkpoint, model)
    hold_weights(report, checkpoint, model)
    with torch.no_grad():
        theirs = loss_of(model, tokens, context).item()
    hold_folder(report, "update", theirs, checkpoint, tokens, context, "loss of the checkpoint in transformers")
    ours = evaluate(binary, checkpoint, data, context)
    report.hold("update", abs(ours - theirs), LOSS, "loss of the checkpoint in `eval`")
    hold_files(report, folder / "float32", checkpoint, kept, model.config)
    report.checkpoint = {"folder": str(checkpoint), "ids": str(folder / "ids.bin"), "context": context}
    report.loss = theirs


def hold_older(reports):
    """What transformers 4 reads of the checkpoints; its version."""
    reports = [report for report in reports if report.checkpoint]
    environment = {**os.environ, "PYTHONPATH": str(OLDER)}
    result = subprocess.run([sys.executable, HERE / "reference.py"], input=json.dumps([r.checkpoint for r in reports]).encode(),
                            env=environment, stdout=subprocess.PIPE, check=True)
    answer = json.loads(result.stdout)
    for report, (loss, faults) in zip(reports, answer["found"], strict=True):
        report.same("files: tensors", faults, [])
        report.hold("update", abs(loss - report.loss), LOSS, "loss of the checkpoint in transformers 4")
    return answer["version"]


def hold(case, binary, folder):
    report = Report(case)
    folder.mkdir(parents=True)
    model = random_model(case)
    changed = config_of(case, case.becomes)
    own, longer = (case.context or c.max_position_embeddings for c in (model.config, changed))
    kept = write_variants(model, folder)
    try:
        tokens, data = write_data(binary, folder, model.config.vocab_size, longer)
        hold_loss(report, binary, folder, data, tokens, own)
        hold_identity(report, binary, folder, kept, model.config)
        trained = transformers.AutoModelForCausalLM.from_config(changed, dtype=torch.float32)
        trained.load_state_dict(model.state_dict())
        hold_update(report, binary, case, trained.eval(), folder, kept, data, tokens)
    except program.Refused as refusal:
        report.fault("refused", refusal)
    if case != PLANTED:
        print(f"{case.name}: " + ", ".join(f"{name} {error:.1e}" for name, error in report.worst.items()), flush=True)
    return report


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="build/train_gpt_lighthouse", help="the program")
    parser.add_argument("--only", default="", help="cases with this word in their name")
    parser.add_argument("--keep", type=Path, help="a new folder for what is made, to look at")
    options = parser.parse_args()
    transformers.logging.disable_progress_bar()
    cases = [PLANTED, *(case for case in CASES if options.only in case.name)]
    with tempfile.TemporaryDirectory() as scratch:
        work = options.keep or Path(scratch)
        reports = [hold(case, options.binary, work / f"case_{i:02}") for i, case in enumerate(cases)]
        older = hold_older(reports[1:])
    planted, *reports = reports
    unseen = {"gradients", "weights", "update", "files"} - planted.faulty
    if unseen:
        print(f"WRONG  a base of RoPE that is 1 % off goes unseen in {', '.join(sorted(unseen))}")
    wrong = sum(1 for report in reports if report.faulty)
    versions = f"transformers {transformers.__version__} and {older}, torch {torch.__version__}"
    print(f"compare: {len(reports)} cases, {f'{wrong} did not hold' if wrong else 'all held'} ({versions})")
    sys.exit(1 if wrong or unseen or not reports else 0)


if __name__ == "__main__":
    main()
