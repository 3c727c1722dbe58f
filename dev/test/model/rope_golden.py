#!/usr/bin/env python3
"""Prints dev/test/model/rope_golden.h: RoPE frequencies as transformers computes them (with torch, on a CPU).

  pip install torch transformers && dev/test/model/rope_golden.py >dev/test/model/rope_golden.h
"""
import torch
import transformers
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

LLAMA31 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
               original_max_position_embeddings=8192)
QWEN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=32768)
# what it is, its text for --rope-scaling, theta, head width, context, positions of a sequence, rope_parameters
ROWS = [
    ("Llama 3.1 8B", "llama3:factor=8,original=8192,low_freq_factor=1,high_freq_factor=4", 5e5, 128, 131072, 0, LLAMA31),
    ("Llama 3.2 1B", "llama3:factor=32,original=8192,low_freq_factor=1,high_freq_factor=4", 5e5, 64, 131072, 0,
     LLAMA31 | dict(factor=32.0)),
    ("linear", "linear:factor=4", 1e4, 128, 16384, 0, dict(rope_type="linear", factor=4.0)),
    ("dynamic, within its context", "dynamic:factor=2,original=4096", 1e4, 128, 4096, 4000,
     dict(rope_type="dynamic", factor=2.0)),
    ("dynamic, beyond it", "dynamic:factor=2,original=4096", 1e4, 128, 4096, 16384,
     dict(rope_type="dynamic", factor=2.0)),
    ("Qwen 2.5, extended", "yarn:factor=4,original=32768", 1e6, 128, 131072, 0, QWEN),
    ("yarn, narrow heads", "yarn:factor=16,original=4096", 1e4, 64, 65536, 0,
     QWEN | dict(factor=16.0, original_max_position_embeddings=4096)),
    ("yarn, bounds and attention said", "yarn:factor=8,original=4096,attention_factor=1.5,beta_fast=20,beta_slow=2",
     1e4, 128, 32768, 0, dict(rope_type="yarn", factor=8.0, original_max_position_embeddings=4096,
                              attention_factor=1.5, beta_fast=20.0, beta_slow=2.0)),
    ("yarn, both mscales, not truncated", "yarn:factor=40,original=4096,mscale=1,mscale_all_dim=0.7,truncate=false",
     1e4, 64, 163840, 0, dict(rope_type="yarn", factor=40.0, original_max_position_embeddings=4096, mscale=1.0,
                              mscale_all_dim=0.7, truncate=False)),
    ("yarn, one mscale alone", "yarn:factor=40,original=4096,mscale=0.7", 1e4, 64, 163840, 0,
     dict(rope_type="yarn", factor=40.0, original_max_position_embeddings=4096, mscale=0.7)),
]
EVERY = 4  # pairs between two that are kept

print(f"""// RoPE frequencies as transformers {transformers.__version__} computes them with torch {torch.__version__}, in float32: every
// {EVERY}th pair. Written by rope_golden.py.
// clang-format off
static const RopeGolden goldens[] = {{""")
for name, text, theta, width, context, positions, parameters in ROWS:
    config = LlamaConfig(hidden_size=2 * width, num_attention_heads=2, head_dim=width, max_position_embeddings=context,
                         rope_parameters=dict(parameters, rope_theta=theta))
    found, attention = ROPE_INIT_FUNCTIONS[parameters["rope_type"]](config, "cpu", seq_len=positions or None)
    values = ", ".join(f"{value:.9g}" for value in found.tolist()[::EVERY])
    print(f'    {{"{name}",\n     "{text}",\n     {theta:.0f}, {width}, {positions}, {attention:.17g},\n     {{{values}}}}},')
print("};\n// clang-format on")
