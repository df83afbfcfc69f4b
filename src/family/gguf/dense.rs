//! What the GGUF keys of architectures without experts mean: what a family calls otherwise than
//! most, and what llama.cpp knows by the architecture's name alone.

use serde_json::{Map, Value, json};

use super::Reader;

type Keys = Map<String, Value>;

/// Gives keys the names that the family reads; `""` takes them out.
fn rename(map: &mut Keys, names: &[(&str, &str)]) {
    for (old, new) in names {
        if let Some(value) = map.remove(*old).filter(|_| !new.is_empty()) {
            map.insert((*new).into(), value);
        }
    }
}

/// Numbers under their names there and here, where they are.
fn numbers(reader: &Reader<'_>, map: &mut Keys, keys: &[(&str, &str)]) {
    for (key, name) in keys {
        map.extend(reader.number(key).map(|number| ((*name).into(), json!(number))));
    }
}

/// A layer norm's epsilon, and none of the keys that only decoders with a gate read.
fn classic(reader: &Reader<'_>, map: &mut Keys, eps: &str) {
    rename(map, &[("head_dim", ""), ("attention_bias", ""), ("mlp_bias", "")]);
    numbers(reader, map, &[("attention.layer_norm_epsilon", eps)]);
}

fn window(reader: &Reader<'_>, map: &mut Keys) {
    let window = reader.size("attention.sliding_window").filter(|window| *window > 0);
    map.insert("sliding_window".into(), json!(window));
}

fn has(reader: &Reader<'_>, map: &mut Keys, tensor: &str, key: &str) {
    map.insert(key.into(), json!(reader.has(tensor)));
}

fn parallel(reader: &Reader<'_>, map: &mut Keys) {
    let key = reader.key("use_parallel_residual");
    map.extend(
        reader.metadata.bool(&key).map(|flag| ("use_parallel_residual".into(), json!(flag))),
    );
}

pub(super) fn gpt2(reader: &Reader<'_>, map: &mut Keys) {
    classic(reader, map, "layer_norm_epsilon");
    rename(
        map,
        &[
            ("hidden_size", "n_embd"),
            ("num_hidden_layers", "n_layer"),
            ("num_attention_heads", "n_head"),
            ("max_position_embeddings", "n_positions"),
            ("intermediate_size", "n_inner"),
            ("num_key_value_heads", ""),
            ("rope_parameters", ""),
        ],
    );
}

pub(super) fn starcoder(reader: &Reader<'_>, map: &mut Keys) {
    let single = map.get("num_key_value_heads") == Some(&json!(1));
    gpt2(reader, map);
    map.insert("multi_query".into(), json!(single));
}

pub(super) fn starcoder2(reader: &Reader<'_>, map: &mut Keys) {
    classic(reader, map, "norm_epsilon");
    has(reader, map, "blk.0.attn_q.bias", "use_bias");
    window(reader, map);
}

pub(super) fn gptneox(reader: &Reader<'_>, map: &mut Keys) {
    classic(reader, map, "layer_norm_eps");
    rename(map, &[("num_key_value_heads", "")]);
    has(reader, map, "blk.0.attn_qkv.bias", "attention_bias");
    parallel(reader, map);
}

pub(super) fn bloom(reader: &Reader<'_>, map: &mut Keys) {
    classic(reader, map, "layer_norm_epsilon");
    rename(
        map,
        &[
            ("max_position_embeddings", "seq_length"),
            ("intermediate_size", ""),
            ("num_key_value_heads", ""),
            ("rope_parameters", ""),
        ],
    );
}

pub(super) fn mpt(reader: &Reader<'_>, map: &mut Keys) {
    classic(reader, map, "layer_norm_epsilon");
    rename(
        map,
        &[
            ("hidden_size", "d_model"),
            ("num_hidden_layers", "n_layers"),
            ("num_attention_heads", "n_heads"),
            ("max_position_embeddings", "max_seq_len"),
            ("intermediate_size", ""),
            ("num_key_value_heads", ""),
            ("rope_parameters", ""),
        ],
    );
    let mut attention = Keys::new();
    let keys =
        [("attention.clamp_kqv", "clip_qkv"), ("attention.max_alibi_bias", "alibi_bias_max")];
    numbers(reader, &mut attention, &keys);
    if let Some(largest) = reader.size("attention.max_alibi_bias") {
        attention.insert("alibi_bias_max".into(), json!(largest));
    } else if attention.get("alibi_bias_max") == Some(&json!(8.0)) {
        attention.insert("alibi_bias_max".into(), json!(8));
    }
    map.insert("attn_config".into(), Value::Object(attention));
}

pub(super) fn falcon(reader: &Reader<'_>, map: &mut Keys) {
    classic(reader, map, "layer_norm_epsilon");
    rename(
        map,
        &[("intermediate_size", "ffn_hidden_size"), ("num_key_value_heads", "num_kv_heads")],
    );
    let two_norms = reader.has("blk.0.attn_norm_2.weight");
    let several = two_norms || map.get("num_kv_heads").is_some_and(|heads| *heads != json!(1));
    map.insert("new_decoder_architecture".into(), json!(several));
    map.insert("num_ln_in_parallel_attn".into(), json!(if two_norms { 2 } else { 1 }));
    has(reader, map, "blk.0.attn_qkv.bias", "bias");
}

pub(super) fn gemma3(reader: &Reader<'_>, map: &mut Keys) {
    super::gemma2(reader, map);
    let layers = reader.size("block_count").unwrap_or_default();
    if let (62, Some(heads)) = (layers, reader.size("attention.head_count")) {
        // The 27B model, of which no key says what its scores are scaled by.
        let dim = reader.size("embedding_length").unwrap_or_default();
        map.insert("query_pre_attn_scalar".into(), json!(dim / heads.max(1)));
    }
}

pub(super) fn phi2(reader: &Reader<'_>, map: &mut Keys) {
    classic(reader, map, "layer_norm_eps");
}

pub(super) fn phi3(reader: &Reader<'_>, map: &mut Keys) {
    window(reader, map);
}

pub(super) fn stablelm(reader: &Reader<'_>, map: &mut Keys) {
    rename(map, &[("attention_bias", ""), ("mlp_bias", "")]);
    numbers(reader, map, &[("attention.layer_norm_epsilon", "layer_norm_eps")]);
    has(reader, map, "blk.0.attn_q.bias", "use_qkv_bias");
    has(reader, map, "blk.0.attn_q_norm.weight", "qk_layernorm");
    parallel(reader, map);
}

pub(super) fn olmo(reader: &Reader<'_>, map: &mut Keys) {
    numbers(reader, map, &[("attention.clamp_kqv", "clip_qkv")]);
}

/// One architecture for two families: the third generation has a window. Layers that slide have the
/// same base and no scaling.
pub(super) fn olmo2(reader: &Reader<'_>, map: &mut Keys) {
    if reader.size("attention.sliding_window").is_none_or(|window| window == 0) {
        return;
    }
    map.insert("model_type".into(), json!("olmo3"));
    window(reader, map);
    if let Some(slide) = reader.metadata.bools(&reader.key("attention.sliding_window_pattern")) {
        let kinds = slide.iter().map(|s| if *s { "sliding_attention" } else { "full_attention" });
        map.insert("layer_types".into(), kinds.collect());
    }
    if let Some(full) = map.remove("rope_parameters") {
        let sliding = json!({"rope_type": "default", "rope_theta": full.get("rope_theta")});
        let both = json!({"full_attention": full, "sliding_attention": sliding});
        map.insert("rope_parameters".into(), both);
    }
}

/// Its numbers stand among those of the rotation, as its own configuration has them.
pub(super) fn mistral3(reader: &Reader<'_>, map: &mut Keys) {
    map.insert("sliding_window".into(), Value::Null);
    if let Some(Value::Object(rope)) = map.get_mut("rope_parameters") {
        let keys = [
            ("rope.scaling.yarn_log_multiplier", "mscale_all_dim"),
            ("attention.temperature_scale", "llama_4_scaling_beta"),
        ];
        numbers(reader, rope, &keys);
        if rope.contains_key("mscale_all_dim") {
            rope.insert("mscale".into(), json!(1.0)); // as llama.cpp takes it
        }
    }
}

pub(super) fn granite(reader: &Reader<'_>, map: &mut Keys) {
    let keys = [
        ("embedding_scale", "embedding_multiplier"),
        ("residual_scale", "residual_multiplier"),
        ("attention.scale", "attention_multiplier"),
        ("logit_scale", "logits_scaling"),
    ];
    numbers(reader, map, &keys);
}

/// Granite's multipliers; llama.cpp takes the first published model's where they are missing.
pub(super) fn minicpm(reader: &Reader<'_>, map: &mut Keys) {
    let size = |key: &str| reader.size(key).unwrap_or_default() as f64;
    let head_dim = map.get("head_dim").and_then(Value::as_f64).unwrap_or(1.0);
    map.insert("attention_multiplier".into(), json!(head_dim.powf(-0.5)));
    map.insert("embedding_multiplier".into(), json!(12.0));
    map.insert("residual_multiplier".into(), json!(1.4 / size("block_count").sqrt()));
    map.insert("logits_scaling".into(), json!(size("embedding_length") / 256.0));
    granite(reader, map);
}

pub(super) fn command_r(reader: &Reader<'_>, map: &mut Keys) {
    rename(map, &[("mlp_bias", "")]);
    let keys = [("attention.layer_norm_epsilon", "layer_norm_eps"), ("logit_scale", "logit_scale")];
    numbers(reader, map, &keys);
    if reader.has("blk.0.attn_q_norm.weight") {
        map.insert("use_qk_norm".into(), json!(true));
    }
}

pub(super) fn cohere2(reader: &Reader<'_>, map: &mut Keys) {
    command_r(reader, map);
    window(reader, map);
}

pub(super) fn exaone4(reader: &Reader<'_>, map: &mut Keys) {
    window(reader, map);
}

pub(super) fn glm(reader: &Reader<'_>, map: &mut Keys) {
    let fused = reader.has("blk.0.attn_qkv.bias");
    has(reader, map, "blk.0.attn_q.bias", "attention_bias");
    if fused {
        map.insert("attention_bias".into(), json!(true));
    }
}

pub(super) fn nemotron(reader: &Reader<'_>, map: &mut Keys) {
    numbers(reader, map, &[("attention.layer_norm_epsilon", "norm_eps")]);
}

pub(super) fn ernie4_5(reader: &Reader<'_>, map: &mut Keys) {
    rename(map, &[("attention_bias", ""), ("mlp_bias", "")]);
    has(reader, map, "blk.0.attn_q.bias", "use_bias");
}

pub(super) fn seed_oss(reader: &Reader<'_>, map: &mut Keys) {
    has(reader, map, "blk.0.attn_q.bias", "attention_bias");
    has(reader, map, "blk.0.attn_output.bias", "attention_out_bias");
}
