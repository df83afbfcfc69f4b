//! Keys and values of the tokens seen so far. Preallocated and grown by doubling, written in
//! place, never concatenated. It decides nothing about who sees what.

use candle_core::{DType, Device, Tensor};

use super::grown::Grown;
use crate::error::{Error, Result};
use crate::spec::Spec;

/// The key-value cache of one batch.
///
/// Rows of unequal length are aligned at their ends: row r has `padding()[r]` unused slots first,
/// which nobody sees and which count as no position.
#[derive(Debug)]
pub struct Cache {
    layers: Vec<Slot>,
    padding: Vec<usize>,
    padding_mask: Grown, // (capacity, batch)
    len: usize,
    reserved: usize,
    dtype: Option<DType>,
}

#[derive(Debug)]
struct Slot {
    kv_heads: usize,
    head_dim: usize,
    filled: Option<(Tensor, Tensor)>, // each (batch, kv_heads, capacity, head_dim)
}

impl Cache {
    /// An empty cache for rows with so many unused slots first (`&[0]`: one row, none unused),
    /// with room for `reserve` slots from the start.
    pub fn new(spec: &Spec, padding: &[usize], reserve: usize) -> Self {
        let slot = |layer: &crate::spec::Layer| Slot {
            kv_heads: layer.attention.n_kv_heads,
            head_dim: layer.attention.head_dim,
            filled: None,
        };
        Self {
            layers: spec.layers.iter().map(slot).collect(),
            padding: padding.to_vec(),
            padding_mask: Grown::default(),
            len: 0,
            reserved: reserve,
            dtype: None,
        }
    }

    /// Keeps keys and values in this dtype, rounded where it is a smaller one; `None`: in the one
    /// they come in. What is held already is not changed.
    pub fn kept_in(mut self, dtype: Option<DType>) -> Self {
        self.dtype = dtype;
        self
    }

    /// Slots in use: the longest row's positions.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Is nothing held?
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Unused slots at each row's start.
    pub fn padding(&self) -> &[usize] {
        &self.padding
    }

    /// Rows.
    pub fn batch(&self) -> usize {
        self.padding.len()
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let size = |t: &Tensor| t.elem_count() * t.dtype().size_in_bytes();
        let filled = self.layers.iter().filter_map(|slot| slot.filled.as_ref());
        filled.map(|(k, v)| size(k) + size(v)).sum()
    }

    /// Forgets everything after the first `len` slots; the room stays.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Keeps only these rows, in this order.
    ///
    /// # Errors
    /// A row that does not exist.
    pub fn keep_rows(&mut self, rows: &[usize]) -> Result<()> {
        if let Some(row) = rows.iter().find(|row| **row >= self.batch()) {
            return Err(Error::request("rows", format!("no row {row} in the cache")));
        }
        let index: Vec<u32> = rows.iter().map(|row| *row as u32).collect();
        for slot in &mut self.layers {
            if let Some((k, v)) = slot.filled.take() {
                let index = Tensor::new(index.as_slice(), k.device())?;
                slot.filled = Some((k.index_select(&index, 0)?, v.index_select(&index, 0)?));
            }
        }
        self.padding = rows.iter().map(|row| self.padding[*row]).collect();
        self.padding_mask = Grown::default();
        Ok(())
    }

    /// 0 at a row's slots and −∞ at those before it, (batch, 1, 1, keys); `None` without padding.
    pub(crate) fn padding_mask(&self, keys: usize, device: &Device) -> Result<Option<Tensor>> {
        if self.padding.iter().all(|pad| *pad == 0) {
            return Ok(None);
        }
        let hidden = |slot: usize, pad: usize| if slot < pad { f32::NEG_INFINITY } else { 0.0 };
        let table = self.padding_mask.table(0, keys, |rows| {
            let table: Vec<f32> = (0..rows)
                .flat_map(|slot| self.padding.iter().map(move |pad| hidden(slot, *pad)))
                .collect();
            Ok(Tensor::from_vec(table, (rows, self.batch()), device)?)
        })?;
        Ok(Some(table.narrow(0, 0, keys)?.t()?.unsqueeze(1)?.unsqueeze(1)?))
    }

    /// Writes a layer's new keys and values, (batch, kv_heads, seq, head_dim), after the slots in
    /// use, and gives all of that layer's, (batch, kv_heads, len + seq, head_dim), as views, in the
    /// cache's dtype.
    pub(crate) fn append(
        &mut self,
        layer: usize,
        k: &Tensor,
        v: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let total = self.len + k.dim(2)?;
        let dtype = self.dtype.unwrap_or(k.dtype());
        let (k, v) = (k.to_dtype(dtype)?, v.to_dtype(dtype)?);
        self.ensure(layer, total, dtype, k.device())?;
        let Some((keys, values)) = &self.layers[layer].filled else {
            return Ok((k, v));
        };
        keys.slice_set(&k.contiguous()?, 2, self.len)?;
        values.slice_set(&v.contiguous()?, 2, self.len)?;
        Ok((keys.narrow(2, 0, total)?, values.narrow(2, 0, total)?))
    }

    /// The `seq` slots that every layer has now written are in use.
    pub(crate) fn advance(&mut self, seq: usize) {
        self.len += seq;
    }

    fn ensure(&mut self, layer: usize, total: usize, dtype: DType, device: &Device) -> Result<()> {
        let (batch, len) = (self.batch(), self.len);
        let slot = &mut self.layers[layer];
        let capacity = match &slot.filled {
            Some((k, _)) if k.dim(2)? >= total => return Ok(()),
            Some((k, _)) => total.max(2 * k.dim(2)?),
            None => total.max(self.reserved),
        };
        let shape = (batch, slot.kv_heads, capacity, slot.head_dim);
        let grow = |old: Option<&Tensor>| -> Result<Tensor> {
            let new = Tensor::zeros(shape, dtype, device)?;
            if let Some(old) = old.filter(|_| len > 0) {
                new.slice_set(&old.narrow(2, 0, len)?.contiguous()?, 2, 0)?;
            }
            Ok(new)
        };
        let (k, v) = match &slot.filled {
            Some((k, v)) => (Some(k), Some(v)),
            None => (None, None),
        };
        slot.filled = Some((grow(k)?, grow(v)?));
        Ok(())
    }
}
