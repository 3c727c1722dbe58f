"""The loss that transformers finds. As a program, which may run under another version of it: a list of models from standard
input, their losses to standard output, as JSON."""
import json
import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy
import torch
import transformers

transformers.logging.set_verbosity_error()
SEQUENCES = 2


def loss_of(model, tokens, context):
    """Mean over the first SEQUENCES sequences of `context` targets."""
    tokens = torch.from_numpy(tokens[: SEQUENCES * context + 1].astype(numpy.int64))
    logits = model(input_ids=tokens[:-1].view(SEQUENCES, context), use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits.double().flatten(0, 1), tokens[1:])


def loss_of_folder(folder, tokens, context):
    """The loss in float32, and what of the folder's tensors is missing, unknown or of another shape."""
    model, found = transformers.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True, dtype=torch.float32)
    faults = [fault for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") for fault in found[kind]]
    with torch.no_grad():
        return loss_of(model.eval(), tokens, context).item(), faults


def main():
    models = json.load(sys.stdin)
    found = [loss_of_folder(m["folder"], numpy.fromfile(m["ids"], "<u4"), m["context"]) for m in models]
    json.dump({"version": transformers.__version__, "found": found}, sys.stdout)


if __name__ == "__main__":
    main()
