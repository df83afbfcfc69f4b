//! A feed-forward branch of experts as plain data, and its checks. The dense ones are in the file
//! above.

use super::Activation;
use super::validate::{MAX_SIZE, check};
use crate::error::Result;

/// Several gated feed-forwards, of which every token takes a few (Shazeer et al. 2017, 1701.06538).
#[derive(Debug, Clone, PartialEq)]
pub struct Experts {
    /// How many there are.
    pub n_experts: usize,
    /// How many a token takes.
    pub per_token: usize,
    /// Width within one expert.
    pub hidden_dim: usize,
    /// How a token's experts are chosen and weighted.
    pub routing: Routing,
    /// The router has a bias.
    pub router_bias: bool,
    /// What joins the two halves of an expert.
    pub gating: Gating,
    /// All three projections of an expert have biases.
    pub bias: bool,
    /// The width of one more expert that every token takes, times σ(w·x) (Qwen 2 MoE).
    pub shared: Option<usize>,
}

/// From the router's scores, one an expert, to a token's experts and their weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Routing {
    /// A softmax over all experts; the largest are taken, and divided by their sum if
    /// `renormalise` (OLMoE, Muennighoff et al. 2024, 2409.02060; Qwen MoE).
    SoftmaxThenTop {
        /// The weights taken add up to 1.
        renormalise: bool,
    },
    /// The largest scores are taken, then a softmax over these (Mixtral, Jiang et al. 2024,
    /// 2401.04088). The same numbers as a renormalised softmax over all.
    TopThenSoftmax,
    /// SparseMixer-v2 (Liu et al. 2024, 2409.12136) as it infers, two experts a token: the largest
    /// score, weighted by a softmax over those near it; then the same among the rest. The weights
    /// do not add up to 1.
    SparseMixer {
        /// Near is within twice this share of the larger of the two scores' sizes.
        jitter: f64,
    },
}

/// What joins the two halves of a gated feed-forward.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Gating {
    /// `act(gate) * up` (Shazeer 2020, 2002.05202).
    Plain(Activation),
    /// `gate * σ(alpha · gate) * (up + 1)`, the gate at most `limit` and `up` within ± `limit`
    /// (gpt-oss, OpenAI 2025, 2508.10925).
    Clamped {
        /// Steepness of the sigmoid.
        alpha: f64,
        /// Where values are cut.
        limit: f64,
    },
}

impl Experts {
    pub(super) fn validate(&self, at: &str) -> Result<()> {
        let Self { n_experts, per_token, .. } = *self;
        let widths = [("hidden_dim", Some(self.hidden_dim)), ("shared", self.shared)];
        for (name, width) in widths {
            let fits = width.is_none_or(|width| (1..=MAX_SIZE).contains(&width));
            check(fits, || format!("{at}: the experts' {name} is {}", width.unwrap_or(0)))?;
        }
        check((1..=1 << 16).contains(&n_experts), || format!("{at}: {n_experts} experts"))?;
        check((1..=n_experts).contains(&per_token), || {
            format!("{at}: a token takes {per_token} of {n_experts} experts")
        })?;
        if let Routing::SparseMixer { jitter } = self.routing {
            check(per_token == 2, || {
                format!("{at}: SparseMixer takes 2 experts, not {per_token}")
            })?;
            check(jitter.is_finite() && jitter >= 0.0, || format!("{at}: a jitter of {jitter}"))?;
        }
        if let Gating::Clamped { alpha, limit } = self.gating {
            check(alpha.is_finite(), || format!("{at}: alpha is {alpha}"))?;
            check(limit.is_finite() && limit > 0.0, || format!("{at}: a limit of {limit}"))?;
        }
        Ok(())
    }
}
