"""The golden GGUF files of the further dense architectures: the cases, and what is written differently.

As convert_hf_to_gguf.py does it: queries, keys and values that are fused a head at a time become whole thirds, norms of
1 + weight have the 1 added, the norms of single heads are stacked, and what a key cannot say is left to the name of
the architecture.
"""

import math

import numpy as np
import torch
from gguf import GGMLQuantizationType as Q
from gguf import RopeScalingType

from golden_cases import IDS, rope

BASE = IDS | dict(
    vocab_size=31,
    hidden_size=32,
    intermediate_size=24,
    num_hidden_layers=1,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=32,
    pad_token_id=0,
)
NO_KV = {k: v for k, v in BASE.items() if k not in ("num_key_value_heads", "intermediate_size")}
GPT = IDS | dict(vocab_size=31, n_embd=32, n_layer=1, n_head=4, n_positions=32, n_inner=48)


def case(arch, config, name=None, **more):
    return dict(name=name or arch.replace("-", "_"), arch=arch, config=config, types={"": Q.F16}, vocabulary="none") | more


CASES = [
    case("gptneox", NO_KV | dict(intermediate_size=48) | rope(partial_rotary_factor=0.5), model_type="gpt_neox"),
    case("bloom", IDS | dict(vocab_size=31, hidden_size=32, n_layer=1, n_head=4)),
    case("mpt", IDS | dict(vocab_size=31, d_model=32, n_layers=1, n_heads=4, max_seq_len=32, attn_config={"clip_qkv": 1.5})),
    case("falcon", NO_KV | dict(ffn_hidden_size=48), "falcon_7b"),
    case(
        "falcon",
        NO_KV | dict(ffn_hidden_size=48, new_decoder_architecture=True, num_kv_heads=2, tie_word_embeddings=False),
        "falcon_40b",
    ),
    case("starcoder", GPT, model_type="gpt_bigcode"),
    case("starcoder2", BASE | dict(sliding_window=None) | rope(theta=1e5)),
    case("gemma", BASE | dict(head_dim=16)),
    case(
        "gemma3",
        BASE
        | dict(head_dim=16, query_pre_attn_scalar=16, sliding_window=4, num_hidden_layers=6)
        | dict(hidden_size=16, num_attention_heads=2, num_key_value_heads=1)
        | dict(
            rope_parameters={
                "full_attention": {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            }
        ),
        model_type="gemma3_text",
    ),
    case("phi2", BASE | rope(partial_rotary_factor=0.25), model_type="phi"),
    case(
        "phi3",
        BASE
        | dict(sliding_window=6, original_max_position_embeddings=8)
        | rope("longrope", 100.0, short_factor=[1.0, 1.1, 1.3, 1.7], long_factor=[1.5, 2.0, 3.0, 5.0]),
        cache_differs=True,
    ),
    case("stablelm", BASE | dict(use_qkv_bias=True) | rope(partial_rotary_factor=0.25)),
    case(
        "stablelm",
        BASE | dict(use_parallel_residual=True, qk_layernorm=True) | rope(partial_rotary_factor=0.5),
        "stablelm_12b",
    ),
    case("olmo", BASE | dict(clip_qkv=1.5)),
    case("olmo2", BASE | rope(theta=5e5)),
    case(
        "granite",
        BASE | dict(embedding_multiplier=3.0, logits_scaling=0.5, residual_multiplier=0.25, attention_multiplier=0.25),
    ),
    case(
        "minicpm",
        BASE
        | dict(embedding_multiplier=3.0, logits_scaling=2.0, residual_multiplier=0.75, attention_multiplier=8**-0.5)
        | dict(tie_word_embeddings=True),
        model_type="granite",
    ),
    case("command-r", BASE | dict(logit_scale=0.5, use_qk_norm=True) | rope(theta=1e4), model_type="cohere"),
    case("cohere2", BASE | dict(logit_scale=0.5, sliding_window=4, num_hidden_layers=4, hidden_size=16, num_attention_heads=2)),
    case(
        "exaone4",
        BASE | dict(sliding_window=4, num_hidden_layers=4, hidden_size=16, num_attention_heads=2) | rope(theta=1e5),
    ),
    case("chatglm", BASE | dict(head_dim=8) | rope(partial_rotary_factor=0.5), model_type="glm"),
    case("glm4", BASE | dict(head_dim=8) | rope(partial_rotary_factor=0.5)),
    case("nemotron", BASE | rope(partial_rotary_factor=0.5)),
    case("ernie4_5", BASE | dict(head_dim=16) | rope(theta=5e5)),
    case("seed_oss", BASE | dict(head_dim=16) | rope(theta=1e6)),
    case(
        "hunyuan-dense",
        BASE | dict(head_dim=16, tie_word_embeddings=True) | rope("dynamic", 100.0, alpha=50.0, factor=1.0),
        model_type="hunyuan_v1_dense",
    ),
    case(
        "apertus",
        BASE
        | rope(
            "llama3", 100.0, factor=8.0, low_freq_factor=0.25, high_freq_factor=1.0, original_max_position_embeddings=8
        )
        | dict(num_hidden_layers=2),
    ),
    case(
        "mistral3",
        BASE
        | dict(head_dim=16, sliding_window=None)
        | rope(
            "yarn",
            100.0,
            factor=4.0,
            original_max_position_embeddings=4,
            beta_fast=4.0,
            beta_slow=0.5,
            mscale=1.0,
            mscale_all_dim=1.0,
            llama_4_scaling_beta=0.25,
        ),
        model_type="ministral3",
    ),
    # llama.cpp has no other name for the third generation: the window tells.
    case(
        "olmo2",
        BASE
        | dict(sliding_window=4, hidden_size=16, num_attention_heads=2, num_hidden_layers=2)
        | dict(layer_types=["full_attention", "sliding_attention"])
        | dict(
            rope_parameters={
                "full_attention": rope("yarn", 100.0, factor=4.0, original_max_position_embeddings=8)["rope_parameters"],
                "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
            }
        ),
        "olmo3",
        model_type="olmo3",
    ),
    case("smollm3", BASE | dict(num_hidden_layers=4, hidden_size=16, num_attention_heads=2) | rope(theta=1e5)),
]

ARCHITECTURES = {case["arch"] for case in CASES}
PERMUTED = ("granite", "minicpm", "mistral3", "olmo", "smollm3")
PLUS_ONE = ("gemma", "gemma2", "gemma3", "nemotron")


def thirds(arch: str, config, name: str):
    """The order in which rows fused a head (or a group of heads) at a time become [q | k | v]; None for others."""
    if arch not in ("gptneox", "bloom", "falcon") or "query_key_value" not in name:
        return None
    heads = config.num_attention_heads
    n_kv = heads
    if arch == "falcon":
        n_kv = config.num_kv_heads if config.new_decoder_architecture else 1
    width = config.hidden_size // heads
    rows = np.arange((heads + 2 * n_kv) * width).reshape(n_kv, heads // n_kv + 2, width)
    return np.concatenate([rows[:, :-2].ravel(), rows[:, -2].ravel(), rows[:, -1].ravel()])


def stacks(arch: str, model):
    """Norms of single heads, as one tensor: (its name, the parameters)."""
    if arch != "stablelm" or not model.config.qk_layernorm:
        return []
    layers = enumerate(model.model.layers)
    return [
        (f"blk.{i}.attn_{kind}_norm.weight", [norm.weight for norm in getattr(layer.self_attn, f"{kind}_layernorm").norms])
        for i, layer in layers
        for kind in "qk"
    ]


def add_parameters(writer, arch: str, config):
    get = lambda *names: next((x for name in names if (x := getattr(config, name, None)) is not None), None)
    dim, heads = config.hidden_size, config.num_attention_heads
    n_kv = get("num_key_value_heads") or heads
    if arch == "falcon":
        n_kv = config.num_kv_heads if config.new_decoder_architecture else 1
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(get("max_position_embeddings", "max_seq_len") or 2048)
    writer.add_embedding_length(dim)
    writer.add_feed_forward_length(get("intermediate_size", "ffn_hidden_size", "n_inner") or 4 * dim)
    writer.add_head_count(heads)
    writer.add_head_count_kv(n_kv)
    head_dim = get("head_dim") or dim // heads
    if head_dim * heads != dim:
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    if eps := get("rms_norm_eps"):
        writer.add_layer_norm_rms_eps(eps)
    else:
        writer.add_layer_norm_eps(get("layer_norm_eps", "layer_norm_epsilon", "norm_epsilon", "norm_eps") or 1e-5)
    add_rope(writer, arch, config, head_dim)
    if arch in ("gptneox", "stablelm"):
        writer.add_parallel_residual(config.use_parallel_residual)
    if clip := get("clip_qkv") or (arch == "mpt" and config.attn_config.clip_qkv):
        writer.add_clamp_kqv(clip)
    if arch == "mpt":
        writer.add_max_alibi_bias(float(config.attn_config.alibi_bias_max))
    if arch in ("gemma3", "phi3", "cohere2", "exaone4"):
        writer.add_sliding_window(config.sliding_window)
    if config.model_type == "olmo3":
        writer.add_sliding_window(config.sliding_window)
        writer.add_sliding_window_pattern([kind == "sliding_attention" for kind in config.layer_types])
    if arch == "mistral3":
        writer.add_rope_scaling_yarn_log_mul(config.rope_parameters["mscale_all_dim"])
        writer.add_attn_temperature_scale(config.rope_parameters["llama_4_scaling_beta"])
    if arch in ("granite", "minicpm"):
        writer.add_embedding_scale(config.embedding_multiplier)
        writer.add_residual_scale(config.residual_multiplier)
        writer.add_logit_scale(config.logits_scaling)
    if arch == "granite":
        writer.add_attention_scale(config.attention_multiplier)
    if arch in ("command-r", "cohere2"):
        writer.add_logit_scale(config.logit_scale)


def add_rope(writer, arch: str, config, head_dim: int):
    scaling = getattr(config, "rope_parameters", None)
    if not scaling:
        return
    scaling = scaling.get("full_attention", scaling)
    theta = scaling["rope_theta"]
    if alpha := scaling.get("alpha"):
        theta *= alpha ** (head_dim / (head_dim - 2))
    if arch not in ("gptneox", "phi2", "falcon", "gemma"):  # which take 10000 for granted
        writer.add_rope_freq_base(theta)
    if arch in ("gptneox", "phi2", "phi3", "stablelm", "chatglm", "glm4", "nemotron", "cohere2"):
        writer.add_rope_dimension_count(int(head_dim * scaling.get("partial_rotary_factor", 1.0)))
    if scaling["rope_type"] == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(scaling["factor"])
    if scaling["rope_type"] == "yarn":
        writer.add_rope_scaling_type(RopeScalingType.YARN)
        writer.add_rope_scaling_factor(scaling["factor"])
        writer.add_rope_scaling_orig_ctx_len(scaling["original_max_position_embeddings"])
        for key in ("beta_fast", "beta_slow"):
            if key in scaling:
                getattr(writer, f"add_rope_scaling_yarn_{key}")(scaling[key])
    if scaling["rope_type"] == "longrope":
        original = config.original_max_position_embeddings
        stretch = config.max_position_embeddings / original
        writer.add_rope_scaling_orig_ctx_len(original)
        writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(stretch) / math.log(original)))
        for kind in ("long", "short"):
            writer.add_tensor(f"rope_factors_{kind}.weight", np.array(scaling[f"{kind}_factor"], np.float32))


def is_key(name: str) -> bool:
    """xIELU's two numbers a layer are keys, not tensors."""
    return ".act_fn." in name


def add_keyed(writer, model):
    layers = [module for module in model.modules() if type(module).__name__ == "XIELUActivation"]
    for kind in ("alpha_p", "alpha_n", "beta", "eps") if layers else ():
        getattr(writer, f"add_xielu_{kind}")([getattr(layer, kind).float().item() for layer in layers])


def write_stacks(writer, arch: str, model):
    written = set()
    for to, weights in stacks(arch, model):
        writer.add_tensor(to, torch.stack(list(weights)).numpy().astype(np.float32))
        written |= {id(weight) for weight in weights}
    return written
