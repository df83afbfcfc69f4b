//! Keys and values of the tokens seen so far. Preallocated and grown by doubling, written in
//! place, never concatenated. It decides nothing about who sees what.

use candle_core::{DType, Device, Tensor};

use super::codes;
use super::grown::Grown;
use super::token::{Token, Way};
use crate::error::{Error, Result};
use crate::kernels;
use crate::spec::Spec;

/// The key-value cache of one batch.
///
/// Rows of unequal length are aligned at their ends: row r has `padding()[r]` unused slots first,
/// which nobody sees and which count as no position.
#[derive(Debug)]
pub struct Cache {
    widths: Vec<[usize; 2]>, // of each layer: kv_heads, head_dim
    room: Option<Room>,
    padding: Vec<usize>,
    padding_mask: Grown, // (capacity, batch)
    len: usize,
    reserved: usize,
    expected: usize,
    dtype: Option<DType>,
    way: Way,
}

/// One tensor for all layers, so that a long cache is made of few large pages of memory.
#[derive(Debug)]
struct Room {
    lead: Tensor,             // the first number of all
    layers: Vec<[Tensor; 2]>, // keys and values, each (batch, kv_heads, capacity, head_dim or its codes)
    capacity: usize,
    dtype: DType,
}

impl Room {
    /// `used`: whether most of it is going to be written soon.
    fn new(
        widths: &[[usize; 2]],
        batch: usize,
        capacity: usize,
        (dtype, device): (DType, &Device),
        used: bool,
    ) -> Result<Self> {
        /// Numbers of the smallest dtype in a cache line.
        const LINE: usize = 64;
        let codes = dtype == DType::U8;
        let width = |width| if codes { kernels::coded_width(width) } else { width };
        let size = |layer: &[usize; 2]| batch * layer[0] * capacity * width(layer[1]);
        let all = widths.iter().map(|layer| 2 * size(layer).next_multiple_of(LINE)).sum();
        let all = kernels::zeros(all, dtype, device, used)?;
        let mut at = 0;
        let mut part = |layer: &[usize; 2]| -> Result<Tensor> {
            let numbers = all.narrow(0, at, size(layer))?;
            at += size(layer).next_multiple_of(LINE);
            Ok(numbers.reshape((batch, layer[0], capacity, width(layer[1])))?)
        };
        let layers = widths.iter().map(|layer| Ok([part(layer)?, part(layer)?]));
        let layers = layers.collect::<Result<_>>()?;
        Ok(Self { lead: all.narrow(0, 0, all.elem_count().min(1))?, layers, capacity, dtype })
    }

    /// Takes over the first `len` slots of `old`, or of those of its rows that `rows` names.
    fn copy(&self, old: &Room, len: usize, rows: Option<&Tensor>) -> Result<()> {
        if len == 0 {
            return Ok(());
        }
        for (to, from) in self.layers.iter().flatten().zip(old.layers.iter().flatten()) {
            let from = from.narrow(2, 0, len)?.contiguous()?;
            let from = rows.map_or(Ok(from.clone()), |rows| from.index_select(rows, 0))?;
            to.slice_set(&from, 2, 0)?;
        }
        Ok(())
    }
}

impl Cache {
    /// An empty cache for rows with so many unused slots first (`&[0]`: one row, none unused),
    /// with room for `reserve` slots from the start.
    pub fn new(spec: &Spec, padding: &[usize], reserve: usize) -> Self {
        let attention = spec.layers.iter().map(|layer| &layer.attention);
        Self {
            widths: attention.map(|spec| [spec.n_kv_heads, spec.head_dim]).collect(),
            room: None,
            padding: padding.to_vec(),
            padding_mask: Grown::default(),
            len: 0,
            reserved: reserve,
            expected: 0,
            dtype: None,
            way: Way::default(),
        }
    }

    /// Keeps keys and values in this dtype, rounded where it is a smaller one, `U8` as codes, of which
    /// 32 share a scale; `None`: in the one they come in. What is held already is not changed.
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
        self.room.iter().flat_map(|room| room.layers.iter().flatten()).map(size).sum()
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
        if let Some(old) = &self.room
            && let Some([k, _]) = old.layers.first()
        {
            let to = (old.dtype, k.device());
            let room = Room::new(&self.widths, rows.len(), old.capacity, to, false)?;
            let index = Tensor::new(index.as_slice(), k.device())?;
            room.copy(old, self.len, Some(&index))?;
            self.room = Some(room);
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
    /// cache's dtype (see [`wide`] where it may be codes).
    pub(crate) fn append(
        &mut self,
        layer: usize,
        k: &Tensor,
        v: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let (len, total) = (self.len, self.len + k.dim(2)?);
        self.ensure(total, (k.dtype(), k.device()))?;
        let Some(room) = &self.room else { return Ok((k.clone(), v.clone())) };
        let [keys, values] = &room.layers[layer];
        for (new, to) in [(k, keys), (v, values)] {
            let new = match room.dtype {
                DType::U8 => codes::encode(new)?,
                dtype => new.to_dtype(dtype)?,
            };
            to.slice_set(&new.contiguous()?, 2, len)?;
        }
        Ok((keys.narrow(2, 0, total)?, values.narrow(2, 0, total)?))
    }

    /// The `seq` slots that every layer has now written are in use.
    pub(crate) fn advance(&mut self, seq: usize) {
        self.len += seq;
    }

    /// So many slots are going to be in use: room is made for all of them when it is made.
    pub(crate) fn foresee(&mut self, len: usize) {
        self.expected = self.expected.max(len);
    }

    /// The way of single tokens, which is to be put back.
    pub(super) fn take_way(&mut self) -> Way {
        std::mem::take(&mut self.way)
    }

    /// Puts it back.
    pub(super) fn put_way(&mut self, way: Way) {
        self.way = way;
    }

    /// What one token of each row after those held needs, where there is room for it.
    pub(super) fn token(&mut self) -> Option<Token<'_>> {
        let Room { lead, layers, .. } = self.room.as_mut()?;
        let (slot, padding) = (self.len, self.padding.as_slice());
        Some(Token { slot, padding, layers, slots: kernels::Slots::of(lead)? })
    }

    /// Room for `total` slots of keys and values of this dtype, unless they are kept in another. Where it
    /// cannot be had, what is held stays.
    pub(super) fn ensure(&mut self, total: usize, (dtype, device): (DType, &Device)) -> Result<()> {
        let dtype = self.dtype.unwrap_or(dtype);
        let old = self.room.as_ref();
        if old.is_some_and(|old| old.capacity >= total) {
            return Ok(());
        }
        let soon = total.max(self.expected);
        let capacity = soon.max(old.map_or(self.reserved, |old| 2 * old.capacity));
        let to = (old.map_or(dtype, |old| old.dtype), device);
        let new = Room::new(&self.widths, self.batch(), capacity, to, soon >= capacity / 4)?;
        if let Some(old) = old {
            new.copy(old, self.len, None)?;
        }
        self.room = Some(new);
        Ok(())
    }
}

/// What a cache gave, in the dtype that is computed in: it may keep fewer bits.
pub(super) fn wide(kept: &Tensor, head_dim: usize, dtype: DType) -> Result<Tensor> {
    match kept.dtype() {
        DType::U8 => codes::decode(kept, head_dim, dtype),
        _ => Ok(kept.to_dtype(dtype)?),
    }
}
