//! Gemma (Gemma Team 2024, 2403.08295): Llama with wide heads, norms of 1 + weight and embeddings
//! multiplied by √dim.

use serde_json::json;

use super::common::{GatedDefaults, attention_biases, gated, normed};
use super::config::Config;
use super::gemma2::unit_offset;
use crate::error::Result;
use crate::spec::{Activation, FeedForward, Spec};

/// `GemmaConfig` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    let defaults = GatedDefaults {
        head_dim: Some(256),
        n_kv_heads: Some(16),
        max_seq_len: 8192,
        tied: true,
        activation: ("hidden_act", "gelu_pytorch_tanh"),
        ..GatedDefaults::default()
    };
    config.irrelevant(&["hidden_activation"]);
    config.only("use_bidirectional_attention", &json!(false))?;
    let mut spec = gated(config, defaults)?;
    attention_biases(config, &mut spec, false, true)?;
    spec.embedding.scale = (spec.dim as f64).sqrt();
    normed(&mut spec, unit_offset);
    for layer in &mut spec.layers {
        // The first files say `gelu` and mean its tanh form.
        if let FeedForward::Gated { activation: activation @ Activation::GeluErf, .. } =
            &mut layer.feed_forward
        {
            *activation = Activation::GeluTanh;
        }
    }
    Ok(spec)
}
