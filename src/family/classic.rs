//! The decoders of GPT-2's making: layer norms, as many key heads as query heads, a feed-forward
//! without a gate, biases. Their configurations say the same in different words. No family is
//! named here.

use super::common::{Shape, activation, head_dim, heads, layers, uniform};
use super::config::Config;
use super::rope::{self, RopeDefaults};
use crate::error::Result;
use crate::spec::{Activation, Attention, FeedForward, Layer, Norm, Position, Spec, Wiring};

use Act::{Fixed, Named};

/// Where a configuration says what, and what it means where it is silent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Words {
    pub(crate) dim: &'static str,
    pub(crate) n_layers: &'static str,
    pub(crate) n_heads: &'static str,
    pub(crate) max_seq_len: &'static str,
    /// Where it is absent or null, the width between is four times the residual stream's.
    pub(crate) hidden_dim: Option<&'static str>,
    /// The norms' epsilon, 1e-5 where nothing says otherwise.
    pub(crate) eps: Option<&'static str>,
    pub(crate) activation: Act,
    pub(crate) default_max_seq_len: usize,
    pub(crate) tied: bool,
}

/// Where the nonlinearity comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Act {
    /// A key, and what it means where it is absent.
    Named(&'static str, &'static str),
    /// The family has but one.
    Fixed(Activation),
}

/// GPT-2's words.
pub(crate) const GPT2: Words = Words {
    dim: "n_embd",
    n_layers: "n_layer",
    n_heads: "n_head",
    max_seq_len: "n_positions",
    hidden_dim: Some("n_inner"),
    eps: Some("layer_norm_epsilon"),
    activation: Named("activation_function", "gelu_new"),
    default_max_seq_len: 1024,
    tied: true,
};

/// The words that most configurations have come to use.
pub(crate) const USUAL: Words = Words {
    dim: "hidden_size",
    n_layers: "num_hidden_layers",
    n_heads: "num_attention_heads",
    max_seq_len: "max_position_embeddings",
    hidden_dim: Some("intermediate_size"),
    eps: Some("layer_norm_eps"),
    activation: Named("hidden_act", "gelu"),
    default_max_seq_len: 2048,
    tied: false,
};

/// The one of `keys` that the configuration has, the first where it has none. Two that agree count
/// as one.
pub(crate) fn either(config: &Config<'_>, keys: &'static [&'static str]) -> Result<&'static str> {
    let mut there = keys.iter().filter(|key| config.value(key).is_some());
    let Some(first) = there.next() else { return Ok(keys.first().copied().unwrap_or_default()) };
    match there.find(|key| config.value(key) != config.value(first)) {
        Some(other) => Err(config.error(other, format!("differs from `{first}`"))),
        None => Ok(first),
    }
}

/// Such a decoder: norms before the branches, biases everywhere, no positions.
pub(crate) fn classic(config: &Config<'_>, words: &Words) -> Result<Spec> {
    let dim = config.size(words.dim)?;
    let n_heads = heads(config, words.n_heads)?;
    let head_dim = head_dim(config, dim, n_heads)?;
    let eps = match words.eps {
        Some(key) => config.number_or(key, 1e-5)?,
        None => 1e-5,
    };
    let hidden_dim = match words.hidden_dim {
        Some(key) => config.maybe_size(key)?,
        None => None,
    };
    let layer = Layer {
        wiring: Wiring::Pre,
        norm: Norm::Layer { eps, weight: true, bias: true, offset: 0.0 },
        attention: Attention {
            qkv_bias: true,
            out_bias: true,
            ..Attention::new(n_heads, n_heads, head_dim)
        },
        feed_forward: FeedForward::Plain {
            hidden_dim: hidden_dim.unwrap_or(4 * dim),
            activation: match words.activation {
                Named(key, default) => activation(config, key, default)?,
                Fixed(activation) => activation,
            },
            bias: true,
        },
        residual_scale: 1.0,
    };
    let shape = Shape {
        vocab_size: config.size("vocab_size")?,
        dim,
        max_seq_len: config.size_or(words.max_seq_len, words.default_max_seq_len)?,
        n_layers: layers(config, words.n_layers)?,
        tied: config.flag_or("tie_word_embeddings", words.tied)?,
    };
    Ok(uniform(layer, shape))
}

/// Rotary positions on every layer, read from the usual keys.
pub(crate) fn rotary(config: &Config<'_>, spec: &mut Spec, defaults: RopeDefaults) -> Result<()> {
    let head_dim = spec.layers.first().map_or(0, |layer| layer.attention.head_dim);
    let (rope, max_seq_len) = rope::read(config, head_dim, spec.max_seq_len, defaults)?;
    spec.max_seq_len = max_seq_len;
    for layer in &mut spec.layers {
        layer.attention.position = Position::Rope(rope.clone());
    }
    Ok(())
}

/// Biases of the attention's projections and of the feed-forward's.
pub(crate) fn biases(spec: &mut Spec, attention: bool, feed_forward: bool) {
    for layer in &mut spec.layers {
        layer.attention.qkv_bias = attention;
        layer.attention.out_bias = attention;
        if let FeedForward::Plain { bias, .. } = &mut layer.feed_forward {
            *bias = feed_forward;
        }
    }
}
