//! A bias on scores, linear in the distance of key and query. What the scores are is `attend.rs`'s
//! affair.

use candle_core::{Device, Tensor};
use half::bf16;

use super::grown::Grown;
use super::step::Positions;
use crate::error::Result;
use crate::spec::Alibi;

/// Attention with linear biases (Press et al. 2021, 2108.12409).
#[derive(Debug)]
pub(crate) struct AlibiBias {
    alibi: Alibi,
    slopes: Vec<f32>, // the scale in them
    grown: Grown,
}

impl AlibiBias {
    pub(crate) fn new(alibi: &Alibi) -> Self {
        let slopes = alibi.slopes.iter().map(|slope| (alibi.scale * slope) as f32).collect();
        Self { alibi: alibi.clone(), slopes, grown: Grown::default() }
    }

    /// What the bias grows by from key to key, a number a head; `None` where it is a staircase.
    pub(crate) fn slopes(&self) -> Option<&[f32]> {
        (!self.alibi.rounded).then_some(&self.slopes)
    }

    /// `scale · slope · (key − query)`, (1 | batch, heads, seq, keys), where the last query stands
    /// at the last key.
    pub(crate) fn bias(
        &self,
        seq: usize,
        keys: usize,
        positions: &Positions,
        device: &Device,
    ) -> Result<Tensor> {
        let heads = self.alibi.slopes.len();
        if self.alibi.rounded {
            return self.staircase(seq, keys, positions, device);
        }
        // Padding moves key and query alike, so one bias serves every row.
        if seq == 1 {
            // The row of the last key, cut from a table: no work per token.
            let table = self.grown.table(0, keys, |rows| self.row(rows, device))?; // (rows, heads)
            let row = table.narrow(0, table.dim(0)? - keys, keys)?;
            return Ok(row.t()?.reshape((1, heads, 1, keys))?);
        }
        let mut bias = Vec::with_capacity(heads * seq * keys);
        for head in 0..heads {
            for query in keys - seq..keys {
                bias.extend((0..keys).map(|key| self.value(head, key as f64 - query as f64)));
            }
        }
        Ok(Tensor::from_vec(bias, (1, heads, seq, keys), device)?)
    }

    fn value(&self, head: usize, distance: f64) -> f32 {
        (self.alibi.scale * self.alibi.slopes[head] * distance) as f32
    }

    /// The last of `rows` queries', (rows, heads).
    fn row(&self, rows: usize, device: &Device) -> Result<Tensor> {
        let heads = self.alibi.slopes.len();
        let row = |key: usize| {
            (0..heads).map(move |head| self.value(head, key as f64 + 1.0 - rows as f64))
        };
        let table: Vec<f32> = (0..rows).flat_map(row).collect();
        Ok(Tensor::from_vec(table, (rows, heads), device)?)
    }

    /// With the rounding of PyTorch's bf16 products the distance alone does not say enough: what
    /// stands at the key's position, less what stands at the query's.
    fn staircase(
        &self,
        seq: usize,
        keys: usize,
        positions: &Positions,
        device: &Device,
    ) -> Result<Tensor> {
        let heads = self.alibi.slopes.len();
        let rounded = |x: f64| f64::from(bf16::from_f64(x));
        let value = |slope: f64, position: usize| {
            (self.alibi.scale * rounded(rounded(slope) * rounded(position as f64))) as f32
        };
        let make = |rows: usize| -> Result<Tensor> {
            let row = |p: usize| self.alibi.slopes.iter().map(move |slope| value(*slope, p));
            let table: Vec<f32> = (0..rows).flat_map(row).collect();
            Ok(Tensor::from_vec(table, (rows, heads), device)?)
        };
        let table = self.grown.table(0, positions.length(), make)?;
        let at_keys = positions.pick_last(&table, keys)?; // (1 | batch, keys, heads)
        let at_queries = at_keys.narrow(1, keys - seq, seq)?;
        let at_keys = at_keys.transpose(1, 2)?.unsqueeze(2)?; // (1 | batch, heads, 1, keys)
        let at_queries = at_queries.transpose(1, 2)?.unsqueeze(3)?; // (1 | batch, heads, seq, 1)
        Ok(at_keys.broadcast_sub(&at_queries)?)
    }
}

#[cfg(test)]
mod tests;
