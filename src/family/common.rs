//! What several families' configurations say in the same words. No family is named here.

use super::config::Config;
use super::rope::{self, RopeDefaults};
use crate::error::Result;
use crate::spec::{
    AbsolutePosition, Activation, Attention, Embedding, FeedForward, Head, Layer, Norm, Position,
    Spec, Wiring,
};

/// The nonlinearity that `key` names, in transformers' words.
pub(crate) fn activation(
    config: &Config<'_>,
    key: &str,
    default: &'static str,
) -> Result<Activation> {
    Ok(match config.text_or(key, default)? {
        "gelu" => Activation::GeluErf,
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Activation::GeluTanh,
        "silu" | "swish" => Activation::Silu,
        "relu" => Activation::Relu,
        "relu2" => Activation::ReluSquared,
        other => {
            let known = "gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, silu, swish, relu, relu2";
            return Err(config.error(key, format!("is `{other}`; known: {known}")));
        }
    })
}

/// `width / heads`, which must come out even.
pub(crate) fn head_dim(config: &Config<'_>, dim: usize, n_heads: usize) -> Result<usize> {
    match n_heads > 0 && dim.is_multiple_of(n_heads) {
        true => Ok(dim / n_heads),
        false => {
            let problem = format!("is missing, and {dim} does not divide into {n_heads} heads");
            Err(config.error("head_dim", problem))
        }
    }
}

/// A number of heads to be divided into that many groups: `key` must be there and not 0.
pub(crate) fn heads(config: &Config<'_>, key: &str) -> Result<usize> {
    match config.size(key)? {
        0 => Err(config.error(key, "is 0")),
        n => Ok(n),
    }
}

/// How many layers, bounded so that no list of them can be absurd.
pub(crate) fn layers(config: &Config<'_>, key: &str) -> Result<usize> {
    match config.size(key)? {
        n @ 1..=65_536 => Ok(n),
        n => Err(config.error(key, format!("is {n}; between 1 and 65536 make sense"))),
    }
}

/// What `Gated` says differently from its plainest form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GatedDefaults {
    pub(crate) head_dim: Option<usize>,
    pub(crate) n_kv_heads: Option<usize>,
    pub(crate) max_seq_len: usize,
    pub(crate) tied: bool,
}

impl Default for GatedDefaults {
    fn default() -> Self {
        Self { head_dim: None, n_kv_heads: None, max_seq_len: 2048, tied: false }
    }
}

/// The shape most decoders since 2023 share: RMSNorm before each branch, rotary grouped-query
/// attention and a gated feed-forward, without biases.
pub(crate) fn gated(config: &Config<'_>, defaults: GatedDefaults) -> Result<Spec> {
    let dim = config.size("hidden_size")?;
    let n_heads = heads(config, "num_attention_heads")?;
    let n_kv_heads =
        config.size_or("num_key_value_heads", defaults.n_kv_heads.unwrap_or(n_heads))?;
    let head_dim = match (config.maybe_size("head_dim")?, defaults.head_dim) {
        (Some(given), _) => given,
        (None, Some(default)) => config.size_or("head_dim", default)?,
        (None, None) => head_dim(config, dim, n_heads)?,
    };
    let norm =
        Norm::Rms { eps: config.number_or("rms_norm_eps", 1e-6)?, weight: true, offset: 0.0 };
    let max_seq_len = config.size_or("max_position_embeddings", defaults.max_seq_len)?;
    let (rope, max_seq_len) = rope::read(config, head_dim, max_seq_len, RopeDefaults::default())?;
    let layer = Layer {
        wiring: Wiring::Pre,
        norm,
        attention: Attention {
            n_heads,
            n_kv_heads,
            head_dim,
            position: Position::Rope(rope),
            qk_norm: None,
            qkv_bias: false,
            out_bias: false,
            window: None,
            scale: (head_dim as f64).powf(-0.5),
            softcap: None,
            sinks: false,
        },
        feed_forward: FeedForward::Gated {
            hidden_dim: config.size("intermediate_size")?,
            activation: activation(config, "hidden_act", "silu")?,
            bias: false,
        },
        residual_scale: 1.0,
    };
    Ok(Spec {
        vocab_size: config.size("vocab_size")?,
        dim,
        max_seq_len,
        embedding: Embedding { scale: 1.0, position: AbsolutePosition::None },
        layers: vec![layer; layers(config, "num_hidden_layers")?],
        final_norm: norm,
        head: Head {
            tied: config.flag_or("tie_word_embeddings", defaults.tied)?,
            bias: false,
            scale: 1.0,
            softcap: None,
        },
    })
}

/// Gives the layers that `layer_types` (or, where it is absent, `sliding`) says a window.
pub(crate) fn windows(
    config: &Config<'_>,
    spec: &mut Spec,
    window: Option<usize>,
    sliding: impl Fn(usize) -> bool,
) -> Result<()> {
    let types = config.maybe_texts("layer_types")?;
    if let Some(types) = &types
        && types.len() != spec.layers.len()
    {
        let problem = format!("has {} entries for {} layers", types.len(), spec.layers.len());
        return Err(config.error("layer_types", problem));
    }
    for (index, layer) in spec.layers.iter_mut().enumerate() {
        let slides = match types.as_ref().map(|types| types[index]) {
            None => sliding(index),
            Some("sliding_attention") => true,
            Some("full_attention") => false,
            Some(other) => {
                let problem = format!(
                    "has `{other}` for layer {index}; known: full_attention, sliding_attention"
                );
                return Err(config.error("layer_types", problem));
            }
        };
        layer.attention.window = match (slides, window) {
            (false, _) => None,
            (true, Some(window)) => Some(window),
            (true, None) => {
                return Err(config.error("sliding_window", "is missing, but layers slide"));
            }
        };
    }
    Ok(())
}
