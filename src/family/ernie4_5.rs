//! ERNIE 4.5 (Baidu 2025), the dense ones: Llama with neighbouring dimensions turned.

use super::common::{GatedDefaults, gated, interleave};
use super::config::Config;
use super::rope::RopeDefaults;
use crate::error::Result;
use crate::spec::{FeedForward, Spec};

/// `Ernie4_5Config` to a [`Spec`].
pub(crate) fn spec(config: &Config<'_>) -> Result<Spec> {
    let defaults = GatedDefaults {
        head_dim: Some(128),
        n_kv_heads: Some(2),
        max_seq_len: 131_072,
        tied: true,
        eps: 1e-5,
        rope: RopeDefaults { theta: 500_000.0, partial: 1.0 },
        ..GatedDefaults::default()
    };
    let mut spec = gated(config, defaults)?;
    interleave(&mut spec);
    let everywhere = config.flag_or("use_bias", false)?;
    for layer in &mut spec.layers {
        layer.attention.qkv_bias = everywhere;
        layer.attention.out_bias = everywhere;
        if let FeedForward::Gated { bias, .. } = &mut layer.feed_forward {
            *bias = everywhere;
        }
    }
    Ok(spec)
}
