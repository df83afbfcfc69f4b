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


def codegen(rng, _):
    n, size = rng.choice([4, 8]), rng.choice([4, 8])
    rotated = rng.choice([2, 4])
    return {"n_head": n, "n_embd": n * size, "n_layer": rng.choice(LAYERS), "n_positions": 32, "rotary_dim": rotated}


def gpt_neo(rng, _):
    n, layers = rng.choice([1, 2, 3]), rng.choice(LAYERS)
    kinds = [[[rng.choice(["global", "local"])], 1] for _ in range(layers)]
    sizes = {"num_heads": n, "hidden_size": n * rng.choice([4, 8]), "intermediate_size": rng.choice([None, 24])}
    return sizes | {"num_layers": layers, "attention_types": kinds, "max_position_embeddings": 32}


def bloom(rng, _):
    n = rng.choice([1, 2, 3, 4, 6])
    return {"n_head": n, "hidden_size": n * rng.choice([4, 8]), "n_layer": rng.choice(LAYERS)}


def mpt(rng, _):
    n = rng.choice([1, 2, 3, 4, 6])
    attention = {"clip_qkv": rng.choice([None, 1.0]), "softmax_scale": rng.choice([None, 0.3])}
    return {"n_heads": n, "d_model": n * 8, "n_layers": rng.choice(LAYERS), "max_seq_len": 32, "attn_config": attention}


def falcon(rng, _):
    """Transformers' eager attention adds an ALiBi bias twice, which the golden cases work round: none here."""
    n = rng.choice([1, 2, 4])
    sizes = {"num_attention_heads": n, "hidden_size": 8 * n, "alibi": False}
    if rng.random() < 0.5:
        norms = rng.choice([1, 2])
        kv = rng.choice([kv for kv in (1, 2, 4) if n % kv == 0])
        return sizes | {"new_decoder_architecture": True, "num_kv_heads": kv, "num_ln_in_parallel_attn": norms}
    return sizes | {"multi_query": rng.choice(FLAG), "parallel_attn": rng.choice(FLAG)}


def xglm(rng, _):
    n = rng.choice([1, 2, 3, 4])
    return {"attention_heads": n, "d_model": n * rng.choice([4, 8]), "num_layers": rng.choice(LAYERS)}


def fixed_wide(rng, _):
    n = rng.choice([1, 2, 4])
    kv = rng.choice([kv for kv in (1, 2, 4) if n % kv == 0])
    return {
        "num_attention_heads": n,
        "num_key_value_heads": kv,
        "head_dim": rng.choice([8, 12]),
        "hidden_size": rng.choice([24, 32]),
    }


def grouped_wide(rng, config):
    """Heads whose width must be dim / heads, and is said."""
    found = grouped(rng, config)
    return found | {"head_dim": found["hidden_size"] // found["num_attention_heads"]}


def typed_rope(rng, _):
    full = {"rope_type": rng.choice(["default", "linear"]), "rope_theta": rng.choice([1e3, 1e6])}
    if full["rope_type"] == "linear":
        full["factor"] = 8.0
    sliding = {"rope_type": "default", "rope_theta": rng.choice([100.0, 1e4])}
    kinds = {"full_attention": full, "sliding_attention": sliding}
    return {"rope_parameters": kinds, "max_position_embeddings": 64}


def phi3_rope(rng, config):
    size = config["hidden_size"] // config["num_attention_heads"]
    params = {"rope_type": rng.choice(["default", "longrope"]), "rope_theta": rng.choice([100.0, 1e4])}
    if params["rope_type"] == "longrope":
        params["short_factor"] = [rng.choice([1.0, 1.2]) for _ in range(size // 2)]
        params["long_factor"] = [rng.choice([1.5, 3.0, 5.0]) for _ in range(size // 2)]
    params["partial_rotary_factor"] = 1.0
    return {"rope_parameters": params, "max_position_embeddings": 64, "original_max_position_embeddings": 32}


def hunyuan_rope(rng, _):
    params = {"rope_type": "default", "rope_theta": rng.choice([100.0, 1e4])}
    if rng.random() < 0.5:
        params |= {"rope_type": "dynamic", "alpha": rng.choice([10.0, 1000.0]), "factor": 1.0}
    return {"rope_parameters": params, "max_position_embeddings": 64}


def ministral_rope(rng, _):
    params = {"rope_type": "yarn", "rope_theta": rng.choice([100.0, 1e6]), "factor": rng.choice([4.0, 16.0])}
    params |= {"original_max_position_embeddings": rng.choice([4, 8]), "beta_fast": 32.0, "beta_slow": 1.0}
    params |= {"mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": rng.choice([0.0, 0.1, 0.5])}
    return {"rope_parameters": params, "max_position_embeddings": 64}


def even_experts(rng, _):
    return {"num_local_experts": rng.choice([2, 4]), "num_experts_per_tok": 2}


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
    "gemma3_text": GATED
    | dict(
        shape=wide,
        hidden_act=["gelu_pytorch_tanh"],
        query_pre_attn_scalar=[8, 16],
        final_logit_softcapping=[None, 5.0],
        sliding_window=[3, 6],
        types=layer_types,
        typed=typed_rope,
    ),
    "gpt_neo": SIZES
    | dict(shape=gpt_neo, activation_function=GELU, layer_norm_epsilon=EPS, window_size=[2, 3, 5], tie_word_embeddings=FLAG),
    "codegen": SIZES | dict(shape=codegen, activation_function=GELU, layer_norm_epsilon=EPS, tie_word_embeddings=[False]),
    "opt": SIZES
    | dict(
        shape=alike,
        num_hidden_layers=LAYERS,
        ffn_dim=[24, 31],
        max_position_embeddings=[32],
        pad_token_id=[1],
        do_layer_norm_before=FLAG,
        word_embed_proj_dim=[12, 16],
        activation_function=["relu", "gelu"],
        enable_bias=FLAG,
        layer_norm_elementwise_affine=FLAG,
        tie_word_embeddings=FLAG,
    ),
    "bloom": SIZES
    | dict(shape=bloom, apply_residual_connection_post_layernorm=FLAG, layer_norm_epsilon=EPS, tie_word_embeddings=FLAG),
    "mpt": SIZES | dict(shape=mpt),
    "falcon": SIZES
    | dict(
        shape=falcon,
        num_hidden_layers=LAYERS,
        ffn_hidden_size=[24, 40],
        bias=FLAG,
        layer_norm_epsilon=EPS,
        max_position_embeddings=[64],
        tie_word_embeddings=FLAG,
    ),
    "gpt_bigcode": SIZES
    | dict(
        shape=gpt2,
        n_inner=[None, 24],
        multi_query=FLAG,
        activation_function=["gelu_pytorch_tanh", "gelu", "relu"],
        scale_attn_weights=FLAG,
        layer_norm_epsilon=EPS,
        tie_word_embeddings=FLAG,
    ),
    "phi3": GATED | dict(shape=grouped, pad_token_id=[0], rope=phi3_rope, sliding_window=WINDOW),
    "olmo": {k: v for k, v in GATED.items() if k != "rms_norm_eps"}
    | dict(shape=grouped, rope=PLAIN_ROPE, clip_qkv=[None, 0.8, 2.0], attention_bias=FLAG),
    "olmo3": GATED | dict(shape=grouped, sliding_window=[3, 6], types=layer_types, typed=typed_rope),
    "olmoe": GATED
    | dict(
        shape=grouped,
        rope=PLAIN_ROPE,
        clip_qkv=[None, 0.8],
        experts=experts,
        norm_topk_prob=FLAG,
        attention_bias=FLAG,
    ),
    "smollm3": GATED
    | dict(
        shape=grouped,
        pad_token_id=[0],
        rope=PLAIN_ROPE,
        no_rope_layer_interval=[2, 3, 4],
        attention_bias=FLAG,
        mlp_bias=FLAG,
        use_sliding_window=[True],
        sliding_window=[3, 5],
        types=layer_types,
    ),
    "granitemoe": GATED
    | dict(
        shape=grouped,
        rope=PLAIN_ROPE,
        experts=experts,
        attention_bias=FLAG,
        embedding_multiplier=[1.0, 12.0],
        logits_scaling=[1.0, 8.0],
        residual_multiplier=[1.0, 0.22],
        attention_multiplier=[1.0, 0.25],
    ),
    "cohere2": LAYERED
    | dict(
        shape=grouped,
        rope=PLAIN_ROPE,
        logit_scale=[0.0625, 1.0],
        attention_bias=FLAG,
        layer_norm_eps=EPS,
        sliding_window=[3, 5],
        types=layer_types,
    ),
    "gpt_oss": SIZES
    | dict(
        num_hidden_layers=LAYERS,
        shape=wide,
        intermediate_size=[12, 24],
        rms_norm_eps=EPS,
        rope=rope(("default", "yarn")),
        attention_bias=FLAG,
        experts=experts,
        swiglu_limit=[0.5, 7.0],
        sliding_window=[3, 6],
        types=layer_types,
        tie_word_embeddings=FLAG,
    ),
    "helium": GATED | dict(shape=grouped_wide, rope=PLAIN_ROPE, attention_bias=FLAG, mlp_bias=FLAG),
    "ernie4_5": GATED | dict(shape=wide, rope=PLAIN_ROPE, use_bias=FLAG),
    "glm": GATED | dict(shape=fixed_wide, rope=rope(("default",), [0.5, 1.0]), attention_bias=FLAG, pad_token_id=[0]),
    "glm4": GATED | dict(shape=fixed_wide, rope=rope(("default",), [0.5, 1.0]), attention_bias=FLAG, pad_token_id=[0]),
    "exaone4": GATED | dict(shape=grouped, rope=rope(("default", "llama3")), sliding_window=[3, 5], types=layer_types),
    "apertus": LAYERED | dict(shape=grouped, rope=rope(("default", "llama3", "yarn")), attention_bias=FLAG, rms_norm_eps=EPS),
    "hunyuan_v1_dense": GATED | dict(shape=fixed_wide, rope=hunyuan_rope, attention_bias=FLAG, pad_token_id=[0]),
    "persimmon": LAYERED
    | dict(
        shape=lambda rng, _: {k: v for k, v in even_groups(rng, _).items() if k != "num_key_value_heads"},
        rope=rope(("default", "linear"), [0.25, 0.5, 1.0]),
        hidden_act=["relu2", "gelu"],
        qk_layernorm=FLAG,
        layer_norm_eps=EPS,
    ),
    "ministral3": GATED | dict(shape=wide, rope=ministral_rope, sliding_window=WINDOW),
    "xglm": SIZES
    | dict(
        shape=xglm,
        ffn_dim=[24, 31],
        max_position_embeddings=[64],
        activation_function=GELU,
        scale_embedding=FLAG,
        tie_word_embeddings=FLAG,
    ),
    "nanochat": GATED
    | dict(
        shape=grouped,
        hidden_act=["relu2", "silu"],
        rope=PLAIN_ROPE,
        final_logit_softcapping=[None, 5.0, 15.0],
        attention_bias=FLAG,
    ),
    "qwen2_moe": GATED
    | dict(
        shape=grouped,
        rope=PLAIN_ROPE,
        experts=experts,
        moe_intermediate_size=[16, 24],
        shared_expert_intermediate_size=[12, 20],
        norm_topk_prob=FLAG,
        qkv_bias=FLAG,
        decoder_sparse_step=[1, 2],
        mlp_only_layers=[[], [0]],
        use_sliding_window=[True],
        sliding_window=[3, 5],
        types=layer_types,
    ),
    "phimoe": GATED
    | dict(
        shape=grouped,
        rope=PLAIN_ROPE,
        experts=even_experts,
        attention_bias=FLAG,
        lm_head_bias=FLAG,
        sliding_window=WINDOW,
        router_jitter_noise=[0.01, 0.2],
    ),
}
