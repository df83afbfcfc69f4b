#!/usr/bin/env python3
"""Random bf16 weights of TinyLlama-1.1B's shape, as a Hugging Face folder and as GGUF: bench_random.py FOLDER FILE."""

import json
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.torch import save_file

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_act": "silu",
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "max_position_embeddings": 4096,
    "num_attention_heads": 32,
    "num_hidden_layers": 22,
    "num_key_value_heads": 4,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "vocab_size": 32000,
    "attention_bias": False,
    "mlp_bias": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def shapes():
    dim, inner, kv = CONFIG["hidden_size"], CONFIG["intermediate_size"], 256
    yield "model.embed_tokens.weight", (CONFIG["vocab_size"], dim)
    for layer in range(CONFIG["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        for name, shape in [("q", (dim, dim)), ("k", (kv, dim)), ("v", (kv, dim)), ("o", (dim, dim))]:
            yield f"{at}self_attn.{name}_proj.weight", shape
        for name, shape in [("gate", (inner, dim)), ("up", (inner, dim)), ("down", (dim, inner))]:
            yield f"{at}mlp.{name}_proj.weight", shape
        yield f"{at}input_layernorm.weight", (dim,)
        yield f"{at}post_attention_layernorm.weight", (dim,)
    yield "model.norm.weight", (dim,)
    yield "lm_head.weight", (CONFIG["vocab_size"], dim)


def main():
    folder, file = map(Path, sys.argv[1:])
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    drawn = lambda shape: torch.ones(shape) if len(shape) == 1 else torch.randn(shape) * 0.02
    tensors = {name: drawn(shape).bfloat16() for name, shape in shapes()}
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=1))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    writer = gguf.GGUFWriter(file, "llama")
    writer.add_context_length(CONFIG["max_position_embeddings"])
    writer.add_embedding_length(CONFIG["hidden_size"])
    writer.add_block_count(CONFIG["num_hidden_layers"])
    writer.add_feed_forward_length(CONFIG["intermediate_size"])
    writer.add_head_count(CONFIG["num_attention_heads"])
    writer.add_head_count_kv(CONFIG["num_key_value_heads"])
    writer.add_rope_dimension_count(64)
    writer.add_rope_freq_base(CONFIG["rope_theta"])
    writer.add_layer_norm_rms_eps(CONFIG["rms_norm_eps"])
    writer.add_vocab_size(CONFIG["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)
    writer.add_tokenizer_model("none")
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, CONFIG["num_hidden_layers"])
    for name, tensor in tensors.items():
        stored = names.get_name(name, (".weight",))
        if tensor.dim() == 1:
            writer.add_tensor(stored, tensor.float().numpy())
        else:
            data = tensor.view(torch.int16).numpy().view(np.uint8)
            writer.add_tensor(stored, data, raw_dtype=gguf.GGMLQuantizationType.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
