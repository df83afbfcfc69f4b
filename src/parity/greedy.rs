//! The continuation by the likeliest token: where two runs say different ones, and whether that is
//! more than a coin on its edge.

use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};

use super::logits::likeliest;
use crate::error::Result;
use crate::nn::Decoder;

/// A greedy continuation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Continued {
    /// What was said.
    pub ids: Vec<u32>,
    /// The second likeliest in each place.
    pub seconds: Vec<u32>,
    /// The likeliest one's logit less the second one's.
    pub margins: Vec<f32>,
}

/// Where two continuations part.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Parting {
    /// The place, from 0.
    pub place: usize,
    /// Our token.
    pub ours: u32,
    /// By how much we preferred it to the second.
    pub our_margin: f32,
    /// The reference's token.
    pub theirs: u32,
    /// By how much it preferred it to the second.
    pub their_margin: f32,
    /// Each one's second is the other's first, and both margins are within what the logits differ
    /// by anyway.
    pub near_tie: bool,
}

impl Continued {
    /// Continues `ids` by `count` tokens, or to the end of the positions.
    ///
    /// # Errors
    /// As [`Decoder::next`].
    pub fn of(decoder: &Decoder, ids: &[u32], count: usize) -> Result<Self> {
        let mut cache = decoder.cache(&[0], ids.len() + count);
        let mut found = Self::default();
        let count = count.min(decoder.spec().max_seq_len.saturating_sub(ids.len()));
        if count == 0 {
            return Ok(found);
        }
        let input = Tensor::new(ids, decoder.device())?.unsqueeze(0)?;
        let logits = decoder.next(&input, &mut cache)?;
        let mut logits = logits.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?;
        for _ in 0..count {
            if let Some(last) = found.ids.last() {
                decoder.decode(&[*last], &mut cache, &mut logits)?;
            }
            let [first, second] = likeliest(&logits, 2)[..] else { break };
            found.ids.push(first as u32);
            found.seconds.push(second as u32);
            found.margins.push(logits[first] - logits[second]);
        }
        Ok(found)
    }

    /// Where this parts from `theirs`, whose logits differ by up to `apart`; `None` where one is
    /// the other's beginning.
    pub fn parting(&self, theirs: &Self, apart: f32) -> Option<Parting> {
        let place = self.ids.iter().zip(&theirs.ids).position(|(a, b)| a != b)?;
        let at = |list: &[f32]| list.get(place).copied().unwrap_or(f32::INFINITY);
        let (our_margin, their_margin) = (at(&self.margins), at(&theirs.margins));
        let swapped = self.seconds.get(place) == theirs.ids.get(place)
            && theirs.seconds.get(place) == self.ids.get(place);
        // Two logits, each off by as much as that.
        let near_tie = swapped && our_margin + their_margin <= 2.0 * apart;
        let (ours, theirs) = (self.ids[place], theirs.ids[place]);
        Some(Parting { place, ours, our_margin, theirs, their_margin, near_tie })
    }
}
