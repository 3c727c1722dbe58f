#!/usr/bin/env python3
"""Trains a plain PyTorch Llama beside a run of this program: same shape, first weights, data, recipe and stages.

    train_gpt_lighthouse train ... --steps 1 --lr 0 --weight-decay 0 --out INIT     # the first weights, as drawn
    train_gpt_lighthouse train ... --attention dense --out RUN                      # or Lighthouse with --switch-at
    dev/compare/pytorch_run.py RUN --init INIT/step_00000001 --log pytorch.jsonl

Everything else is read from RUN/run.json. The model is what anyone would write from F.linear, F.rms_norm and
F.scaled_dot_product_attention, with float32 weights under bf16 autocast, and torch.optim.AdamW; Lighthouse attention (the
`norm` scorer) is written down from its definition, with gathers that autograd differentiates. Both models are measured on
all of the validation shards under dense attention: PyTorch here, RUN by the program's own `eval` (--binary), or by its
figure given as --ours. Exit status 0: their losses are within --tolerance nats a byte; 1: they are not; 77: torch is missing.
"""
import argparse
import json
import math
import os
import sys
import time

try:
    import numpy
    import torch
    import torch.nn.functional as F
    from safetensors.torch import load_file

    import program

    MISSING = None
except ImportError as missing:
    MISSING = f"needs torch, safetensors and numpy ({missing})"


class Data:
    """The sequences of a set of shards: N inputs each, and the target behind the last."""

    def __init__(self, pattern, context):
        self.context = context
        self.tokens = program.read_shards(pattern)
        self.count = (len(self.tokens) - 1) // context

    def sequence(self, index):
        start = index % self.count * self.context
        return torch.from_numpy(self.tokens[start : start + self.context + 1].astype(numpy.int64))

    def batch(self, first, rows, device):
        return torch.stack([self.sequence(first + row) for row in range(rows)]).to(device)


class Lighthouse:
    """Selection around causal attention, every pyramid of rows in memory. Of a run's settings; `norm` scorer alone."""

    def __init__(self, settings):
        self.levels, self.pool, self.topk = (settings[name] for name in ("levels", "pool", "topk"))
        if settings["scorer"] != "norm":
            sys.exit(f"--scorer {settings['scorer']}: only the norm scorer is compared")
        context = settings["seq-len"]
        self.sizes = [context // self.pool**level for level in range(self.levels)]
        self.offsets = [sum(self.sizes[:level]) for level in range(self.levels)]
        self.chunks = self.topk // 128
        if self.sizes[-1] % self.chunks:
            sys.exit(f"{self.sizes[-1]} coarse entries are no multiple of {self.chunks} chunks: not compared")

    def pyramid(self, x):  # (B, H, N, D) -> (B, H, E, D): means over the spans of all entries, base level first
        return torch.cat([x.unflatten(2, (size, -1)).float().mean(3).to(x.dtype) for size in self.sizes], 2)

    def scores(self, x):  # (B, H, N, D) -> one (B, H, size) a level
        base = x.float().norm(dim=-1)
        return [base.unflatten(2, (size, -1)).amax(3) for size in self.sizes]

    def select(self, q, k):  # -> (B, H, S) entries of the pyramid in post-order
        scores_q, scores_k = self.scores(q), self.scores(k)
        B, H = q.shape[:2]
        candidates = torch.arange(self.sizes[-1], device=q.device).view(1, 1, self.chunks, -1).expand(B, H, -1, -1)
        entries, keys = [], []
        for level in reversed(range(self.levels)):
            span = self.pool**level
            entries.append((candidates + self.offsets[level]).flatten(2))
            keys.append((((candidates + 1) * span) * self.levels + level).flatten(2))  # by end, the finer first
            if level == 0:
                break
            by_q, by_k = (s[level].gather(2, candidates.flatten(2)).view_as(candidates) for s in (scores_q, scores_k))
            first = by_q.topk(64).indices
            second = by_k.scatter(3, first, -1.0).topk(64).indices
            chosen = candidates.gather(3, torch.cat([first, second], 3))
            candidates = (chosen[..., None] * self.pool + torch.arange(self.pool, device=q.device)).flatten(3)
        return torch.cat(entries, 2).gather(2, torch.cat(keys, 2).argsort(2))

    def __call__(self, q, k, v):  # (B, H, N, D) each
        B, H, N, D = q.shape
        with torch.no_grad():
            entries = self.select(q, k)
            count = entries.shape[2]
            positions = torch.full((B, H, sum(self.sizes)), count, device=q.device)
            positions.scatter_(2, entries, torch.arange(count, device=q.device).expand(B, H, -1))
        rows = entries[..., None].expand(-1, -1, -1, D)
        gathered = (self.pyramid(x).gather(2, rows) for x in (q, k, v))
        attended = F.pad(F.scaled_dot_product_attention(*gathered, is_causal=True), (0, 0, 0, 1))  # row `count` is zero
        out = torch.zeros(B, H, N, D, device=q.device)
        for level in reversed(range(self.levels)):
            span = self.pool**level
            covering = torch.arange(N - span + 1, device=q.device) // span + self.offsets[level]  # of t = span - 1 ...
            index = positions[:, :, covering][..., None].expand(-1, -1, -1, D)
            out = out + F.pad(attended.gather(2, index).float(), (0, 0, span - 1, 0))
        return out.to(q.dtype)


class Llama:
    """A decoder over a dictionary of weights that has the names of Hugging Face's LlamaForCausalLM."""

    def __init__(self, weights, settings, device):
        self.layers, self.heads, self.kv_heads = (settings[name] for name in ("layers", "heads", "kv-heads"))
        self.head_dim, self.eps = settings["head-dim"], settings["norm-eps"]
        self.lighthouse = Lighthouse(settings)
        if settings.get("rope-scaling", "none") != "none":
            sys.exit(f"--rope-scaling {settings['rope-scaling']}: only plain RoPE is compared")
        dense = settings["dense-layers"]
        named = {"none": [], "all": range(self.layers)}.get(dense) if dense in ("none", "all") else map(int, dense.split(","))
        self.dense = {layer % self.layers for layer in named}
        self.weights = {name: torch.nn.Parameter(weight.to(device)) for name, weight in weights.items()}
        pairs = torch.arange(0, self.head_dim, 2, dtype=torch.float64)
        angles = torch.arange(settings["seq-len"], dtype=torch.float64)[:, None] / settings["rope-theta"] ** (pairs / self.head_dim)
        self.cos, self.sin = (f(torch.cat([angles, angles], -1)).to(device, torch.float32) for f in (torch.cos, torch.sin))

    def norm(self, x, name):
        return F.rms_norm(x.float(), x.shape[-1:], self.weights[name + ".weight"], self.eps)

    def linear(self, x, name):
        return F.linear(x, self.weights[name + ".weight"])

    def rotate(self, x):  # (B, H, N, D)
        left, right = x.float().chunk(2, -1)
        return (x * self.cos + torch.cat([-right, left], -1) * self.sin).to(torch.bfloat16)

    def attention(self, x, prefix, dense):
        B, N, _ = x.shape
        q, k, v = (self.linear(x, f"{prefix}.{which}_proj").view(B, N, -1, self.head_dim).transpose(1, 2) for which in "qkv")
        q, (k, v) = self.rotate(q), (x.repeat_interleave(self.heads // self.kv_heads, 1) for x in (self.rotate(k), v))
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True) if dense else self.lighthouse(q, k, v)
        return self.linear(out.transpose(1, 2).reshape(B, N, -1), f"{prefix}.o_proj")

    def block(self, x, prefix, dense):
        x = x + self.attention(self.norm(x, f"{prefix}.input_layernorm"), f"{prefix}.self_attn", dense)
        y = self.norm(x, f"{prefix}.post_attention_layernorm")
        gate, up = (self.linear(y, f"{prefix}.mlp.{which}_proj") for which in ("gate", "up"))
        return x + self.linear(F.silu(gate) * up, f"{prefix}.mlp.down_proj")

    def loss(self, tokens, dense):  # (B, N+1) -> mean nats a target
        x = F.embedding(tokens[:, :-1], self.weights["model.embed_tokens.weight"])
        for layer in range(self.layers):
            x = self.block(x, f"model.layers.{layer}", dense or layer in self.dense)
        logits = self.linear(self.norm(x, "model.norm"), "lm_head")
        return F.cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten())


def train(model, loss_of, data, settings, device, log):
    parameters = list(model.weights.values())
    optimizer = torch.optim.AdamW(parameters, lr=settings["lr"], betas=(settings["beta1"], settings["beta2"]), eps=1e-8,
                                  weight_decay=settings["weight-decay"])
    if settings["schedule"] != "constant":
        sys.exit(f"--schedule {settings['schedule']}: only the constant schedule is compared")
    start, batch, steps = time.time(), settings["batch"], settings["steps"]
    micro_steps = settings["global-batch"] // batch
    for step in range(steps):
        lr = settings["lr"] * min(1, (step + 1) / max(1, settings["warmup"]))
        for group in optimizer.param_groups:
            group["lr"] = lr
        dense = settings["attention"] == "dense" or 0 < settings["switch-at"] <= step
        total = 0.0
        for micro in range(micro_steps):
            tokens = data.batch((step * micro_steps + micro) * batch, batch, device)
            loss = loss_of(tokens, dense) / micro_steps
            loss.backward()
            total += loss.detach()
        norm = torch.nn.utils.clip_grad_norm_(parameters, settings["clip"] if settings["clip"] > 0 else math.inf)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        log.write(json.dumps({"step": step + 1, "loss": float(total), "grad_norm": float(norm), "lr": lr}) + "\n")
        if step == 0 or (step + 1) % 100 == 0:
            print(f"PyTorch step {step + 1}/{steps}  loss {float(total):.4f}  grad {float(norm):.3f}  {time.time() - start:.0f} s",
                  flush=True)


def evaluate(loss_of, data, device):
    with torch.no_grad():
        return sum(float(loss_of(data.batch(i, 1, device), True)) for i in range(data.count)) / data.count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder of the dense run")
    parser.add_argument("--init", required=True, help="model folder with the first weights")
    parser.add_argument("--binary", default="build/train_gpt_lighthouse", help="train_gpt_lighthouse")
    parser.add_argument("--ours", type=float, help="nats a target of RUN, where it has been evaluated")
    parser.add_argument("--tolerance", type=float, default=0.03, help="nats a target")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--wait", action="store_true", help="RUN is still being trained, on another GPU: wait for its end")
    parser.add_argument("--eager", action="store_true", help="without torch.compile")
    parser.add_argument("--log", default=os.devnull, help="one JSON line a step")
    options = parser.parse_args()
    if MISSING:
        print(f"skipped: {MISSING}")
        sys.exit(77)

    with open(os.path.join(options.run, "run.json")) as file:
        settings = json.load(file)["settings"]
    torch.set_float32_matmul_precision("high")
    weights = load_file(os.path.join(options.init, "model.safetensors"))
    model = Llama(weights, settings, options.device)

    def loss_of(tokens, dense):
        with torch.autocast(options.device, dtype=torch.bfloat16):
            return model.loss(tokens, dense)

    compiled = loss_of if options.eager else torch.compile(loss_of)
    print(f"PyTorch {torch.__version__}: {sum(w.numel() for w in weights.values()):,} parameters", flush=True)
    with open(options.log, "w", buffering=1) as log:
        train(model, compiled, Data(settings["data"], settings["seq-len"]), settings, options.device, log)
    theirs = evaluate(loss_of, Data(settings["val"], settings["seq-len"]), options.device)
    ours = options.ours
    last_checkpoint = os.path.join(options.run, f"step_{settings['steps']:08d}")
    while options.wait and not os.path.exists(last_checkpoint):
        time.sleep(1)
    if ours is None:
        ours = program.evaluate(options.binary, options.run, settings["val"], "--device", options.device)
    print(f"validation: PyTorch {theirs:.4f}, train_gpt_lighthouse {ours:.4f} nats a target, difference {ours - theirs:+.4f}")
    sys.exit(0 if abs(ours - theirs) <= options.tolerance else 1)


if __name__ == "__main__":
    main()
