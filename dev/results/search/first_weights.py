#!/usr/bin/env python3
"""First weights other than the recipe's, for `train --init OUT`.   first_weights.py BASE OUT KIND

BASE is the checkpoint of `train --steps 1 --lr 0 --weight-decay 0`: the weights as drawn. KIND: `emb`, the embedding times
0.02 (now --embedding-std 0.02); `hf`, all matrices of std 0.02; `gpt2`, the same with outer matrices over sqrt(2 layers), of
12 layers; `torch`, uniform within 1/sqrt(inputs), the embedding of std 1; `flat`, as the recipe without its scaling by depth.
"""
import os
import shutil
import sys

import numpy as np
from safetensors.numpy import load_file, save_file

base, out, kind = sys.argv[1:]
os.makedirs(out)
for f in os.listdir(base):
    if f.endswith('.json'): shutil.copy(os.path.join(base, f), out)
w = load_file(os.path.join(base, 'model.safetensors'))
rng = np.random.default_rng(1)
for n in w:
    x = w[n]
    if x.ndim < 2: continue
    emb, head = 'embed' in n, 'lm_head' in n
    if kind == 'emb':
        if emb: x = x * 0.02
    elif kind == 'hf':
        x = rng.normal(0, 0.02, x.shape)
    elif kind == 'torch':
        if not emb: x = rng.uniform(-1, 1, x.shape) / np.sqrt(x.shape[1])
    elif kind == 'flat':
        if not emb and not head: x = rng.normal(0, 0.02, x.shape)
    elif kind == 'gpt2':  # all .02, outputs scaled by 1/sqrt(2 layers)
        x = rng.normal(0, 0.02, x.shape)
        if 'o_proj' in n or 'down_proj' in n: x = x / np.sqrt(24)
    w[n] = np.ascontiguousarray(x, dtype=np.float32)
save_file(w, os.path.join(out, 'model.safetensors'), metadata={'format': 'pt'})
