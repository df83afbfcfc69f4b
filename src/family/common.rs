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
        "xielu" => Activation::Xielu,
        other => {
            let known =
                "gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, silu, swish, relu, relu2, xielu";
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
    /// The norms' epsilon, and its key where it has one.
    pub(crate) eps: f64,
    pub(crate) eps_key: Option<&'static str>,
    /// The nonlinearity's key, and what it means where it is absent.
    pub(crate) activation: (&'static str, &'static str),
    /// Of rotary positions.
    pub(crate) rope: RopeDefaults,
}

impl Default for GatedDefaults {
    fn default() -> Self {
        Self {
            head_dim: None,
            n_kv_heads: None,
            max_seq_len: 2048,
            tied: false,
            eps: 1e-6,
            eps_key: Some("rms_norm_eps"),
            activation: ("hidden_act", "silu"),
            rope: RopeDefaults::default(),
        }
    }
}

/// The shape most decoders since 2023 share: RMSNorm before each branch, rotary grouped-query
/// attention and a gated feed-forward, without biases.
pub(crate) fn gated(config: &Config<'_>, defaults: GatedDefaults) -> Result<Spec> {
    let mut spec = gated_unplaced(config, defaults)?;
    let head_dim = spec.layers.first().map_or(0, |layer| layer.attention.head_dim);
    let (rope, max_seq_len) = rope::read(config, head_dim, spec.max_seq_len, defaults.rope)?;
    spec.max_seq_len = max_seq_len;
    for layer in &mut spec.layers {
        layer.attention.position = Position::Rope(rope.clone());
    }
    Ok(spec)
}

/// [`gated`] without positions.
pub(crate) fn gated_unplaced(config: &Config<'_>, defaults: GatedDefaults) -> Result<Spec> {
    let dim = config.size("hidden_size")?;
    let n_heads = heads(config, "num_attention_heads")?;
    let n_kv_heads =
        config.size_or("num_key_value_heads", defaults.n_kv_heads.unwrap_or(n_heads))?;
    let head_dim = match (config.maybe_size("head_dim")?, defaults.head_dim) {
        (Some(given), _) => given,
        (None, Some(default)) => config.size_or("head_dim", default)?,
        (None, None) => head_dim(config, dim, n_heads)?,
    };
    let eps = match defaults.eps_key {
        Some(key) => config.number_or(key, defaults.eps)?,
        None => defaults.eps,
    };
    let layer = Layer {
        wiring: Wiring::Pre,
        norm: Norm::Rms { eps, weight: true, offset: 0.0 },
        attention: Attention::new(n_heads, n_kv_heads, head_dim),
        feed_forward: FeedForward::Gated {
            hidden_dim: config.size("intermediate_size")?,
            activation: activation(config, defaults.activation.0, defaults.activation.1)?,
            bias: false,
        },
        residual_scale: 1.0,
    };
    Ok(uniform(
        layer,
        Shape {
            vocab_size: config.size("vocab_size")?,
            dim,
            max_seq_len: config.size_or("max_position_embeddings", defaults.max_seq_len)?,
            n_layers: layers(config, "num_hidden_layers")?,
            tied: config.flag_or("tie_word_embeddings", defaults.tied)?,
        },
    ))
}

/// What a decoder of equal layers needs besides one of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) vocab_size: usize,
    pub(crate) dim: usize,
    pub(crate) max_seq_len: usize,
    pub(crate) n_layers: usize,
    pub(crate) tied: bool,
}

/// A decoder of equal layers, with their norm before the head and nothing else.
pub(crate) fn uniform(layer: Layer, shape: Shape) -> Spec {
    Spec {
        vocab_size: shape.vocab_size,
        dim: shape.dim,
        max_seq_len: shape.max_seq_len,
        embedding: Embedding {
            width: shape.dim,
            scale: 1.0,
            position: AbsolutePosition::None,
            norm: None,
        },
        final_norm: Some(layer.norm),
        layers: vec![layer; shape.n_layers],
        head: Head { tied: shape.tied, bias: false, scale: 1.0, softcap: None },
    }
}

/// Replaces the norms of every layer and the one before the head.
pub(crate) fn normed(spec: &mut Spec, with: impl Fn(Norm) -> Norm) {
    spec.final_norm = spec.final_norm.map(&with);
    for layer in &mut spec.layers {
        layer.norm = with(layer.norm);
    }
}

/// A layer norm in place of a root-mean-square norm, of the same epsilon.
pub(crate) fn layer_norm(norm: Norm, weight: bool, bias: bool) -> Norm {
    let (Norm::Rms { eps, .. } | Norm::Layer { eps, .. }) = norm;
    Norm::Layer { eps, weight, bias, offset: 0.0 }
}

/// `attention_bias` gives queries, keys and values a bias, and the output too where `out` says so.
pub(crate) fn attention_biases(
    config: &Config<'_>,
    spec: &mut Spec,
    default: bool,
    out: bool,
) -> Result<()> {
    let bias = config.flag_or("attention_bias", default)?;
    for layer in &mut spec.layers {
        layer.attention.qkv_bias = bias;
        layer.attention.out_bias = bias && out;
    }
    Ok(())
}

/// `mlp_bias` gives every projection of the feed-forward one.
pub(crate) fn mlp_biases(config: &Config<'_>, spec: &mut Spec, default: bool) -> Result<()> {
    let mlp_bias = config.flag_or("mlp_bias", default)?;
    for layer in &mut spec.layers {
        match &mut layer.feed_forward {
            FeedForward::Gated { bias, .. } | FeedForward::Plain { bias, .. } => *bias = mlp_bias,
            FeedForward::Experts(experts) => experts.bias = mlp_bias,
        }
    }
    Ok(())
}

/// Takes the gate out of every feed-forward.
pub(crate) fn ungated(spec: &mut Spec) {
    for layer in &mut spec.layers {
        if let FeedForward::Gated { hidden_dim, activation, bias } = layer.feed_forward {
            layer.feed_forward = FeedForward::Plain { hidden_dim, activation, bias };
        }
    }
}

/// Rotary pairs are neighbours, (0,1), (2,3), ….
pub(crate) fn interleave(spec: &mut Spec) {
    for layer in &mut spec.layers {
        if let Position::Rope(rope) = &mut layer.attention.position {
            rope.interleaved = true;
        }
    }
}

/// Gives the layers that `layer_types` (or, where it is absent, `sliding`) says a window.
pub(crate) fn windows(
    config: &Config<'_>,
    spec: &mut Spec,
    window: Option<usize>,
    sliding: impl Fn(usize) -> bool,
) -> Result<()> {
    let slides = sliding_layers(config, spec.layers.len(), sliding)?;
    for (layer, slides) in spec.layers.iter_mut().zip(slides) {
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

/// Which layers slide: those of which `layer_types` says so or, where it is absent, `sliding`.
pub(crate) fn sliding_layers(
    config: &Config<'_>,
    n_layers: usize,
    sliding: impl Fn(usize) -> bool,
) -> Result<Vec<bool>> {
    let Some(types) = config.maybe_texts("layer_types")? else {
        return Ok((0..n_layers).map(sliding).collect());
    };
    if types.len() != n_layers {
        let problem = format!("has {} entries for {n_layers} layers", types.len());
        return Err(config.error("layer_types", problem));
    }
    let slides = |(index, kind): (usize, &&str)| match *kind {
        "sliding_attention" => Ok(true),
        "full_attention" => Ok(false),
        other => {
            let known = "full_attention, sliding_attention";
            let problem = format!("has `{other}` for layer {index}; known: {known}");
            Err(config.error("layer_types", problem))
        }
    };
    types.iter().enumerate().map(slides).collect()
}

/// A window that is `default` where `sliding_window` is absent, and none where it is null.
pub(crate) fn window_or(config: &Config<'_>, default: usize) -> Result<Option<usize>> {
    match config.has("sliding_window") {
        true => config.maybe_size("sliding_window"),
        false => Ok(Some(config.size_or("sliding_window", default)?)),
    }
}
