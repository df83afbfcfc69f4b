//! What a new model's numbers are at first. Which tensors it has is found by loading it from
//! nothing (`weights/plan.rs`), so that every family can be begun anew.

use candle_core::{Device, Tensor};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::variables::Variables;
use crate::error::Result;
use crate::nn::Decoder;
use crate::spec::{Norm, QkNorm, Spec};
use crate::weights::{Checkpoint, Names, Param, Planned, Weights};

/// A new model: normal numbers of deviation `range` (`initializer_range`), those of the
/// projections back into the residual stream divided by √(2 · n_layers) (Radford et al. 2019,
/// section 2.3), norms that do nothing, biases of 0. The same seed gives the same numbers.
///
/// # Errors
/// A spec that contradicts itself, or that its family's names do not cover.
pub fn fresh(spec: &Spec, names: &'static Names, range: f64, seed: u64) -> Result<Variables> {
    let blank = Checkpoint::blank();
    let weights = Weights::planning(&blank, names, spec);
    Decoder::load(spec, &weights)?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let tensor = |planned: Planned| {
        let count = planned.shape.iter().product();
        let numbers = match level(&planned, spec) {
            Some(level) => vec![level; count],
            None => {
                let back = matches!(
                    planned.param,
                    Param::AttentionOut | Param::Down | Param::ExpertDown | Param::SharedDown
                );
                let depth = (2.0 * spec.layers.len() as f64).sqrt();
                normal(&mut rng, if back { range / depth } else { range }, count)
            }
        };
        let tensor = Tensor::from_vec(numbers, planned.shape.as_slice(), &Device::Cpu)?;
        Ok((planned.name, tensor))
    };
    let tensors = weights.planned().into_iter().map(tensor).collect::<Result<Vec<_>>>()?;
    Variables::new(spec, names, tensors)
}

/// The one number that a tensor is filled with; `None` where it is random.
fn level(planned: &Planned, spec: &Spec) -> Option<f32> {
    if planned.bias {
        return Some(0.0);
    }
    let layer = planned.layer.and_then(|layer| spec.layers.get(layer));
    let norm = match planned.param {
        Param::EmbeddingNorm => spec.embedding.norm,
        Param::FinalNorm => spec.final_norm,
        Param::QueryNorm | Param::KeyNorm => match layer?.attention.qk_norm? {
            QkNorm::PerHead(norm)
            | QkNorm::PerHeadPlaced(norm)
            | QkNorm::OwnPerHead(norm)
            | QkNorm::Full(norm) => Some(norm),
        },
        // softplus(x) = 0.8, and the slope and bound that the paper begins with.
        Param::XieluPositive | Param::XieluNegative => return Some(0.8f32.exp_m1().ln()),
        Param::XieluBeta => return Some(0.5),
        Param::XieluEps => return Some(-1e-6),
        Param::Sinks => return Some(0.0),
        _ if planned.factor => layer.map(|layer| layer.norm),
        _ => None,
    };
    match norm? {
        Norm::Layer { offset, .. } | Norm::Rms { offset, .. } => Some((1.0 - offset) as f32),
    }
}

/// Normal numbers (Box & Muller 1958).
fn normal(rng: &mut ChaCha8Rng, deviation: f64, count: usize) -> Vec<f32> {
    let pair = |_| {
        let (a, b): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
        let radius = deviation * (-2.0 * a.ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * b).sin_cos();
        [(radius * cos) as f32, (radius * sin) as f32]
    };
    let mut numbers: Vec<f32> = (0..count.div_ceil(2)).flat_map(pair).collect();
    numbers.truncate(count);
    numbers
}
