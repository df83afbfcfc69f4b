//! Equal, rounding or different: what a difference amounts to. Tolerances stand here and nowhere
//! else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::compare::Difference;
use crate::nn::At;

/// The largest difference that two f32 runs may have where the reference's numbers are at most 1;
/// where they are larger, so may it be.
pub const TOLERANCE: f32 = 1e-4;

/// A 16-bit run may be this many times as far off as PyTorch's own, in the mean.
pub const ALLOWANCE: f32 = 1.5;

/// One number may be this many times as far off as the furthest of PyTorch's own. Which number is
/// rounded worst is luck: two correct runs differ in it by a factor of 3 now and then.
const OUTLIER: f32 = 4.0;

/// What a difference amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Within the tolerance.
    Equal,
    /// Within what PyTorch's own 16-bit run is off.
    Rounding,
    /// Neither.
    Different,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Equal => "equal",
            Self::Rounding => "rounding",
            Self::Different => "different",
        })
    }
}

/// How far PyTorch's 16-bit run is from its f32 run, at one site.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(from = "(f32, f32)")]
pub struct Drift {
    /// The largest difference.
    pub max: f32,
    /// The mean difference.
    pub mean: f32,
}

impl From<(f32, f32)> for Drift {
    fn from((max, mean): (f32, f32)) -> Self {
        Self { max, mean }
    }
}

/// PyTorch's own 16-bit drift, by site.
#[derive(Debug, Clone, PartialEq)]
pub struct Yardstick {
    /// `bf16` or `f16`.
    pub dtype: String,
    /// By site.
    pub sites: BTreeMap<At, Drift>,
}

/// What differences are held to.
#[derive(Debug, Clone)]
pub struct Judge {
    /// As [`TOLERANCE`].
    pub tolerance: f32,
    /// For a run in 16 bits.
    pub yardstick: Option<Yardstick>,
}

impl Judge {
    /// What a difference may be at most.
    pub fn limit(&self, d: &Difference) -> f32 {
        self.tolerance * d.scale.max(1.0)
    }

    /// What it amounts to. The mean is held to the yardstick's: it is the part of a drift that
    /// depends least on luck, where a root mean square follows a few huge activations and a largest
    /// difference a single one. One number far off is not rounding either.
    pub fn judge(&self, d: &Difference) -> Verdict {
        if d.shapes.is_some() || d.not_finite.is_some() {
            return Verdict::Different;
        }
        if d.max <= self.limit(d) {
            return Verdict::Equal;
        }
        let drift = self.yardstick.as_ref().and_then(|yardstick| yardstick.sites.get(&d.at));
        match drift {
            Some(drift) if drifts_no_more(d, *drift) => Verdict::Rounding,
            _ => Verdict::Different,
        }
    }
}

/// Is a difference within the allowance of PyTorch's own drift?
pub fn drifts_no_more(d: &Difference, drift: Drift) -> bool {
    d.mean <= ALLOWANCE * drift.mean && d.max <= OUTLIER * drift.max
}
