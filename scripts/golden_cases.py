"""The golden cases, as data: per family, the configs that turn each of its switches both ways."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Case:
    name: str
    config: dict  # what transformers' config class is given
    form: str = "v5"  # config.json with the keys of transformers 5, or "v4": rope_theta, rope_scaling, torch_dtype
    scaling_type: str = "rope_type"  # v4: the name of the scaling's kind, rope_type or type
    json: dict = field(default_factory=dict)  # keys set in config.json itself
    drop: tuple = ()  # keys taken out of config.json
    stored: str = "bf16"
    lengths: tuple = (1, 20)
    trace: int = 6  # length of the traced prompt
    shard: str | None = None  # a size above which weights go to another file
    pickled: bool = False  # pytorch_model.bin instead of safetensors
    stacked: bool = False  # experts in one tensor, as transformers 5 has them in memory
    packed: bool = False  # experts in MXFP4
    cache_differs: bool = False  # transformers itself gives other logits with a cache than without
    model_type: str | None = None  # where the family's folder has another name
    kin: dict | None = None  # keys to set once it is computed: the family is a special case of model_type's
    seed: str | None = None


IDS = {"bos_token_id": 1, "eos_token_id": 2}
SMALL = IDS | dict(
    vocab_size=41,
    hidden_size=32,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    max_position_embeddings=64,
)
GPT2 = IDS | dict(vocab_size=41, n_embd=32, n_layer=2, n_head=4, n_positions=24)
# Where nothing differs between layers, one is enough.
ONE = dict(num_hidden_layers=1)
ONE_GPT2 = dict(n_layer=1)
# Two heads of 16 have eight frequencies to scale; a small base makes all of them matter within 24 positions.
ROPE = SMALL | dict(num_attention_heads=2, num_key_value_heads=1, head_dim=16)


def rope(kind="default", theta=10000.0, **more) -> dict:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": theta} | more}


# Keys that hub files have and the config class does not write.
GPT2_JSON = {"n_ctx": 24, "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}}}
LLAMA_JSON = {"pretraining_tp": 1}

CASES = {
    "gpt2": [
        Case("small", GPT2, "v4", json=GPT2_JSON, drop=("dtype", "torch_dtype", "n_inner"), lengths=(1, 24)),
        Case(
            "switches",
            GPT2
            | dict(
                scale_attn_by_inverse_layer_idx=True,
                n_inner=40,
                activation_function="relu",
                tie_word_embeddings=False,
                vocab_size=47,
                layer_norm_epsilon=1e-3,
            ),
        ),
        Case("unscaled", GPT2 | dict(scale_attn_weights=False, n_layer=1, n_head=2, activation_function="gelu")),
        Case("pickled", GPT2 | ONE_GPT2 | dict(reorder_and_upcast_attn=True), "v4", json=GPT2_JSON, pickled=True),
    ],
    "llama": [
        Case(
            "tied_gqa",
            SMALL | dict(num_key_value_heads=2, tie_word_embeddings=True, vocab_size=61, intermediate_size=48),
            "v4",
            json=LLAMA_JSON,
        ),
        Case("untied_mha", SMALL | rope(theta=500000.0) | ONE),
        Case(
            "wide_heads_mqa",
            SMALL | dict(num_key_value_heads=1, head_dim=12, rms_norm_eps=1e-2, hidden_act="gelu") | ONE,
            "v4",
            stored="f32",
        ),
        Case("biases", SMALL | dict(num_key_value_heads=2, attention_bias=True, mlp_bias=True) | ONE, stored="f16"),
        Case("one_layer", SMALL | dict(num_hidden_layers=1, vocab_size=37, num_attention_heads=1), "v4"),
        Case("sharded", SMALL | dict(num_key_value_heads=2), shard="15KB"),
        Case("linear", ROPE | rope("linear", 100.0, factor=4.0) | ONE, "v4", "type"),
        Case(
            "dynamic",
            ROPE | rope("dynamic", 100.0, factor=4.0) | dict(max_position_embeddings=8) | ONE,
            "v4",
            cache_differs=True,
            trace=9,
        ),
        Case(
            "llama3",
            ROPE
            | rope(
                "llama3",
                100.0,
                factor=8.0,
                low_freq_factor=0.5,
                high_freq_factor=2.0,
                original_max_position_embeddings=16,
            )
            | ONE,
            "v4",
        ),
        Case(
            "yarn",
            ROPE | rope("yarn", 100.0, factor=4.0, original_max_position_embeddings=16),
            "v4",
            "type",
        ),
        Case(
            "yarn_set",
            ROPE
            | rope(
                "yarn",
                100.0,
                factor=4.0,
                original_max_position_embeddings=8,
                beta_fast=2.0,
                beta_slow=0.25,
                mscale=0.7,
                mscale_all_dim=1.4,
                truncate=False,
            )
            | ONE,
        ),
        Case(
            "longrope",
            ROPE
            | rope(
                "longrope",
                100.0,
                short_factor=[1.0, 1.05, 1.1, 1.2, 1.3, 1.5, 1.7, 2.0],
                long_factor=[1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0],
                original_max_position_embeddings=8,
            )
            | ONE,
            lengths=(1, 7, 8, 9, 20),
            trace=9,
            cache_differs=True,
        ),
        Case(
            "longrope_set",
            ROPE
            | rope(
                "longrope",
                100.0,
                factor=4.0,
                attention_factor=1.4,
                short_factor=[1.0, 1.05, 1.1, 1.2, 1.3, 1.5, 1.7, 2.0],
                long_factor=[1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0],
                original_max_position_embeddings=8,
            )
            | ONE,
            "v4",
            cache_differs=True,
        ),
    ],
    "mistral": [
        Case("window", SMALL | dict(num_key_value_heads=2, sliding_window=5), "v4", trace=8),
        Case("no_window", SMALL | dict(num_key_value_heads=1, head_dim=16, sliding_window=None) | rope(theta=1e6) | ONE, trace=8),
        Case(
            "window_tied",
            SMALL | dict(num_key_value_heads=4, sliding_window=3, tie_word_embeddings=True, num_hidden_layers=1),
            stored="f16",
        ),
    ],
    "qwen2": [
        # As Qwen 2.5 writes it: a window that is set and not used.
        Case(
            "unused_window",
            SMALL | dict(num_key_value_heads=2, sliding_window=4, max_window_layers=1, tie_word_embeddings=True),
            "v4",
            json={"sliding_window": 4},
        ),
        Case(
            "window_from_layer",
            SMALL
            | dict(num_hidden_layers=3, num_key_value_heads=1, intermediate_size=32)
            | dict(use_sliding_window=True, sliding_window=4, max_window_layers=1),
            "v4",
        ),
        Case(
            "layer_types",
            ROPE
            | rope("yarn", 100.0, factor=4.0, original_max_position_embeddings=16)
            | dict(num_key_value_heads=2, use_sliding_window=True, sliding_window=5, max_window_layers=28)
            | dict(layer_types=["sliding_attention", "full_attention"]),
        ),
    ],
    "qwen3": [
        Case(
            "tied",
            SMALL | dict(num_key_value_heads=1, head_dim=12, tie_word_embeddings=True) | rope(theta=1e6),
            "v4",
        ),
        Case(
            "biases_window",
            SMALL
            | dict(num_key_value_heads=2, head_dim=8, attention_bias=True, vocab_size=43)
            | dict(use_sliding_window=True, sliding_window=4, max_window_layers=0, rms_norm_eps=1e-2)
            | dict(layer_types=["full_attention", "sliding_attention"]),
        ),
    ],
    "gpt_neox": [
        Case(
            "parallel",
            SMALL | dict(num_attention_heads=2, use_parallel_residual=True, hidden_act="gelu") | rope(partial_rotary_factor=0.25),
            "v4",
        ),
        Case(
            "sequential",
            SMALL
            | dict(use_parallel_residual=False, hidden_act="gelu_new", attention_bias=False, vocab_size=47, num_hidden_layers=1)
            | rope(theta=500.0, partial_rotary_factor=1.0),
        ),
        Case(
            "scaled",
            SMALL
            | dict(num_attention_heads=2, num_hidden_layers=1, hidden_act="gelu_fast", tie_word_embeddings=True)
            | rope("linear", 100.0, factor=2.0, partial_rotary_factor=0.5),
            stored="f16",
        ),
    ],
    "gemma2": [
        Case(
            "capped_window",
            SMALL
            | dict(num_key_value_heads=2, head_dim=8, query_pre_attn_scalar=24, sliding_window=4)
            | dict(attn_logit_softcapping=3.0, final_logit_softcapping=5.0),
            "v4",
            json={"cache_implementation": "hybrid", "hidden_act": "gelu_pytorch_tanh"},
            drop=("use_bidirectional_attention",),
        ),
        Case(
            "uncapped",
            SMALL
            | dict(num_key_value_heads=1, num_attention_heads=2, head_dim=20, query_pre_attn_scalar=20)
            | dict(attn_logit_softcapping=None, final_logit_softcapping=None, sliding_window=3, attention_bias=True)
            | dict(layer_types=["full_attention", "sliding_attention"]),
        ),
    ],
}
