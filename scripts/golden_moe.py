"""The golden cases of the families with experts, as data; and the packing of gpt-oss, which nothing else has."""

import json
from pathlib import Path

import numpy as np
import torch
from gguf import GGMLQuantizationType, quants
from safetensors.torch import load_file, save_file

from golden_cases import ROPE, SMALL, Case, rope

SMALL = SMALL | dict(hidden_size=24, vocab_size=43)
MIXTRAL = SMALL | dict(intermediate_size=12, num_local_experts=4, num_experts_per_tok=2, num_key_value_heads=4)
QWEN = SMALL | dict(
    num_experts=5,
    num_experts_per_tok=2,
    moe_intermediate_size=8,
    intermediate_size=20,
    num_key_value_heads=2,
)
OLMOE = SMALL | dict(num_experts=5, num_experts_per_tok=3, intermediate_size=8)
GRANITE = MIXTRAL | dict(num_key_value_heads=2)
GPT_OSS = ROPE | dict(
    num_local_experts=4, num_experts_per_tok=2, intermediate_size=12, swiglu_limit=1.5, hidden_size=24, vocab_size=43
)
LONG = dict(
    short_factor=[1.0, 1.05, 1.1, 1.2, 1.3, 1.5, 1.7, 2.0],
    long_factor=[1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0],
    short_mscale=1.1,
    long_mscale=1.3,
    original_max_position_embeddings=8,
)
# What the published files have beside the keys that transformers writes.
MXFP4 = {
    "quantization_config": {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn", "lm_head"]}
}

MOE_CASES = {
    "mixtral": [
        Case("window", MIXTRAL | dict(num_key_value_heads=2, sliding_window=5), "v4"),
        Case(
            "stacked",
            MIXTRAL
            | dict(num_local_experts=5, num_experts_per_tok=3, num_key_value_heads=1, head_dim=12)
            | dict(sliding_window=None, tie_word_embeddings=True, hidden_act="gelu", rms_norm_eps=1e-2, num_hidden_layers=1),
            stacked=True,
        ),
        Case("one_expert", MIXTRAL | dict(num_experts_per_tok=1, num_hidden_layers=1) | rope(theta=1e4), stored="f16"),
    ],
    "qwen2_moe": [
        # As Qwen 1.5 MoE writes it: a window that is set and not used.
        Case(
            "shared",
            QWEN | dict(shared_expert_intermediate_size=16),
            "v4",
            json={"sliding_window": 4, "max_window_layers": 1},
        ),
        Case(
            "switches",
            QWEN
            | dict(num_hidden_layers=4, shared_expert_intermediate_size=20, norm_topk_prob=True, qkv_bias=False)
            | dict(decoder_sparse_step=2, mlp_only_layers=[3], num_experts=4)
            | dict(use_sliding_window=True, sliding_window=4, max_window_layers=3, tie_word_embeddings=True),
            stacked=True,
        ),
    ],
    "qwen3_moe": [
        Case(
            "renormalised",
            QWEN | dict(head_dim=10, norm_topk_prob=True, num_experts=4, num_experts_per_tok=3),
            "v4",
            json={"max_window_layers": 2},
        ),
        Case(
            "switches",
            QWEN
            | dict(num_hidden_layers=3, attention_bias=True, num_key_value_heads=1, tie_word_embeddings=True)
            | dict(decoder_sparse_step=2, mlp_only_layers=[0], num_experts=4)
            | dict(use_sliding_window=True, sliding_window=4),
            stacked=True,
        ),
    ],
    "olmoe": [
        Case("clipped", OLMOE | dict(clip_qkv=0.9), "v4"),
        Case(
            "renormalised",
            OLMOE
            | dict(num_key_value_heads=2, attention_bias=True, norm_topk_prob=True, tie_word_embeddings=True)
            | dict(num_hidden_layers=1),
            stacked=True,
        ),
    ],
    "phimoe": [
        Case(
            "window",
            MIXTRAL | dict(num_key_value_heads=2, sliding_window=5, router_jitter_noise=0.2, num_local_experts=6),
            "v4",
        ),
        Case(
            "longrope",
            MIXTRAL
            | dict(hidden_size=32, num_attention_heads=2, num_key_value_heads=1, router_jitter_noise=0.05)
            | dict(attention_bias=True, lm_head_bias=True, num_hidden_layers=1)
            | rope("longrope", 100.0, **LONG),
            lengths=(1, 7, 8, 9, 20),
            trace=9,
            stacked=True,
            cache_differs=True,
        ),
    ],
    "granitemoe": [
        Case(
            "multipliers",
            GRANITE
            | dict(embedding_multiplier=1.5, attention_multiplier=0.3, residual_multiplier=0.6, logits_scaling=1.5)
            | dict(tie_word_embeddings=True),
            "v4",
        ),
        Case(
            "unscaled",
            GRANITE | dict(attention_bias=True, num_local_experts=6, num_experts_per_tok=3, num_hidden_layers=1),
            stacked=True,
        ),
    ],
    "gpt_oss": [
        Case(
            "yarn",
            GPT_OSS
            | rope(
                "yarn",
                100.0,
                factor=4.0,
                beta_fast=4.0,
                beta_slow=0.5,
                truncate=False,
                original_max_position_embeddings=8,
            )
            | dict(sliding_window=4),
            "v4",
            json={"experts_per_token": 2, "initial_context_length": 8},
        ),
        Case(
            "switches",
            GPT_OSS
            | rope(theta=100.0)
            | dict(attention_bias=False, num_experts_per_tok=4, tie_word_embeddings=True)
            | dict(swiglu_alpha=1.3, swiglu_limit=0.7, sliding_window=5, intermediate_size=8)
            | dict(layer_types=["full_attention", "sliding_attention"]),
            stored="f32",
        ),
        # The rotary positions that are meant where none are given.
        Case("defaults", GPT_OSS | dict(num_hidden_layers=1, max_position_embeddings=131072), drop=("rope_parameters",)),
        Case(
            "mxfp4",
            GPT_OSS | rope(theta=100.0) | dict(hidden_size=32, intermediate_size=32, num_hidden_layers=1)
            | dict(layer_types=["full_attention"]),
            packed=True,
        ),
    ],
}


def is_packed(name: str) -> bool:
    return name.endswith(("experts.gate_up_proj", "experts.down_proj"))


def packable(model):
    """Rounds every expert to what MXFP4 can hold, along the inputs of each output."""
    for name, parameter in model.named_parameters():
        if is_packed(name):
            x = parameter.data.transpose(1, 2).contiguous().numpy()
            blocks = quants.quantize(x, GGMLQuantizationType.MXFP4)
            rounded = torch.from_numpy(quants.dequantize(blocks, GGMLQuantizationType.MXFP4).reshape(x.shape))
            parameter.data.copy_(rounded.transpose(1, 2))


def pack(folder: Path):
    """Stores the experts as OpenAI did: (experts, out, in / 32, 16) bytes and a power of two each."""
    path = folder / "model.safetensors"
    state = load_file(path)
    for name in [name for name in state if is_packed(name)]:
        x = state.pop(name).float().transpose(1, 2).contiguous()
        blocks = quants.quantize(x.numpy(), GGMLQuantizationType.MXFP4).reshape(*x.shape[:2], -1, 17)
        codes = np.concatenate([blocks[..., 1:] & 15, blocks[..., 1:] >> 4], -1)  # in the numbers' order
        state[f"{name}_blocks"] = torch.from_numpy(codes[..., 0::2] | codes[..., 1::2] << 4)
        state[f"{name}_scales"] = torch.from_numpy(blocks[..., 0].copy())
    save_file(dict(sorted(state.items())), path, {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(dict(sorted((config | MXFP4).items())), indent=2) + "\n")
