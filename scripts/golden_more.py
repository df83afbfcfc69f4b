"""The golden cases of the further dense families; golden_cases.py has the first seven, and what a Case is."""

from golden_cases import IDS, Case, rope

BASE = IDS | dict(
    vocab_size=31,
    hidden_size=32,
    intermediate_size=20,
    num_hidden_layers=2,
    num_attention_heads=4,
    max_position_embeddings=32,
)
GPT = IDS | dict(vocab_size=31, n_embd=24, n_layer=2, n_head=3, n_positions=32, n_inner=32)
GQA = BASE | dict(num_key_value_heads=2)
LONG = dict(short_factor=[1.0, 1.1, 1.3, 1.7], long_factor=[1.5, 2.0, 3.0, 5.0], original_max_position_embeddings=8)
YARN = rope("yarn", 100.0, factor=4.0, original_max_position_embeddings=8)
LLAMA3 = rope(
    "llama3", 100.0, factor=8.0, low_freq_factor=0.25, high_freq_factor=1.0, original_max_position_embeddings=8
)


def case(name, config, form="v5", **more) -> Case:
    return Case(name, config, form, **{"trace": 5, "lengths": (1, 12)} | more)


def windows(*layers) -> dict:
    return {"layer_types": [f"{layer}_attention" for layer in layers]}


FALCON = IDS | dict(
    vocab_size=31, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, ffn_hidden_size=24
) | dict(max_position_embeddings=32)

MORE_CASES = {
    "gpt_neo": [
        case(
            "local",
            IDS
            | dict(vocab_size=31, hidden_size=24, num_layers=2, num_heads=3, intermediate_size=32)
            | dict(max_position_embeddings=24, window_size=4, attention_types=[[["global", "local"], 1]]),
            "v4",
        ),
        case(
            "untied",
            IDS
            | dict(vocab_size=31, hidden_size=24, num_layers=1, num_heads=2, intermediate_size=None)
            | dict(max_position_embeddings=24, window_size=3, attention_types=[[["local"], 1]])
            | dict(activation_function="relu", tie_word_embeddings=False),
        ),
    ],
    "gptj": [
        case("partial", GPT | dict(rotary_dim=4), "v4"),
        case("whole", GPT | dict(rotary_dim=8, n_layer=1, n_inner=None, activation_function="gelu"), stored="f32"),
    ],
    "codegen": [
        case("partial", GPT | dict(n_embd=32, n_head=4, rotary_dim=4), "v4"),
        case("eight_heads", GPT | dict(n_embd=32, n_head=8, rotary_dim=2, n_layer=1), stored="f16"),
    ],
    "opt": [
        case("pre", BASE | dict(ffn_dim=40, hidden_size=24, num_attention_heads=3), "v4", drop=("intermediate_size",)),
        case(
            "post_projected",
            BASE
            | dict(ffn_dim=40, hidden_size=24, num_attention_heads=3, word_embed_proj_dim=16)
            | dict(do_layer_norm_before=False, num_hidden_layers=1),
            drop=("intermediate_size",),
        ),
        case(
            "bare",
            BASE
            | dict(ffn_dim=40, num_hidden_layers=1, activation_function="gelu", tie_word_embeddings=False)
            | dict(enable_bias=False, layer_norm_elementwise_affine=False, word_embed_proj_dim=40),
            drop=("intermediate_size",),
        ),
    ],
    "bloom": [
        case("three_heads", IDS | dict(vocab_size=31, hidden_size=24, n_layer=2, n_head=3), "v4", stored="f16"),
        case(
            "post_norm_residual",
            IDS
            | dict(vocab_size=31, hidden_size=32, n_layer=1, n_head=4, tie_word_embeddings=False)
            | dict(apply_residual_connection_post_layernorm=True),
        ),
    ],
    "mpt": [
        case("three_heads", IDS | dict(vocab_size=31, d_model=24, n_layers=2, n_heads=3, max_seq_len=32), "v4"),
        case(
            "clipped",
            IDS
            | dict(vocab_size=31, d_model=32, n_layers=1, n_heads=4, max_seq_len=32)
            | dict(attn_config=dict(clip_qkv=1.5, softmax_scale=0.2)),
        ),
    ],
    "falcon": [
        case("mqa", FALCON, "v4"),
        case("new", FALCON | dict(new_decoder_architecture=True, num_kv_heads=2, bias=True, num_hidden_layers=1) | rope(theta=500.0)),
        case(
            "new_one_norm",
            FALCON
            | dict(new_decoder_architecture=True, num_kv_heads=1, num_ln_in_parallel_attn=1, num_hidden_layers=1)
            | dict(tie_word_embeddings=False),
        ),
        case(
            "alibi",
            FALCON | dict(alibi=True, multi_query=False, parallel_attn=False, bias=True, num_hidden_layers=1),
            "v4",
        ),
        # Slopes that bf16 does not hold: transformers rounds the bias to bf16 in a model of any dtype.
        case(
            "alibi_rounded",
            FALCON
            | dict(alibi=True, multi_query=False, parallel_attn=True, num_attention_heads=6, hidden_size=24)
            | dict(num_hidden_layers=1),
        ),
        case(
            "scaled",
            FALCON | dict(multi_query=True, num_hidden_layers=1) | rope("linear", 100.0, factor=2.0),
            "v4",
        ),
    ],
    "gpt_bigcode": [
        case("multi_query", GPT | dict(multi_query=True), "v4"),
        case(
            "multi_head",
            GPT
            | dict(multi_query=False, n_layer=1, n_inner=None, activation_function="gelu", scale_attn_weights=False)
            | dict(tie_word_embeddings=False),
            stored="f16",
        ),
    ],
    "starcoder2": [
        case("window", GQA | dict(sliding_window=4), "v4"),
        case(
            "no_bias",
            BASE
            | dict(num_key_value_heads=1, use_bias=False, tie_word_embeddings=False, sliding_window=None)
            | dict(num_hidden_layers=1, hidden_act="gelu", norm_epsilon=1e-2),
        ),
    ],
    "gemma": [
        case("mqa", BASE | dict(num_key_value_heads=1, head_dim=12), "v4", json={"hidden_act": "gelu"}),
        case(
            "mha",
            BASE | dict(num_key_value_heads=4, head_dim=8, num_hidden_layers=1, attention_bias=True),
        ),
    ],
    "gemma3_text": [
        case(
            "pattern",
            GQA
            | dict(head_dim=8, query_pre_attn_scalar=16, sliding_window=4, num_hidden_layers=2)
            | dict(rope_theta=1e4, rope_local_base_freq=100.0, sliding_window_pattern=2),
            "v4_gemma3",
        ),
        case(
            "linear",
            BASE
            | dict(num_key_value_heads=1, head_dim=12, query_pre_attn_scalar=12, sliding_window=3)
            | dict(final_logit_softcapping=6.0)
            | windows("full", "sliding")
            | dict(
                rope_parameters={
                    "full_attention": {"rope_type": "linear", "rope_theta": 1000.0, "factor": 8.0},
                    "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
                }
            ),
        ),
    ],
    "phi": [
        case("partial", BASE | dict(hidden_size=24, num_attention_heads=3) | rope(partial_rotary_factor=0.5), "v4"),
        case(
            "normed_gqa",
            GQA | dict(qk_layernorm=True, num_hidden_layers=1) | rope(theta=100.0, partial_rotary_factor=0.25),
            stored="f32",
        ),
    ],
    "phi3": [
        case(
            "window",
            GQA
            | dict(sliding_window=4, pad_token_id=0, original_max_position_embeddings=32)
            | rope(partial_rotary_factor=1.0),
            "v4",
            drop=("partial_rotary_factor",),
        ),
        case(
            "longrope",
            GQA
            | dict(pad_token_id=0, num_hidden_layers=1)
            | dict(original_max_position_embeddings=8)
            | rope("longrope", 100.0, **{k: v for k, v in LONG.items() if "original" not in k}),
            "v4",
            drop=("partial_rotary_factor",),
            cache_differs=True,
            trace=9,
        ),
        case(
            "partial_tied",
            BASE
            | dict(num_key_value_heads=1, pad_token_id=0, tie_word_embeddings=True, num_hidden_layers=1)
            | dict(original_max_position_embeddings=8, num_attention_heads=2)
            | rope(
                "longrope",
                100.0,
                partial_rotary_factor=0.75,
                short_factor=[1.0, 1.1, 1.2, 1.3, 1.5, 1.7],
                long_factor=[1.5, 2.0, 2.5, 3.0, 4.0, 5.0],
            ),
            cache_differs=True,
        ),
    ],
    "stablelm": [
        case("sequential", GQA | rope(partial_rotary_factor=0.25), "v4"),
        case(
            "parallel_normed",
            GQA
            | dict(use_parallel_residual=True, qk_layernorm=True, use_qkv_bias=True, num_hidden_layers=1)
            | rope(theta=100.0, partial_rotary_factor=0.5),
            stored="f16",
        ),
        case(
            "tied",
            BASE
            | dict(num_key_value_heads=4, use_parallel_residual=True, tie_word_embeddings=True, num_hidden_layers=1)
            | rope(partial_rotary_factor=1.0),
        ),
    ],
    "olmo": [
        case("clipped", GQA | dict(clip_qkv=1.5), "v4"),
        case("tied", BASE | dict(tie_word_embeddings=True, num_hidden_layers=1, attention_bias=True)),
    ],
    "olmo2": [
        case("gqa", GQA, "v4"),
        case("mha", BASE | dict(num_hidden_layers=1, attention_bias=True) | YARN),
    ],
    "olmo3": [
        case("windows", GQA | dict(sliding_window=4) | windows("sliding", "full"), stored="f16"),
        case(
            "yarn_full",
            GQA
            | dict(sliding_window=4)
            | windows("full", "sliding")
            | dict(
                rope_parameters={
                    "full_attention": YARN["rope_parameters"],
                    "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
                }
            ),
        ),
    ],
    "smollm3": [
        case("no_rope", GQA | dict(no_rope_layer_interval=2, pad_token_id=0), "v4"),
        case(
            "windows",
            GQA
            | dict(no_rope_layers=[0, 1], use_sliding_window=True, sliding_window=4, tie_word_embeddings=False)
            | dict(pad_token_id=0)
            | dict(attention_bias=True, mlp_bias=True),
            stored="bf16",
        ),
    ],
    "granite": [
        case(
            "scaled",
            GQA
            | dict(embedding_multiplier=3.0, logits_scaling=0.5, residual_multiplier=0.3, attention_multiplier=0.2)
            | dict(tie_word_embeddings=True),
            "v4",
        ),
        case(
            "biases",
            BASE | dict(num_key_value_heads=1, attention_bias=True, mlp_bias=True, attention_multiplier=0.5)
            | dict(num_hidden_layers=1),
        ),
    ],
    "cohere": [
        case("plain", GQA | dict(logit_scale=0.5), "v4"),
        case(
            "normed",
            GQA
            | dict(use_qk_norm=True, attention_bias=True, tie_word_embeddings=False, logit_scale=1.5)
            | dict(num_hidden_layers=1),
        ),
    ],
    "cohere2": [
        case("pattern", GQA | dict(sliding_window=4, sliding_window_pattern=2, logit_scale=0.5), "v4_layers"),
        case(
            "layers",
            BASE
            | dict(sliding_window=4, attention_bias=True, num_key_value_heads=1, logit_scale=1.0)
            | windows("full", "sliding"),
        ),
    ],
    "helium": [
        case("gqa", GQA | dict(head_dim=8), "v4"),
        case(
            "biases",
            BASE | dict(num_key_value_heads=1, head_dim=8, attention_bias=True, mlp_bias=True, num_hidden_layers=1),
        ),
    ],
    "ernie4_5": [
        case("plain", GQA | dict(head_dim=8), "v4"),
        case("biases", BASE | dict(num_key_value_heads=1, head_dim=12, use_bias=True, tie_word_embeddings=False, num_hidden_layers=1)),
    ],
    "glm": [
        case("partial", GQA | dict(head_dim=8, pad_token_id=0) | rope(partial_rotary_factor=0.5), "v4"),
        case(
            "no_bias",
            BASE
            | dict(num_key_value_heads=1, head_dim=12, attention_bias=False, pad_token_id=0, num_hidden_layers=1)
            | rope(theta=100.0, partial_rotary_factor=1.0),
            stored="f32",
        ),
    ],
    "glm4": [
        case("partial", GQA | dict(head_dim=8, pad_token_id=0) | rope(partial_rotary_factor=0.5), "v4"),
        case(
            "no_bias",
            BASE
            | dict(num_key_value_heads=1, head_dim=12, attention_bias=False, pad_token_id=0, num_hidden_layers=1)
            | dict(tie_word_embeddings=True)
            | rope(theta=100.0, partial_rotary_factor=1.0),
        ),
    ],
    "exaone4": [
        case("windows", GQA | dict(sliding_window=4) | windows("sliding", "full"), stored="f16"),
        case(
            "global", BASE | dict(num_key_value_heads=1, sliding_window=None, num_hidden_layers=1) | windows("full") | LLAMA3, "v4_layers"
        ),
    ],
    "nemotron": [
        case("partial", GQA | dict(head_dim=8) | rope(partial_rotary_factor=0.5), "v4"),
        case(
            "biases",
            BASE
            | dict(num_key_value_heads=4, head_dim=12, attention_bias=True, mlp_bias=True, num_hidden_layers=1)
            | dict(tie_word_embeddings=True)
            | rope(theta=100.0, partial_rotary_factor=1.0),
        ),
    ],
    "apertus": [
        case("llama3", GQA | LLAMA3, "v4"),
        case("biases", BASE | dict(num_key_value_heads=1, attention_bias=True, num_hidden_layers=1) | rope()),
    ],
    "seed_oss": [
        case("plain", GQA | dict(head_dim=8), "v4"),
        case(
            "biases",
            BASE
            | dict(num_key_value_heads=1, head_dim=12, attention_bias=False, attention_out_bias=True, mlp_bias=True)
            | dict(num_hidden_layers=1, tie_word_embeddings=True),
        ),
    ],
    "hunyuan_v1_dense": [
        case("plain", GQA | dict(head_dim=8), "v4"),
        case(
            "alpha",
            BASE
            | dict(num_key_value_heads=1, head_dim=12, attention_bias=True, tie_word_embeddings=True)
            | dict(num_hidden_layers=1)
            | rope("dynamic", 100.0, alpha=50.0, factor=1.0),
        ),
    ],
    "persimmon": [
        case(
            "normed",
            BASE | dict(hidden_size=24, num_attention_heads=3) | rope(theta=25000.0, partial_rotary_factor=0.5),
            "v4",
        ),
        case(
            "plain",
            BASE
            | dict(qk_layernorm=False, num_hidden_layers=1, tie_word_embeddings=True, hidden_act="gelu")
            | rope(theta=100.0, partial_rotary_factor=1.0),
        ),
    ],
    "ministral3": [
        case(
            "yarn",
            GQA
            | dict(head_dim=8)
            | rope(
                "yarn",
                100.0,
                factor=4.0,
                original_max_position_embeddings=4,
                beta_fast=32.0,
                beta_slow=1.0,
                mscale=1.0,
                mscale_all_dim=1.0,
                llama_4_scaling_beta=0.3,
            ),
        ),
        case(
            "window",
            BASE
            | dict(num_key_value_heads=1, head_dim=12, sliding_window=4, tie_word_embeddings=True, num_hidden_layers=1)
            | rope(theta=100.0, llama_4_scaling_beta=0.0, original_max_position_embeddings=8),
        ),
    ],
    "xglm": [
        case(
            "scaled",
            IDS
            | dict(vocab_size=31, d_model=24, ffn_dim=32, num_layers=2, attention_heads=3)
            | dict(max_position_embeddings=32),
            "v4",
        ),
        case(
            "unscaled",
            IDS
            | dict(vocab_size=31, d_model=32, ffn_dim=32, num_layers=1, attention_heads=4, scale_embedding=False)
            | dict(max_position_embeddings=32, activation_function="relu", tie_word_embeddings=False),
        ),
    ],
    "nanochat": [
        case("gqa", GQA | dict(tie_word_embeddings=True)),
        case(
            "uncapped",
            BASE
            | dict(num_hidden_layers=1, final_logit_softcapping=None, attention_bias=True, hidden_act="silu")
            | rope(theta=100.0),
        ),
    ],
    # transformers has no class of MiniCPM. Its formulas are Granite's with these multipliers: embeddings times
    # scale_emb, branches times scale_depth / √layers, logits over hidden_size / dim_model_base.
    "minicpm": [
        case(
            "granite",
            GQA
            | dict(embedding_multiplier=3.0, residual_multiplier=1.4 / 2**0.5, logits_scaling=2.0)
            | dict(attention_multiplier=8**-0.5, tie_word_embeddings=True),
            "v4",
            model_type="granite",
            kin=dict(model_type="minicpm", scale_emb=3, scale_depth=1.4, dim_model_base=16),
            drop=("embedding_multiplier", "residual_multiplier", "logits_scaling", "attention_multiplier"),
        ),
    ],
}
