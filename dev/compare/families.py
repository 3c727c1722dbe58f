"""The models that compare.py makes: a row for each property of a family of the program's table."""
from dataclasses import dataclass, field


@dataclass
class Case:
    name: str
    config: str  # class of transformers
    settings: dict = field(default_factory=dict)  # what differs from SHAPE
    train: tuple = ()  # options of `train --init` that change the model,
    becomes: dict = field(default_factory=dict)  # and what they make of its configuration
    context: int = 0  # targets of a sequence, where they are not max_position_embeddings
    decay: str = "all"  # --decay


SHAPE = {
    "vocab_size": 512,
    "hidden_size": 128,
    "intermediate_size": 192,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "max_position_embeddings": 128,
    "tie_word_embeddings": False,
    "rms_norm_eps": 1e-5,
    "initializer_range": 0.1,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

LLAMA3 = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
          "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 32}

CASES = [
    Case("llama", "LlamaConfig"),
    Case("llama, grouped queries", "LlamaConfig", {"num_attention_heads": 4, "num_key_value_heads": 1}),
    Case("llama, odd vocabulary", "LlamaConfig", {"vocab_size": 509}),
    Case("llama, heads of 128 beside a width of 64", "LlamaConfig", {"head_dim": 128, "hidden_size": 64}),
    Case("llama, another base", "LlamaConfig", {"rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}}),
    Case("llama, a longer context", "LlamaConfig", {}, ("--rope-theta", 80000),
         {"max_position_embeddings": 256, "rope_parameters": {"rope_type": "default", "rope_theta": 80000.0}}),
    Case("llama, tied", "LlamaConfig", {"tie_word_embeddings": True}),
    Case("llama, tied, odd vocabulary, grouped queries", "LlamaConfig",
         {"tie_word_embeddings": True, "vocab_size": 509, "num_attention_heads": 4}),
    Case("llama, RoPE of Llama 3.1", "LlamaConfig", {"rope_parameters": LLAMA3}),
    Case("llama, RoPE linear", "LlamaConfig",
         {"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}}),
    Case("llama, RoPE yarn", "LlamaConfig", {"rope_parameters": YARN}),
    Case("llama, RoPE yarn, all said", "LlamaConfig",
         {"rope_parameters": YARN | {"beta_fast": 8.0, "beta_slow": 2.0, "mscale": 1.0, "mscale_all_dim": 0.7,
                                     "truncate": False}}),
    Case("llama, RoPE yarn for a longer context", "LlamaConfig", {}, ("--rope-scaling", "yarn:factor=2,original=128"),
         {"max_position_embeddings": 256,
          "rope_parameters": YARN | {"factor": 2.0, "original_max_position_embeddings": 128}}),
    Case("llama, RoPE dynamic", "LlamaConfig", {}, ("--rope-scaling", "dynamic:factor=3,original=128"),
         {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 3.0}}),
    Case("llama, RoPE dynamic beyond its length", "LlamaConfig",
         {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 3.0}}, context=200),
    Case("llama, RoPE dynamic for a longer context", "LlamaConfig", {},
         ("--rope-scaling", "dynamic:factor=2,original=128"),
         {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}}, context=256),
    Case("llama, heads of 96", "LlamaConfig", {"head_dim": 96, "hidden_size": 192}),
    Case("llama, no decay of norms and embedding", "LlamaConfig", decay="matrices"),
    Case("llama, tied, no decay of norms and embedding", "LlamaConfig", {"tie_word_embeddings": True}, decay="matrices"),
    Case("qwen2, no decay of norms, biases and embedding", "Qwen2Config", decay="matrices"),
    Case("qwen3, heads of 96", "Qwen3Config", {"num_attention_heads": 4, "head_dim": 96}),
    Case("qwen2", "Qwen2Config", {"num_attention_heads": 4}),
    Case("qwen2, tied", "Qwen2Config", {"tie_word_embeddings": True, "num_key_value_heads": 1}),
    Case("qwen3", "Qwen3Config", {"num_attention_heads": 4, "head_dim": 128}),
    Case("qwen3, tied", "Qwen3Config", {"tie_word_embeddings": True, "num_key_value_heads": 1}),
    Case("mistral", "MistralConfig", {"sliding_window": None, "num_key_value_heads": 1}),
    Case("mistral, shaped as 7B v0.3", "MistralConfig",
         {"sliding_window": None, "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 128, "hidden_size": 512,
          "intermediate_size": 1792, "num_hidden_layers": 1,
          "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0}}),
    # torch leaves the gradient of a pad token's row out
    Case("smollm3", "SmolLM3Config", {"no_rope_layer_interval": 2, "pad_token_id": None, "num_key_value_heads": 1}),
    Case("smollm3, layers by a list", "SmolLM3Config",
         {"no_rope_layers": [0, 1, 0], "pad_token_id": None, "rope_parameters": YARN}),
    Case("smollm3, tied", "SmolLM3Config",
         {"no_rope_layer_interval": 2, "pad_token_id": None, "num_attention_heads": 4, "tie_word_embeddings": True}),
    Case("mistral, a window as long as the context", "MistralConfig", {"sliding_window": 128}),
]

# Not what the program makes of it: the comparison has to see that.
PLANTED = Case("a planted fault", "LlamaConfig", {}, (), {"rope_parameters": {"rope_type": "default", "rope_theta": 10100.0}})
