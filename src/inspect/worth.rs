//! What heads are worth: how much worse a text is predicted without them. It trains nothing and
//! leaves the weights as they are.

use candle_core::{DType, Tensor};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::Serialize;

use super::logits::{Distribution, log_sum_exp, rows};
use crate::error::{Error, Result};
use crate::nn::{At, Decoder, HeadEdits, Probe, Run, Site};

/// Tokens that are predicted together.
const PIECE: usize = 512;

/// What is put in a head's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Instead {
    /// Nothing.
    Zero,
    /// Its own mean output over the text.
    Mean,
}

/// A head, and how much the loss grows without it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Worth {
    /// The layer, from 0.
    pub layer: usize,
    /// The head, from 0.
    pub head: usize,
    /// Loss without it less loss with it, in nats a token.
    pub loss: f64,
}

/// A text in pieces, and what it needs to be measured again and again.
pub struct Bench<'m> {
    decoder: &'m Decoder,
    pieces: Vec<Vec<u32>>,
    means: Vec<Vec<Vec<f32>>>, // layer, head → (head_dim)
    /// The loss with every head, in nats a token.
    pub loss: f64,
}

impl<'m> Bench<'m> {
    /// Measures the text once, as it is.
    ///
    /// # Errors
    /// A text of fewer than two tokens; as [`Decoder::run`].
    pub fn new(decoder: &'m Decoder, ids: &[u32]) -> Result<Self> {
        let piece = PIECE.min(decoder.spec().max_seq_len);
        let pieces: Vec<Vec<u32>> =
            ids.chunks(piece).filter(|piece| piece.len() > 1).map(<[u32]>::to_vec).collect();
        if pieces.is_empty() {
            return Err(Error::request("text", "it has no second token to predict"));
        }
        let mut means = Means::new(decoder);
        let loss = loss(decoder, &pieces, &mut means)?;
        let means = means.finish()?;
        Ok(Self { decoder, pieces, means, loss })
    }

    /// Tokens predicted.
    pub fn tokens(&self) -> usize {
        self.pieces.iter().map(|piece| piece.len() - 1).sum()
    }

    /// The loss without these heads, in nats a token.
    ///
    /// # Errors
    /// A head that does not exist; as [`Decoder::run`].
    pub fn without(&self, heads: &[(usize, usize)], instead: Instead) -> Result<f64> {
        let spec = self.decoder.spec();
        let mut edits = HeadEdits::default();
        for (layer, head) in heads {
            let mean = self.means.get(*layer).and_then(|heads| heads.get(*head));
            let zero = vec![0.0; mean.map_or(0, Vec::len)];
            let output = match instead {
                Instead::Zero => &zero,
                Instead::Mean => mean.unwrap_or(&zero),
            };
            edits.replace(spec, *layer, *head, output)?;
        }
        loss(self.decoder, &self.pieces, &mut &edits)
    }

    /// Every head's worth, each taken out alone; `progress` hears of each.
    ///
    /// # Errors
    /// As [`Bench::without`], or what `progress` returns to end it.
    pub fn worths(
        &self,
        instead: Instead,
        progress: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Vec<Worth>> {
        let mut worths = Vec::new();
        for (layer, heads) in self.means.iter().enumerate() {
            for head in 0..heads.len() {
                let loss = self.without(&[(layer, head)], instead)? - self.loss;
                worths.push(Worth { layer, head, loss });
                progress()?;
            }
        }
        Ok(worths)
    }

    /// The loss while heads go one after another in this order, at about `points` places:
    /// (heads gone, loss).
    ///
    /// # Errors
    /// As [`Bench::worths`].
    pub fn curve(
        &self,
        order: &[(usize, usize)],
        instead: Instead,
        points: usize,
        progress: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Vec<(usize, f64)>> {
        let step = order.len().div_ceil(points.max(1)).max(1);
        let mut curve = vec![(0, self.loss)];
        for gone in (step..order.len()).step_by(step).chain([order.len()]) {
            curve.push((gone, self.without(&order[..gone], instead)?));
            progress()?;
        }
        Ok(curve)
    }
}

/// Heads by worth, the least worth first.
pub fn least_first(worths: &[Worth]) -> Vec<(usize, usize)> {
    let mut sorted = worths.to_vec();
    sorted.sort_by(|a, b| a.loss.total_cmp(&b.loss));
    sorted.iter().map(|worth| (worth.layer, worth.head)).collect()
}

/// The same heads in an order that only `seed` decides.
pub fn shuffled(heads: &[(usize, usize)], seed: u64) -> Vec<(usize, usize)> {
    let mut order = heads.to_vec();
    order.sort_unstable();
    let mut random = ChaCha12Rng::seed_from_u64(seed);
    for at in (1..order.len()).rev() {
        order.swap(at, (random.next_u64() % (at as u64 + 1)) as usize);
    }
    order
}

/// How far edited heads move each prediction along `ids`: KL(without edits ‖ with), in nats, at
/// each position.
///
/// # Errors
/// As [`Decoder::run`].
pub fn moved(decoder: &Decoder, ids: &[u32], edits: &HeadEdits) -> Result<Vec<f64>> {
    let input = Tensor::new(ids, decoder.device())?.unsqueeze(0)?;
    let plain = rows(&decoder.logits(&input)?)?;
    let mut edits = edits;
    let edited = rows(&decoder.run(&input, Run { probe: Some(&mut edits), ..Run::default() })?)?;
    let pairs = plain.iter().zip(&edited);
    Ok(pairs.map(|(p, q)| Distribution::of(p).divergence(q, log_sum_exp(q))).collect())
}

/// Mean of −ln p over the tokens after each piece's first, in nats.
fn loss(decoder: &Decoder, pieces: &[Vec<u32>], probe: &mut dyn Probe) -> Result<f64> {
    let (mut sum, mut count) = (0f64, 0);
    for piece in pieces {
        let input = Tensor::new(&piece[..piece.len() - 1], decoder.device())?.unsqueeze(0)?;
        let run = Run { probe: Some(&mut *probe), ..Run::default() };
        for (row, next) in rows(&decoder.run(&input, run)?)?.iter().zip(&piece[1..]) {
            sum += log_sum_exp(row) - f64::from(row[*next as usize]);
            count += 1;
        }
    }
    Ok(sum / f64::from(count.max(1)))
}

/// A probe that adds up what heads put out.
struct Means {
    sums: Vec<Option<Tensor>>, // each (heads, head_dim), f32
    queries: usize,
}

impl Means {
    fn new(decoder: &Decoder) -> Self {
        Self { sums: vec![None; decoder.spec().layers.len()], queries: 0 }
    }

    fn finish(self) -> Result<Vec<Vec<Vec<f32>>>> {
        let share = 1.0 / self.queries.max(1) as f64;
        let mean = |sum: Option<Tensor>| -> Result<Vec<Vec<f32>>> {
            Ok(sum.map_or(Ok(Vec::new()), |sum| (sum * share)?.to_vec2::<f32>())?)
        };
        self.sums.into_iter().map(mean).collect()
    }
}

impl Probe for Means {
    fn wants(&self, at: At) -> bool {
        at.site == Site::Z
    }

    fn visit(&mut self, at: At, z: &Tensor) -> Result<Option<Tensor>> {
        let Some(layer) = at.layer else { return Ok(None) };
        let sum = z.to_dtype(DType::F32)?.sum(2)?.squeeze(0)?; // (heads, head_dim)
        if layer == 0 {
            self.queries += z.dim(2)?;
        }
        self.sums[layer] = Some(match self.sums[layer].take() {
            Some(before) => (before + sum)?,
            None => sum,
        });
        Ok(None)
    }
}
