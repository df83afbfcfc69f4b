"""The golden GGUF files of architectures with experts: the cases, and what is written differently.

As convert_hf_to_gguf.py does it: gate and up are stacks of their own, a shared expert's gate is a vector, the
router stays in f32, and the rest is in keys.
"""

import math

import numpy as np
from gguf import GGMLQuantizationType as Q

from golden_cases import ROPE, SMALL, rope

SMALL = SMALL | dict(num_hidden_layers=1, num_key_value_heads=2)
MIXTRAL = SMALL | dict(intermediate_size=32, num_local_experts=4, num_experts_per_tok=2)
QWEN = SMALL | dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32, intermediate_size=64)
ROUTER = {"ffn_gate_inp": Q.F32}

CASES = [
    dict(
        name="mixtral",
        arch="llama",
        model_type="mixtral",
        config=MIXTRAL | rope(theta=1e6),
        types={"": Q.Q8_0, "ffn_up_exps": Q.Q4_0} | ROUTER,
        vocabulary="none",
    ),
    dict(
        name="qwen2moe",
        arch="qwen2moe",
        model_type="qwen2_moe",
        config=QWEN | dict(shared_expert_intermediate_size=32),
        types={"": Q.Q8_0, "ffn_gate_exps": Q.Q4_0} | ROUTER,
        vocabulary="none",
    ),
    dict(
        name="qwen3moe",
        arch="qwen3moe",
        model_type="qwen3_moe",
        config=QWEN | dict(head_dim=16, norm_topk_prob=True, tie_word_embeddings=True),
        types={"": Q.Q8_0, "ffn_down_exps": Q.Q4_0} | ROUTER,
        vocabulary="none",
    ),
    dict(
        name="olmoe",
        arch="olmoe",
        config=SMALL | dict(num_experts=4, num_experts_per_tok=2, intermediate_size=32, num_key_value_heads=4),
        types={"": Q.F16} | ROUTER,
        vocabulary="none",
    ),
    dict(
        name="phimoe",
        arch="phimoe",
        config=MIXTRAL
        | dict(num_attention_heads=2, num_key_value_heads=1, attention_bias=True, lm_head_bias=True, sliding_window=6)
        | rope(
            "longrope",
            100.0,
            short_factor=[1.0, 1.05, 1.1, 1.2, 1.3, 1.5, 1.7, 2.0],
            long_factor=[1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0],
            short_mscale=math.sqrt(1 + math.log(8) / math.log(8)),
            long_mscale=math.sqrt(1 + math.log(8) / math.log(8)),
            original_max_position_embeddings=8,
        ),
        types={"": Q.Q8_0} | ROUTER,
        vocabulary="none",
    ),
    dict(
        name="granitemoe",
        arch="granitemoe",
        config=MIXTRAL
        | dict(embedding_multiplier=1.5, attention_multiplier=0.25, residual_multiplier=0.75, logits_scaling=1.5)
        | dict(tie_word_embeddings=True),
        types={"": Q.Q8_0} | ROUTER,
        vocabulary="none",
    ),
    dict(
        name="gpt_oss",
        arch="gpt-oss",
        model_type="gpt_oss",
        config=ROPE
        | dict(num_hidden_layers=2, num_local_experts=4, num_experts_per_tok=2, intermediate_size=32, sliding_window=4)
        | rope("yarn", 100.0, factor=4.0, truncate=False, original_max_position_embeddings=8),
        types={"": Q.Q8_0, "ffn_gate_exps": Q.MXFP4, "ffn_up_exps": Q.MXFP4, "ffn_down_exps": Q.MXFP4} | ROUTER,
        vocabulary="none",
    ),
]


def parts(arch: str, name: str, x):
    """The tensors that one parameter becomes, by name, as views of it; None where it stays as it is."""
    layer = name.split(".")[2] if ".layers." in name else ""
    to = lambda kind, suffix="weight": f"blk.{layer}.{kind}.{suffix}"
    if name.endswith(".sinks"):
        return [(to("attn_sinks"), x)]
    if name.endswith("shared_expert_gate.weight"):
        return [(to("ffn_gate_inp_shexp"), x[0])]
    if ".router." in name or name.endswith("mlp.gate.weight"):
        return [(to("ffn_gate_inp", name.rsplit(".", 1)[-1]), x)]
    if ".experts." not in name:
        return None
    suffix = "bias" if name.endswith("_bias") else "weight"
    if arch == "gpt-oss" and suffix == "weight":
        x = x.transpose(1, 2)
    if "down_proj" in name:
        return [(to("ffn_down_exps", suffix), x)]
    half = x.shape[1] // 2
    gate, up = (x[:, ::2], x[:, 1::2]) if arch == "gpt-oss" else (x[:, :half], x[:, half:])
    return [(to("ffn_gate_exps", suffix), gate), (to("ffn_up_exps", suffix), up)]


def add_parameters(writer, arch: str, config):
    n = getattr(config, "num_local_experts", None) or getattr(config, "num_experts", None)
    if not n:
        return
    writer.add_expert_count(n)
    writer.add_expert_used_count(config.num_experts_per_tok)
    if arch in ("qwen2moe", "qwen3moe"):
        writer.add_expert_feed_forward_length(config.moe_intermediate_size)
    if arch == "qwen2moe":
        writer.add_expert_shared_feed_forward_length(config.shared_expert_intermediate_size)
    if arch == "gpt-oss":
        writer.add_expert_feed_forward_length(config.intermediate_size)
    if arch in ("gpt-oss", "phimoe"):
        writer.add_sliding_window(config.sliding_window)
    if arch == "granitemoe":
        writer.add_attention_scale(config.attention_multiplier)
        writer.add_embedding_scale(config.embedding_multiplier)
        writer.add_residual_scale(config.residual_multiplier)
        writer.add_logit_scale(config.logits_scaling)


def add_rope_factors(writer, config):
    scaling = getattr(config, "rope_parameters", None) or {}
    if scaling.get("rope_type") != "longrope":
        return
    original = scaling["original_max_position_embeddings"]
    stretch = config.max_position_embeddings / original
    writer.add_rope_scaling_orig_ctx_len(original)
    writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(stretch) / math.log(original)))
    for kind in ("long", "short"):
        writer.add_tensor(f"rope_factors_{kind}.weight", np.array(scaling[f"{kind}_factor"], np.float32))
