//! What the GGUF keys of architectures with experts mean.

use serde_json::{Map, Value, json};

use super::Reader;

type Keys = Map<String, Value>;

/// How many experts there are, and how many a token takes.
pub(super) fn numbers(reader: &Reader<'_>, map: &mut Keys) {
    sizes(
        reader,
        map,
        &[("expert_count", "num_experts"), ("expert_used_count", "num_experts_per_tok")],
    );
}

pub(super) fn qwen2moe(reader: &Reader<'_>, map: &mut Keys) {
    numbers(reader, map);
    sizes(
        reader,
        map,
        &[
            ("expert_feed_forward_length", "moe_intermediate_size"),
            ("expert_shared_feed_forward_length", "shared_expert_intermediate_size"),
        ],
    );
    map.insert("qkv_bias".into(), json!(reader.has("blk.0.attn_q.bias")));
    // Not a key: llama.cpp knows it by the architecture.
    map.insert("norm_topk_prob".into(), json!(false));
}

pub(super) fn qwen3moe(reader: &Reader<'_>, map: &mut Keys) {
    numbers(reader, map);
    sizes(reader, map, &[("expert_feed_forward_length", "moe_intermediate_size")]);
    map.insert("norm_topk_prob".into(), json!(true)); // so too
}

pub(super) fn olmoe(reader: &Reader<'_>, map: &mut Keys) {
    numbers(reader, map);
    map.insert("norm_topk_prob".into(), json!(false)); // so too
    let clip = reader.number("attention.clamp_kqv");
    map.extend(clip.map(|clip| ("clip_qkv".into(), json!(clip))));
}

/// llama.cpp weights the two experts by a renormalised softmax; here they are weighted as
/// transformers does it, with the noise that the published configuration has.
pub(super) fn phimoe(reader: &Reader<'_>, map: &mut Keys) {
    numbers(reader, map);
    map.insert("lm_head_bias".into(), json!(reader.has("output.bias")));
    window(reader, map);
    if let Some(Value::Object(rope)) = map.get_mut("rope_parameters")
        && let Some(factor) = rope.get("attention_factor").cloned()
    {
        // One magnitude is stored, for either side of the original length.
        rope.insert("short_mscale".into(), factor.clone());
        rope.insert("long_mscale".into(), factor);
    }
}

pub(super) fn granitemoe(reader: &Reader<'_>, map: &mut Keys) {
    numbers(reader, map);
    super::dense::granite(reader, map);
}

pub(super) fn gpt_oss(reader: &Reader<'_>, map: &mut Keys) {
    numbers(reader, map);
    sizes(reader, map, &[("expert_feed_forward_length", "intermediate_size")]);
    map.insert("attention_bias".into(), json!(reader.has("blk.0.attn_output.bias")));
    window(reader, map);
    if let Some(Value::Object(rope)) = map.get_mut("rope_parameters")
        && rope.get("rope_type") == Some(&json!("yarn"))
    {
        // Not a key: the published configuration says so. (llama.cpp rounds all the same.)
        rope.insert("truncate".into(), json!(false));
    }
}

fn window(reader: &Reader<'_>, map: &mut Keys) {
    let window = reader.size("attention.sliding_window").filter(|window| *window > 0);
    map.extend(window.map(|window| ("sliding_window".into(), json!(window))));
}

fn sizes(reader: &Reader<'_>, map: &mut Keys, keys: &[(&str, &str)]) {
    for (key, name) in keys {
        map.extend(reader.size(key).map(|size| ((*name).into(), json!(size))));
    }
}
