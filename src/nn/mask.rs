//! Who may see whom: a query sees itself and the keys before it, no further back than the window,
//! and no padding. Distances as a bias are `position.rs`'s affair.

use std::collections::HashMap;

use candle_core::{Device, Tensor};

use crate::error::Result;

/// The masks of one forward pass, one a window, made when first asked for.
#[derive(Debug)]
pub(crate) struct Masks {
    start: usize,
    seq: usize,
    padding: Vec<usize>,
    hidden: Option<Tensor>, // (batch, 1, 1, keys), for a single query: only padding hides a key
    device: Device,
    made: HashMap<Option<usize>, Tensor>,
}

impl Masks {
    pub(crate) fn new(
        start: usize,
        seq: usize,
        padding: &[usize],
        hidden: Option<Tensor>,
        device: Device,
    ) -> Self {
        let padding = match padding.iter().any(|pad| *pad > 0) {
            true => padding.to_vec(),
            false => vec![0],
        };
        Self { start, seq, padding, hidden, device, made: HashMap::new() }
    }

    /// Slots at each row's start that hold nothing; one 0 where no row has any.
    pub(crate) fn padding(&self) -> &[usize] {
        &self.padding
    }

    /// The keys that the queries can see at all, as first and count: a single query's window is a
    /// cut of the keys and needs no mask.
    pub(crate) fn reach(&self, window: Option<usize>) -> (usize, usize) {
        let keys = self.start + self.seq;
        match window {
            Some(window) if self.seq == 1 && window < keys => (keys - window, window),
            _ => (0, keys),
        }
    }

    /// 0 where a query sees a key and −∞ where it does not, (batch | 1, 1, seq, keys) in f32, over
    /// the keys of [`Masks::reach`]; `None` where everyone sees everything.
    pub(crate) fn mask(&mut self, window: Option<usize>) -> Result<Option<Tensor>> {
        if self.seq == 1 {
            let (first, count) = self.reach(window);
            return Ok(match &self.hidden {
                Some(hidden) => Some(hidden.narrow(3, first, count)?),
                None => None,
            });
        }
        if let Some(mask) = self.made.get(&window) {
            return Ok(Some(mask.clone()));
        }
        let mask = self.make(window)?;
        self.made.insert(window, mask.clone());
        Ok(Some(mask))
    }

    fn make(&self, window: Option<usize>) -> Result<Tensor> {
        let keys = self.start + self.seq;
        let mut mask = Vec::with_capacity(self.padding.len() * self.seq * keys);
        for pad in &self.padding {
            for query in self.start..keys {
                let first = window.map_or(0, |window| (query + 1).saturating_sub(window)).max(*pad);
                // A padded query sees itself: an empty softmax would be NaN, and spread.
                let sees = |key: usize| key == query || (first..=query).contains(&key);
                mask.extend((0..keys).map(|key| if sees(key) { 0.0 } else { f32::NEG_INFINITY }));
            }
        }
        Ok(Tensor::from_vec(mask, (self.padding.len(), 1, self.seq, keys), &self.device)?)
    }
}
