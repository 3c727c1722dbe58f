#!/usr/bin/env python3
"""Checks that transformers serves a model folder of this program as it is, with the same loss and the same text.

    dev/compare/model_folder.py MODEL_DIR --binary build/train_gpt_lighthouse --data 'val_*.bin'

1. AutoModelForCausalLM loads the folder in float32, or bf16 where it was exported so: no tensor missing, none unknown.
2. AutoTokenizer gives BOS and then the bytes of any text, and the text back.
3. Both compute the loss of the data's first sequences; the two must agree to 1e-4 nats a target (in float32, whatever
   the weights are), to 2e-3 with --device cuda, where the program computes in bf16 (transformers in float32, on the same device).
4. The likeliest bytes that `generate --temperature 0` goes on with are the likeliest to transformers too, each within
   1e-3 of the highest logit (0.05 with --device cuda).

Without --binary and --data only 1 and 2 are checked. Exit status 0: all right; 1: not; 77: transformers is missing.
"""
import argparse
import sys

try:
    import numpy
    import torch
    import transformers

    import program

    MISSING = None
except ImportError as missing:
    MISSING = f"needs torch, transformers and numpy ({missing})"

BOS, EOS = 256, 257
LOGIT_TOLERANCE = {"cpu": 1e-3, "cuda": 0.05}
TOLERANCE = {"cpu": 1e-4, "cuda": 2e-3}  # nats a target, by the device of the program; the GPU computes in bf16

AWKWARD_TEXTS = [
    "",
    "plain",
    "grüße, 世界, עולם, 🚀👩‍👩‍👧, e\u0301 and \u00e9",  # decomposed and composed: must stay as they are
    "".join(map(chr, range(0x300))),  # control characters, and every character a byte-level vocabulary renames
    "\ufeff\u2028\uffff\U0010ffff\x7f\x00",
    "  spaces ,  and . punctuation ! it 's do n't\r\n\t \n",
    "<|begin_of_text|>in<|end_of_text|>",
    " <|end_of_text|> <|end_of_text|><s></s><unk><pad>",
    "Ā Ġ Ċ ▁ ",  # what tokenizers write for bytes and spaces
    "x" * 1000,
]


def expect(condition, message):
    if not condition:
        print(f"WRONG: {message}")
        sys.exit(1)


def check_model(folder):
    model, report = transformers.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    for fault in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        expect(not report[fault], f"{fault}: {report[fault]}")
    expect(type(model).__name__ == "LlamaForCausalLM", f"loaded as {type(model).__name__}")
    expect(model.dtype == model.config.dtype, f"loaded as {model.dtype}, config.json says {model.config.dtype}")
    expect(model.dtype in (torch.float32, torch.bfloat16), f"loaded as {model.dtype}")
    expect((model.config.bos_token_id, model.config.eos_token_id) == (BOS, EOS), "bos or eos id of config.json")
    print(f"model: {sum(p.numel() for p in model.parameters()):,} parameters, {model.dtype}, "
          f"context {model.config.max_position_embeddings:,}, as transformers {transformers.__version__} reads it")
    return model.float().eval()


def check_tokenizer(folder):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    expect((tokenizer.bos_token_id, tokenizer.eos_token_id) == (BOS, EOS), "bos or eos id of the tokenizer")
    for text in AWKWARD_TEXTS:
        data = list(text.encode())
        ids = tokenizer(text)["input_ids"]
        expect(ids == [BOS] + data, f"{text[:40]!r} gives {ids[:40]}")
        expect(tokenizer(text, add_special_tokens=False)["input_ids"] == data, f"{text[:40]!r} without BOS")
        for back in (tokenizer.decode(data), tokenizer.decode(ids + [EOS], skip_special_tokens=True)):
            expect(back == text, f"{text[:40]!r} comes back as {back[:40]!r}")
    print(f"tokenizer: {len(AWKWARD_TEXTS)} awkward texts there and back")


def loss_by_transformers(model, data, sequences, device):
    """Nats a target over the first sequences of the model's context."""
    context = model.config.max_position_embeddings
    model = model.to(device)
    tokens = program.read_shards(data)[: sequences * context + 1].astype(numpy.int64)
    expect(len(tokens) > sequences * context, f"{data} holds {len(tokens)} tokens; ask for fewer --sequences")
    tokens = torch.from_numpy(tokens).to(device)
    nats = 0.0
    with torch.no_grad():
        for i in range(sequences):
            inputs, targets = tokens[i * context:][:context], tokens[i * context + 1:][:context]
            logits = model(input_ids=inputs[None], use_cache=False).logits[0]
            nats += torch.nn.functional.cross_entropy(logits.double(), targets, reduction="sum").item()
    return nats / (sequences * context)


def check_greedy(model, binary, folder, prompt, device):
    written = program.run(binary, "generate", "--model", folder, "--prompt", prompt, "--temperature", 0, "--max-bytes", 64,
                          "--device", device)
    given = prompt.encode()
    expect(written.startswith(given) and written.endswith(b"\n"), "the text does not begin with the prompt")
    text = written[len(given):-1]
    tokens = torch.tensor([[BOS, *given, *text]], device=device)
    with torch.no_grad():
        logits = model.to(device)(input_ids=tokens, use_cache=False).logits[0, len(given):, :EOS + 1]
    for i, byte in enumerate(text):
        missed = (logits[i].max() - logits[i, byte]).item()
        expect(missed <= LOGIT_TOLERANCE[device], f"byte {i} of {text!r} is {missed:.4f} below the likeliest")
    print(f"greedy text: {len(text)} bytes after {prompt!r}, the likeliest to both: {text[:40]!r}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="model folder or checkpoint")
    parser.add_argument("--binary", help="train_gpt_lighthouse")
    parser.add_argument("--data", help="pattern of shards")
    parser.add_argument("--prompt", default="The ", help="to go on from")
    parser.add_argument("--sequences", type=int, default=2, help="how many to compute the loss of")
    parser.add_argument("--device", default="cpu", choices=TOLERANCE, help="of both")
    options = parser.parse_args()
    if MISSING:
        print(f"skipped: {MISSING}")
        sys.exit(77)

    model = check_model(options.model)
    check_tokenizer(options.model)
    if options.binary and options.data:
        theirs = loss_by_transformers(model, options.data, options.sequences, options.device)
        ours = program.evaluate(options.binary, options.model, options.data, "--val-batches", options.sequences, "--device",
                                options.device)
        print(f"loss: transformers {theirs:.6f}, train_gpt_lighthouse {ours:.6f} nats a target")
        expect(abs(theirs - ours) <= TOLERANCE[options.device], f"the losses differ by {abs(theirs - ours):.2e}")
        check_greedy(model, options.binary, options.model, options.prompt, options.device)
    print("all right")


if __name__ == "__main__":
    try:
        main()
    except ValueError as refusal:
        expect(False, refusal)
