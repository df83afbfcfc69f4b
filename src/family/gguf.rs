//! Reads a GGUF's own keys as the configuration that its family would have in the Hugging Face
//! form, so that a family is described once. llama.cpp's architecture names and keys.

use serde_json::{Map, Value, json};

mod dense;
mod experts;
mod names;

use super::{Described, describe};
use crate::error::{Error, Result};
use crate::weights::{Checkpoint, GgufMetadata, Names};
use names::{APERTUS, FALCON, FUSED, PERMUTED, PLAIN, PLUS_ONE};

/// An architecture in llama.cpp's words.
struct Architecture {
    name: &'static str,
    /// Those with experts, where one name stands for both.
    experts: bool,
    model_type: &'static str,
    names: &'static Names,
    /// Keys beyond those that every architecture has.
    more: fn(&Reader<'_>, &mut Map<String, Value>),
}

/// One without experts.
const fn dense(
    name: &'static str,
    model_type: &'static str,
    names: &'static Names,
    more: fn(&Reader<'_>, &mut Map<String, Value>),
) -> Architecture {
    Architecture { name, experts: false, model_type, names, more }
}

/// One with experts.
const fn sparse(
    name: &'static str,
    model_type: &'static str,
    names: &'static Names,
    more: fn(&Reader<'_>, &mut Map<String, Value>),
) -> Architecture {
    Architecture { name, experts: true, model_type, names, more }
}

const ARCHITECTURES: &[Architecture] = &[
    dense("apertus", "apertus", &APERTUS, |_, _| {}),
    dense("bloom", "bloom", &PLAIN, dense::bloom),
    dense("chatglm", "glm", &FUSED, dense::glm),
    dense("cohere2", "cohere2", &PLAIN, dense::cohere2),
    dense("command-r", "cohere", &PLAIN, dense::command_r),
    dense("ernie4_5", "ernie4_5", &PLAIN, dense::ernie4_5),
    dense("exaone4", "exaone4", &PLAIN, dense::exaone4),
    dense("falcon", "falcon", &FALCON, dense::falcon),
    dense("gemma", "gemma", &PLUS_ONE, |_, _| {}),
    dense("gemma2", "gemma2", &PLUS_ONE, gemma2),
    dense("gemma3", "gemma3_text", &PLUS_ONE, dense::gemma3),
    dense("glm4", "glm4", &FUSED, dense::glm),
    dense("gpt2", "gpt2", &PLAIN, dense::gpt2),
    dense("gptneox", "gpt_neox", &PLAIN, dense::gptneox),
    sparse("gpt-oss", "gpt_oss", &PLAIN, experts::gpt_oss),
    dense("granite", "granite", &PERMUTED, dense::granite),
    sparse("granitemoe", "granitemoe", &PERMUTED, experts::granitemoe),
    dense("hunyuan-dense", "hunyuan_v1_dense", &PLAIN, |_, _| {}),
    dense("llama", "llama", &PERMUTED, |_, _| {}),
    sparse("llama", "mixtral", &PERMUTED, experts::numbers),
    dense("minicpm", "granite", &PERMUTED, dense::minicpm),
    dense("mistral3", "ministral3", &PERMUTED, dense::mistral3),
    dense("mpt", "mpt", &PLAIN, dense::mpt),
    dense("nemotron", "nemotron", &PLUS_ONE, dense::nemotron),
    dense("olmo", "olmo", &PERMUTED, dense::olmo),
    dense("olmo2", "olmo2", &PLAIN, dense::olmo2),
    sparse("olmoe", "olmoe", &PLAIN, experts::olmoe),
    dense("phi2", "phi", &PLAIN, dense::phi2),
    dense("phi3", "phi3", &FUSED, dense::phi3),
    sparse("phimoe", "phimoe", &PLAIN, experts::phimoe),
    dense("qwen2", "qwen2", &PLAIN, |_, _| {}),
    sparse("qwen2moe", "qwen2_moe", &PLAIN, experts::qwen2moe),
    dense("qwen3", "qwen3", &PLAIN, |_, _| {}),
    sparse("qwen3moe", "qwen3_moe", &PLAIN, experts::qwen3moe),
    dense("seed_oss", "seed_oss", &PLAIN, dense::seed_oss),
    dense("smollm3", "smollm3", &PERMUTED, |_, _| {}),
    dense("stablelm", "stablelm", &PLAIN, dense::stablelm),
    dense("starcoder", "gpt_bigcode", &PLAIN, dense::starcoder),
    dense("starcoder2", "starcoder2", &PLAIN, dense::starcoder2),
];

/// Describes the decoder in a GGUF checkpoint, and says where its tensors are. The keys in the
/// report are those that the same model has in `config.json`.
///
/// # Errors
/// As [`describe`]; [`Error::File`] where a size is missing.
pub fn describe_gguf(
    checkpoint: &Checkpoint,
    metadata: &GgufMetadata,
) -> Result<(Described, &'static Names)> {
    let origin = checkpoint.origin();
    let name = metadata.str("general.architecture").unwrap_or_default();
    let reader = Reader { checkpoint, metadata, name };
    let experts = reader.size("expert_count").is_some_and(|n| n > 0);
    let mut architectures = ARCHITECTURES.iter();
    let architecture =
        architectures.find(|a| a.name == name && a.experts == experts).ok_or_else(|| {
            let mut known: Vec<_> = ARCHITECTURES.iter().map(|a| a.name.to_string()).collect();
            known.dedup();
            Error::UnknownFamily { origin: origin.into(), model_type: name.into(), known }
        })?;
    let mut map = reader.common(architecture.model_type)?;
    (architecture.more)(&reader, &mut map);
    Ok((describe(&map, origin, false)?, architecture.names))
}

struct Reader<'a> {
    checkpoint: &'a Checkpoint,
    metadata: &'a GgufMetadata,
    name: &'a str,
}

impl Reader<'_> {
    fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.name)
    }

    fn size(&self, key: &str) -> Option<u64> {
        let key = self.key(key);
        // Sizes that differ from layer to layer come as lists; equal ones are one size.
        self.metadata.u64(&key).or_else(|| {
            let list = self.metadata.i64s(&key)?;
            let first = *list.first()?;
            list.iter().all(|n| *n == first).then_some(u64::try_from(first).ok()).flatten()
        })
    }

    fn number(&self, key: &str) -> Option<f64> {
        // Stored as f32: 1e-5 there is 0.0000099999997…, which is meant as 1e-5.
        let number = self.metadata.f64(&self.key(key))?;
        (number as f32).to_string().parse().ok()
    }

    fn needed(&self, key: &str) -> Result<u64> {
        self.size(key).ok_or_else(|| {
            Error::file(
                self.checkpoint.origin(),
                format!("metadata key `{}` is missing", self.key(key)),
            )
        })
    }

    fn has(&self, tensor: &str) -> bool {
        self.checkpoint.tensor(tensor).is_some()
    }

    fn common(&self, model_type: &str) -> Result<Map<String, Value>> {
        let mut map = Map::new();
        let mut set = |key: &str, value: Value| map.insert(key.into(), value);
        set("model_type", json!(model_type));
        let rows = self.checkpoint.tensor("token_embd.weight").and_then(|t| t.shape.first());
        let rows = rows.copied().ok_or_else(|| {
            Error::file(self.checkpoint.origin(), "tensor `token_embd.weight` is missing")
        })?;
        set("vocab_size", json!(rows));
        set("tie_word_embeddings", json!(!self.has("output.weight")));
        let sizes = [
            ("embedding_length", "hidden_size"),
            ("block_count", "num_hidden_layers"),
            ("attention.head_count", "num_attention_heads"),
            ("context_length", "max_position_embeddings"),
            ("feed_forward_length", "intermediate_size"),
        ];
        for (key, name) in sizes {
            set(name, json!(self.needed(key)?));
        }
        if let Some(heads) = self.size("attention.head_count_kv") {
            set("num_key_value_heads", json!(heads));
        }
        let heads = self.needed("attention.head_count")?.max(1);
        let head_dim = match self.size("attention.key_length") {
            Some(width) => width,
            None => self.needed("embedding_length")? / heads,
        };
        set("head_dim", json!(head_dim));
        if let Some(eps) = self.number("attention.layer_norm_rms_epsilon") {
            set("rms_norm_eps", json!(eps));
        }
        for (tensor, key) in
            [("blk.0.attn_output.bias", "attention_bias"), ("blk.0.ffn_down.bias", "mlp_bias")]
        {
            if self.has(tensor) {
                set(key, json!(true));
            }
        }
        set("rope_parameters", self.rope(head_dim)?);
        Ok(map)
    }

    fn rope(&self, head_dim: u64) -> Result<Value> {
        let mut rope = Map::new();
        if let Some(theta) = self.number("rope.freq_base") {
            rope.insert("rope_theta".into(), json!(theta));
        }
        // Said even where it is all of the head: a family may take less for granted.
        if let Some(turned) = self.size("rope.dimension_count") {
            rope.insert("partial_rotary_factor".into(), json!(turned as f64 / head_dim as f64));
        }
        let kind = self.metadata.str(&self.key("rope.scaling.type")).unwrap_or("none");
        // Before there were types there was one factor, of linear scaling.
        let old = self.number("rope.scale_linear").filter(|factor| *factor != 1.0);
        let kind = if kind == "none" && old.is_some() { "linear" } else { kind };
        let kind = if kind == "none" { "default" } else { kind };
        rope.insert("rope_type".into(), json!(kind));
        if kind != "default" {
            let factor = self.number("rope.scaling.factor").or(old);
            let original = self.size("rope.scaling.original_context_length");
            let attention = self.number("rope.scaling.attn_factor");
            rope.extend(factor.map(|factor| ("factor".into(), json!(factor))));
            if kind == "yarn" {
                for key in ["beta_fast", "beta_slow"] {
                    let number = self.number(&format!("rope.scaling.yarn_{key}"));
                    rope.extend(number.map(|number| (key.into(), json!(number))));
                }
            }
            if kind != "linear" {
                let key = "original_max_position_embeddings";
                rope.extend(original.map(|original| (key.into(), json!(original))));
                rope.extend(attention.map(|factor| ("attention_factor".into(), json!(factor))));
            }
        }
        self.divisors(rope)
    }

    /// Llama 3.1's scaling is not in the keys but in a tensor of divisors, one a frequency. They
    /// are what LongRoPE's short and long divisors are, which have a tensor each.
    fn divisors(&self, mut rope: Map<String, Value>) -> Result<Value> {
        let read = |name: &str| self.checkpoint.numbers_of(name);
        let one = read("rope_freqs.weight")?;
        let short = read("rope_factors_short.weight")?.or_else(|| one.clone());
        let long = read("rope_factors_long.weight")?.or(one);
        let (Some(short), Some(long)) = (short, long) else { return Ok(Value::Object(rope)) };
        let original = self.size("rope.scaling.original_context_length");
        rope.extend(original.map(|n| ("original_max_position_embeddings".into(), json!(n))));
        rope.insert("rope_type".into(), json!("longrope"));
        rope.insert("short_factor".into(), json!(short));
        rope.insert("long_factor".into(), json!(long));
        let factor = self.number("rope.scaling.attn_factor").unwrap_or(1.0);
        rope.insert("attention_factor".into(), json!(factor));
        Ok(Value::Object(rope))
    }
}

fn gemma2(reader: &Reader<'_>, map: &mut Map<String, Value>) {
    let window = reader.size("attention.sliding_window");
    map.extend(window.map(|window| ("sliding_window".into(), json!(window))));
    for (key, name) in [
        ("attn_logit_softcapping", "attn_logit_softcapping"),
        ("final_logit_softcapping", "final_logit_softcapping"),
    ] {
        map.insert(name.into(), json!(reader.number(key)));
    }
    // No key says what the scores are scaled by. As in llama.cpp, the 27B model (46 layers) takes
    // the embedding's width a head, every other the head's width.
    let layers = reader.size("block_count").unwrap_or_default();
    let (dim, heads) = (
        reader.size("embedding_length").unwrap_or_default(),
        reader.size("attention.head_count").unwrap_or_default().max(1),
    );
    let scalar = match (layers, map.get("head_dim")) {
        (46, _) | (_, None) => json!(dim / heads),
        (_, Some(head_dim)) => head_dim.clone(),
    };
    map.insert("query_pre_attn_scalar".into(), scalar);
}
