//! What the configurations of families with experts say in the same words. No family is named
//! here.

use super::config::Config;
use crate::error::Result;
use crate::spec::{Experts, FeedForward, Gating, Routing, Spec};

/// What a family assumes where its configuration is silent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExpertDefaults {
    pub(crate) n_experts: usize,
    pub(crate) per_token: usize,
}

/// The experts of a decoder whose gated feed-forward is described already: as many of them, of
/// that width, without biases or a shared one.
pub(crate) fn experts(
    config: &Config<'_>,
    spec: &Spec,
    routing: Routing,
    defaults: ExpertDefaults,
) -> Result<Experts> {
    // How the load is balanced in training.
    config.irrelevant(&["output_router_logits", "router_aux_loss_coef"]);
    // transformers calls the number one or the other, from version to version.
    let (here, there) =
        (config.maybe_size("num_local_experts")?, config.maybe_size("num_experts")?);
    let n_experts = match (here, there) {
        (Some(a), Some(b)) if a != b => {
            return Err(
                config.error("num_experts", format!("is {b}, but num_local_experts is {a}"))
            );
        }
        (Some(n), _) | (None, Some(n)) => n,
        (None, None) => config.size_or("num_experts", defaults.n_experts)?,
    };
    let (hidden_dim, activation) = match spec.layers.first().map(|layer| &layer.feed_forward) {
        Some(FeedForward::Gated { hidden_dim, activation, .. }) => (*hidden_dim, *activation),
        _ => return Err(config.error("intermediate_size", "belongs to no gated feed-forward")),
    };
    Ok(Experts {
        n_experts,
        per_token: config.size_or("num_experts_per_tok", defaults.per_token)?,
        hidden_dim,
        routing,
        router_bias: false,
        gating: Gating::Plain(activation),
        bias: false,
        shared: None,
    })
}

/// Gives every layer those experts.
pub(crate) fn everywhere(spec: &mut Spec, experts: &Experts) {
    for layer in &mut spec.layers {
        layer.feed_forward = FeedForward::Experts(experts.clone());
    }
}

/// Gives every `decoder_sparse_step`-th layer those experts, but for `mlp_only_layers`.
pub(crate) fn sparsely(config: &Config<'_>, spec: &mut Spec, experts: &Experts) -> Result<()> {
    let step = config.size_or("decoder_sparse_step", 1)?;
    if step == 0 {
        return Err(config.error("decoder_sparse_step", "is 0"));
    }
    let dense = config.maybe_numbers("mlp_only_layers")?.unwrap_or_default();
    for (index, layer) in spec.layers.iter_mut().enumerate() {
        let sparse = (index + 1).is_multiple_of(step) && !dense.contains(&(index as f64));
        if sparse && experts.n_experts > 0 {
            layer.feed_forward = FeedForward::Experts(experts.clone());
        }
    }
    Ok(())
}

/// A softmax over all experts, renormalised where `norm_topk_prob` says so.
pub(crate) fn softmax_routing(config: &Config<'_>) -> Result<Routing> {
    Ok(Routing::SoftmaxThenTop { renormalise: config.flag_or("norm_topk_prob", false)? })
}

/// A window on every layer, if `sliding_window` gives one.
pub(crate) fn window_everywhere(config: &Config<'_>, spec: &mut Spec) -> Result<()> {
    let window = config.maybe_size("sliding_window")?;
    for layer in &mut spec.layers {
        layer.attention.window = window;
    }
    Ok(())
}
