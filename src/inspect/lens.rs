//! The logit lens: what the model would say next if it ended after this layer (nostalgebraist,
//! "interpreting GPT: the logit lens", 2020). It trains no translator.

use std::ops::Range;

use candle_core::Tensor;
use serde::Serialize;

use super::logits::{Distribution, largest, log_sum_exp, rows};
use crate::error::Result;
use crate::nn::{At, Decoder, Probe, Run, Site};

/// Positions whose logits are held at once.
const TOGETHER: usize = 16;

/// A token and its probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Guess {
    /// The token.
    pub id: u32,
    /// Its probability.
    pub probability: f64,
}

/// What would be said after so many layers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Depth {
    /// Layers that have run: 0 is the embeddings.
    pub layers: usize,
    /// The likeliest tokens, the likeliest first.
    pub top: Vec<Guess>,
    /// The probability of what the whole model finds likeliest.
    pub answer: f64,
    /// KL divergence from this to the final distribution, Σ final · ln(final / this), in nats.
    pub kl: f64,
}

/// One position, through all layers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reading {
    /// The position: what is read is the token after it.
    pub position: usize,
    /// What the whole model finds likeliest.
    pub answer: u32,
    /// Layers after which that is first the likeliest.
    pub first: usize,
    /// Layers after which it stays so.
    pub settled: usize,
    /// Every depth, the embeddings first.
    pub depths: Vec<Depth>,
}

/// The residual stream after every layer, which a probe keeps for [`Residuals::read`].
#[derive(Debug)]
pub struct Residuals {
    layers: usize,
    kept: Vec<Option<Tensor>>, // each (1, seq, dim)
}

impl Residuals {
    /// Of a decoder, nothing kept yet.
    pub fn new(decoder: &Decoder) -> Self {
        let layers = decoder.spec().layers.len();
        Self { layers, kept: vec![None; layers + 1] }
    }

    /// What each layer would say at these positions, with its `top` likeliest tokens.
    ///
    /// # Errors
    /// Nothing was kept yet; the tensor library's.
    pub fn read(
        &self,
        decoder: &Decoder,
        positions: Range<usize>,
        top: usize,
    ) -> Result<Vec<Reading>> {
        let mut readings = Vec::new();
        for start in positions.clone().step_by(TOGETHER) {
            let count = TOGETHER.min(positions.end - start);
            readings.extend(self.block(decoder, start, count, top)?);
        }
        Ok(readings)
    }

    /// Logits after so many layers, of these positions.
    fn logits(&self, decoder: &Decoder, layers: usize, at: Range<usize>) -> Result<Vec<Vec<f32>>> {
        let Some(Some(x)) = self.kept.get(layers) else {
            return Err(crate::Error::request("lens", "no pass was listened to"));
        };
        rows(&decoder.read_out(&x.narrow(1, at.start, at.len())?.contiguous()?)?)
    }

    fn block(
        &self,
        decoder: &Decoder,
        start: usize,
        count: usize,
        top: usize,
    ) -> Result<Vec<Reading>> {
        let last = self.logits(decoder, self.layers, start..start + count)?;
        let finals: Vec<Distribution> = last.iter().map(|row| Distribution::of(row)).collect();
        let answers: Vec<usize> =
            last.iter().map(|row| largest(row, 1).first().copied().unwrap_or(0)).collect();
        let mut depths: Vec<Vec<Depth>> = vec![Vec::new(); count];
        for layers in 0..=self.layers {
            let logits = self.logits(decoder, layers, start..start + count)?;
            for (at, row) in logits.iter().enumerate() {
                let lse = log_sum_exp(row);
                let probability = |id: usize| (f64::from(row[id]) - lse).exp();
                let guess = |id| Guess { id: id as u32, probability: probability(id) };
                depths[at].push(Depth {
                    layers,
                    top: largest(row, top.max(1)).into_iter().map(guess).collect(),
                    answer: probability(answers[at]),
                    kl: finals[at].divergence(row, lse),
                });
            }
        }
        let readings = depths.into_iter().zip(answers).enumerate();
        Ok(readings
            .map(|(at, (depths, answer))| reading(start + at, answer as u32, depths))
            .collect())
    }
}

fn reading(position: usize, answer: u32, depths: Vec<Depth>) -> Reading {
    let says = |depth: &Depth| depth.top.first().is_some_and(|guess| guess.id == answer);
    let first = depths.iter().position(says).unwrap_or(depths.len() - 1);
    let settled = depths.iter().rposition(|depth| !says(depth)).map_or(0, |at| at + 1);
    Reading { position, answer, first, settled, depths }
}

impl Probe for Residuals {
    fn wants(&self, at: At) -> bool {
        at.site == Site::ResidPost || (at.site == Site::ResidPre && at.layer == Some(0))
    }

    fn visit(&mut self, at: At, x: &Tensor) -> Result<Option<Tensor>> {
        let layers = if at.site == Site::ResidPre { 0 } else { at.layer.map_or(0, |at| at + 1) };
        let before = self.kept[layers].take();
        self.kept[layers] = Some(match before {
            Some(before) => Tensor::cat(&[&before, x], 1)?,
            None => x.clone(),
        });
        Ok(None)
    }
}

/// Runs `ids` once and reads these positions after every layer.
///
/// # Errors
/// As [`Decoder::run`].
pub fn lens(
    decoder: &Decoder,
    ids: &[u32],
    positions: Range<usize>,
    top: usize,
) -> Result<Vec<Reading>> {
    let mut residuals = Residuals::new(decoder);
    let mut cache = decoder.cache(&[0], ids.len());
    let input = Tensor::new(ids, decoder.device())?.unsqueeze(0)?;
    let run = Run { cache: Some(&mut cache), probe: Some(&mut residuals), last_only: true };
    decoder.run(&input, run)?;
    residuals.read(decoder, positions, top)
}
