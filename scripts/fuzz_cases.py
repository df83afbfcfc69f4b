"""What scripts/fuzz_parity.py draws from, as data: per family, the values that each key of its config may have.

A value is a list, of which one is drawn, or a function of the random numbers and what was drawn so far, which gives
one value, or a dict of several keys. Families are in the order of the README; a new one is a line here.
"""

SIZES = dict(vocab_size=[31, 41, 64, 97], bos_token_id=[1], eos_token_id=[2])
LAYERS = [1, 2, 3]
SILU = ["silu", "gelu", "gelu_pytorch_tanh", "relu"]
GELU = ["gelu", "gelu_new", "relu", "silu"]
EPS = [1e-6, 1e-5, 1e-3]
FLAG = [True, False]


def heads(rng, wide: bool, grouped: bool) -> dict:
    """Heads, key heads, their width, and the width of the stream: with `wide`, head_dim need not be dim / heads."""
    n = rng.choice([1, 2, 3, 4, 6])
    size = rng.choice([4, 8, 12, 16])
    found = {"num_attention_heads": n, "hidden_size": n * size}
    if grouped:
        found["num_key_value_heads"] = rng.choice([kv for kv in range(1, n + 1) if n % kv == 0])
    if wide and rng.random() < 0.5:
        found["hidden_size"] = n * rng.choice([6, 8, 10])
    if wide:
        found["head_dim"] = size
    return found


def wide(rng, _):
    return heads(rng, True, True)


def grouped(rng, _):
    return heads(rng, False, True)


def alike(rng, _):
    return heads(rng, False, False)


def even_groups(rng, _):
    """Widths that a multiple of 16 heads' numbers keeps partial rotations even in."""
    n = rng.choice([1, 2, 4])
    kv = rng.choice([kv for kv in (1, 2, 4) if n % kv == 0])
    return {"num_attention_heads": n, "hidden_size": 16 * n, "num_key_value_heads": kv}


def rope(kinds=("default", "linear", "dynamic", "llama3", "yarn"), partial=None):
    def draw(rng, config):
        kind, theta = rng.choice(kinds), rng.choice([100.0, 1e4, 5e5])
        params = {"rope_type": kind, "rope_theta": theta}
        if kind in ("linear", "dynamic", "yarn", "llama3"):
            params["factor"] = rng.choice([2.0, 4.0, 8.0])
        if kind == "llama3":
            params |= {"low_freq_factor": rng.choice([0.5, 1.0]), "high_freq_factor": rng.choice([2.0, 4.0])}
        if kind in ("llama3", "yarn"):
            params["original_max_position_embeddings"] = rng.choice([8, 16])
        if kind == "yarn" and rng.random() < 0.5:
            params |= {"beta_fast": rng.choice([4.0, 32.0]), "beta_slow": 1.0}
        if partial:
            params["partial_rotary_factor"] = rng.choice(partial)
        longest = 16 if kind == "dynamic" else 64
        return {"rope_parameters": params, "max_position_embeddings": longest}

    return draw


def layer_types(rng, config):
    kinds = ["sliding_attention", "full_attention"]
    return {"layer_types": [rng.choice(kinds) for _ in range(config["num_hidden_layers"])]}


GATED = SIZES | dict(
    num_hidden_layers=LAYERS,
    intermediate_size=[24, 31, 48],
    hidden_act=SILU,
    rms_norm_eps=EPS,
    tie_word_embeddings=FLAG,
)
LAYERED = SIZES | dict(num_hidden_layers=LAYERS, intermediate_size=[24, 48], tie_word_embeddings=FLAG)
LLAMA = GATED | dict(shape=wide, rope=rope())
PLAIN_ROPE = rope(("default",))
WINDOW = [3, 5, 8, None]


def gpt2(rng, _):
    n = rng.choice([1, 2, 3, 4])
    return {"n_head": n, "n_embd": n * rng.choice([4, 8, 12]), "n_layer": rng.choice(LAYERS), "n_positions": 32}


def gptj(rng, _):
    n, size = rng.choice([1, 2, 4]), rng.choice([8, 16])
    rotated = rng.choice([4, size])
    return {"n_head": n, "n_embd": n * size, "n_layer": rng.choice(LAYERS), "n_positions": 32, "rotary_dim": rotated}


def experts(rng, _):
    n = rng.choice([2, 4])
    return {"num_experts": n, "num_local_experts": n, "num_experts_per_tok": rng.choice([1, 2])}


FUZZ = {
    "gpt2": SIZES
    | dict(
        shape=gpt2,
        n_inner=[None, 24, 40],
        activation_function=GELU,
        scale_attn_weights=FLAG,
        scale_attn_by_inverse_layer_idx=FLAG,
        tie_word_embeddings=FLAG,
        layer_norm_epsilon=EPS,
    ),
    "llama": LLAMA | dict(attention_bias=FLAG, mlp_bias=FLAG),
    "mistral": GATED | dict(shape=wide, rope=PLAIN_ROPE, sliding_window=WINDOW),
    "qwen2": GATED | dict(shape=grouped, rope=rope(), use_sliding_window=[True], sliding_window=[3, 5], types=layer_types),
    "qwen3": GATED
    | dict(shape=wide, rope=rope(), attention_bias=FLAG, use_sliding_window=[True], sliding_window=[4], types=layer_types),
    "gpt_neox": LAYERED
    | dict(
        shape=lambda rng, _: {k: v for k, v in even_groups(rng, _).items() if k != "num_key_value_heads"},
        rope=rope(("default", "linear"), [0.25, 0.5, 1.0]),
        hidden_act=GELU,
        use_parallel_residual=FLAG,
        attention_bias=FLAG,
        layer_norm_eps=EPS,
    ),
    "gemma2": GATED
    | dict(
        shape=wide,
        hidden_act=["gelu_pytorch_tanh"],
        hidden_activation=["gelu_pytorch_tanh", "gelu"],
        query_pre_attn_scalar=[8, 16, 24],
        attn_logit_softcapping=[None, 3.0, 20.0],
        final_logit_softcapping=[None, 5.0, 30.0],
        sliding_window=[3, 6],
        types=layer_types,
        max_position_embeddings=[64],
    ),
    "gptj": SIZES | dict(shape=gptj, activation_function=GELU, layer_norm_epsilon=EPS, tie_word_embeddings=[False]),
    "gemma": GATED
    | dict(shape=wide, hidden_act=["gelu_pytorch_tanh"], rope=PLAIN_ROPE, tie_word_embeddings=[True]),
    "olmo2": GATED | dict(shape=grouped, rope=PLAIN_ROPE),
    "starcoder2": LAYERED
    | dict(shape=grouped, rope=PLAIN_ROPE, hidden_act=GELU, use_bias=FLAG, norm_epsilon=EPS, sliding_window=WINDOW),
    "stablelm": LAYERED
    | dict(
        shape=even_groups,
        rope=rope(("default",), [0.25, 0.5]),
        use_qkv_bias=FLAG,
        qk_layernorm=FLAG,
        use_parallel_residual=FLAG,
    ),
    "phi": LAYERED | dict(shape=even_groups, rope=rope(("default",), [0.25, 0.5]), hidden_act=GELU, qk_layernorm=FLAG),
    "cohere": LAYERED | dict(shape=grouped, use_qk_norm=FLAG, logit_scale=[0.0625, 1.0], attention_bias=FLAG),
    "granite": GATED
    | dict(
        shape=grouped,
        rope=PLAIN_ROPE,
        attention_bias=FLAG,
        embedding_multiplier=[1.0, 12.0],
        logits_scaling=[1.0, 8.0],
        residual_multiplier=[1.0, 0.22],
        attention_multiplier=[1.0, 0.25],
    ),
    "nemotron": LAYERED | dict(shape=even_groups, rope=rope(("default",), [0.5, 1.0]), norm_eps=EPS),
    "seed_oss": GATED | dict(shape=wide, rope=PLAIN_ROPE, attention_bias=FLAG),
    "mixtral": GATED | dict(shape=wide, rope=PLAIN_ROPE, sliding_window=WINDOW, experts=experts),
    "qwen3_moe": GATED
    | dict(shape=wide, rope=PLAIN_ROPE, experts=experts, moe_intermediate_size=[16, 24], norm_topk_prob=FLAG),
}
