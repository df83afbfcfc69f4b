//! Attention without a matrix of scores: a tile of keys at a time meets some queries, and their
//! sums are rescaled where a greater score appears (Milakov & Gimelshein 2018, 1805.02867; Dao et
//! al. 2022, 2205.14135). Keys and values are read where they lie, in the cache. Nothing is
//! projected, rotated or cached here.

#[cfg(target_arch = "x86_64")]
mod amx;
mod codes;
#[cfg(target_arch = "x86_64")]
mod columns;
mod few;
mod join;
mod one;
mod pairs;
mod rows;
mod slots;
mod softmax;
mod tiled;

use std::ops::Range;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, DType, Storage, Tensor};

use super::grad;
pub use codes::{CODE_GROUP, CODE_MAX, CODE_NONE, CODE_ONE, CODE_SCALES, CODE_STEPS};
pub use codes::{coded_width, encode};
pub use slots::{Slots, attend_rows};

use super::isa::Isa;
use super::memory::{filled, with_slice};
use crate::error::Result;

/// What turns products of queries and keys into scores, and who sees whom.
#[derive(Debug, Clone, Copy)]
pub struct Attending<'a> {
    /// Factor on q·kᵀ.
    pub scale: f64,
    /// `cap · tanh(scores / cap)`.
    pub softcap: Option<f64>,
    /// A head's factor on `key − query`, added after the cap.
    pub slopes: Option<&'a [f32]>,
    /// One more score in every head's softmax, to which no value belongs; f32, one a query head.
    pub sinks: Option<&'a Tensor>,
    /// A query sees so many keys, itself among them.
    pub window: Option<usize>,
    /// Slots at each row's start that nobody sees but a query in the very slot; empty: none.
    pub padding: &'a [usize],
    /// Whether queries, keys, weights and values may be rounded to bf16, where that is faster.
    pub rounds: bool,
}

impl Attending<'_> {
    /// Whether it is for so many rows and query heads.
    fn fits(&self, batch: usize, heads: usize) -> bool {
        self.window != Some(0)
            && self.slopes.is_none_or(|slopes| slopes.len() == heads)
            && self.sinks.is_none_or(|sinks| sinks.elem_count() == heads)
            && (self.padding.len() == batch || self.padding.iter().all(|pad| *pad == 0))
    }
}

/// Numbers of a tensor (batch, heads, seq, head_dim), the last axis without gaps.
#[derive(Clone, Copy)]
struct View {
    at: *const u8,
    kind: Kind,
    /// Bytes from one to the next along the first three axes.
    steps: [usize; 3],
}

/// What keys and values are made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    F32,
    Bf16,
    F16,
    /// See `codes.rs`.
    Codes,
}

impl Kind {
    fn of(dtype: DType) -> Option<Self> {
        match dtype {
            DType::F32 => Some(Self::F32),
            DType::BF16 => Some(Self::Bf16),
            DType::F16 => Some(Self::F16),
            DType::U8 => Some(Self::Codes),
            _ => None,
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 | Self::F16 => 2,
            Self::Codes => 1,
        }
    }
}

impl View {
    /// The head of one row of the batch, its rows one after the other.
    unsafe fn head(&self, batch: usize, head: usize) -> Rows {
        let offset = batch * self.steps[0] + head * self.steps[1];
        // SAFETY: the caller's: there is such a head.
        Rows { at: unsafe { self.at.add(offset) }, kind: self.kind, step: self.steps[2] }
    }
}

/// Rows of `head_dim` numbers, `step` bytes from one to the next.
#[derive(Clone, Copy)]
struct Rows {
    at: *const u8,
    kind: Kind,
    step: usize,
}

impl Rows {
    unsafe fn row(&self, index: usize) -> *const u8 {
        // SAFETY: the caller's: there is such a row.
        unsafe { self.at.add(index * self.step) }
    }
}

/// One call: `seq` queries, the last at the last of `keys` keys.
struct Task<'a> {
    q: View,
    k: View,
    v: View,
    batch: usize,
    heads: usize,
    kv_heads: usize,
    seq: usize,
    keys: usize,
    head_dim: usize,
    scale: f32,
    softcap: Option<f32>,
    slopes: Option<&'a [f32]>,
    sinks: Option<&'a [f32]>,
    window: Option<usize>,
    padding: &'a [usize],
    rounds: bool,
}

// SAFETY: what the pointers lead to is only read.
unsafe impl Sync for Task<'_> {}

impl<'a> Task<'a> {
    /// Of views on queries, keys and values, and how many there are of what: batch, heads, kv_heads,
    /// seq, keys, head_dim.
    fn new(
        [q, k, v]: [View; 3],
        [batch, heads, kv_heads, seq, keys, head_dim]: [usize; 6],
        how: &Attending<'a>,
        sinks: Option<&'a [f32]>,
    ) -> Self {
        let (scale, softcap) = (how.scale as f32, how.softcap.map(|cap| cap as f32));
        let Attending { slopes, window, padding, rounds, .. } = *how;
        #[rustfmt::skip]
        return Self {
            q, k, v, batch, heads, kv_heads, seq, keys, head_dim,
            scale, softcap, slopes, sinks, window, padding, rounds,
        };
    }

    /// Query heads of a key head.
    fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Vectors that a head's numbers take.
    fn vectors(&self) -> usize {
        self.head_dim.div_ceil(16)
    }

    /// The keys that the query in this slot sees.
    fn sees(&self, batch: usize, slot: usize) -> Range<usize> {
        let pad = self.padding.get(batch).copied().unwrap_or(0);
        let first = self.window.map_or(0, |window| (slot + 1).saturating_sub(window)).max(pad);
        first.min(slot)..slot + 1
    }
}

/// Scaled dot-product attention: causal, the last query at the last key.
///
/// # Shapes
/// q (batch, heads, seq, head_dim), k and v (batch, kv_heads, keys, head_dim), or the codes that
/// [`encode`] makes of them → (batch, heads, seq, head_dim), a view of (batch, seq, heads, head_dim)
///
/// # Errors
/// The tensor's own.
pub fn attend(q: &Tensor, k: &Tensor, v: &Tensor, how: &Attending<'_>) -> Result<Option<Tensor>> {
    if [q, k, v].iter().any(|x| x.track_op()) {
        let seq = q.dim(2)?;
        let plain = how.softcap.is_none()
            && how.slopes.is_none()
            && how.sinks.is_none()
            && how.window.is_none_or(|window| window >= seq)
            && how.padding.iter().all(|pad| *pad == 0);
        return if plain { grad::attend(q, k, v, how.scale) } else { Ok(None) };
    }
    let wanted = super::offering() && q.dtype() == DType::F32;
    let tracked = |x: &Tensor| x.track_op();
    if !wanted || [q, k, v].into_iter().chain(how.sinks).any(tracked) || !fits(q, k, v, how)? {
        return Ok(None);
    }
    match how.sinks {
        None => run(q, k, v, how, None),
        Some(sinks) => {
            with_slice(sinks, |sinks| run(q, k, v, how, Some(sinks))).unwrap_or(Ok(None))
        }
    }
}

fn fits(q: &Tensor, k: &Tensor, v: &Tensor, how: &Attending<'_>) -> Result<bool> {
    let (batch, heads, seq, head_dim) = q.dims4()?;
    let (_, kv_heads, keys, _) = k.dims4()?;
    let width = if k.dtype() == DType::U8 { coded_width(head_dim) } else { head_dim };
    Ok(k.dims() == [batch, kv_heads, keys, width]
        && v.dims() == k.dims()
        && k.dtype() == v.dtype()
        && q.elem_count() > 0
        && heads.is_multiple_of(kv_heads.max(1))
        && (1..=keys).contains(&seq)
        && how.fits(batch, heads))
}

fn run(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    how: &Attending<'_>,
    sinks: Option<&[f32]>,
) -> Result<Option<Tensor>> {
    let (batch, heads, seq, head_dim) = q.dims4()?;
    let (_, kv_heads, keys, _) = k.dims4()?;
    // The guards keep the numbers where they are.
    let guards = [q, k, v].map(|x| x.storage_and_layout());
    let views = guards.each_ref().map(|(data, layout)| view(data, layout));
    let [Some(q), Some(k), Some(v)] = views else { return Ok(None) };
    let task = Task::new([q, k, v], [batch, heads, kv_heads, seq, keys, head_dim], how, sinks);
    // SAFETY: the views' shapes fit each other; either way writes every number.
    let out = unsafe {
        filled((batch, seq, heads, head_dim), |to| match seq {
            1 => one::run(Isa::current(), &task, to),
            #[cfg(target_arch = "x86_64")]
            _ if Isa::current() == Isa::Amx => amx::run(&task, to),
            _ => tiled::run(Isa::current(), &task, to),
        })?
    };
    Ok(Some(out.transpose(1, 2)?))
}

fn view(storage: &Storage, layout: &candle_core::Layout) -> Option<View> {
    let Storage::Cpu(storage) = storage else { return None };
    let kind = Kind::of(storage.dtype())?;
    let at: *const u8 = match storage {
        CpuStorage::F32(data) => data.as_ptr().cast(),
        CpuStorage::BF16(data) => data.as_ptr().cast(),
        CpuStorage::F16(data) => data.as_ptr().cast(),
        CpuStorage::U8(data) => data.as_ptr(),
        _ => return None,
    };
    let &[batch, head, row, number] = layout.stride() else { return None };
    if number != 1 && layout.dims()[3] > 1 {
        return None;
    }
    // SAFETY: a layout's offset lies within its storage.
    let at = unsafe { at.add(layout.start_offset() * kind.bytes()) };
    Some(View { at, kind, steps: [batch, head, row].map(|step| step * kind.bytes()) })
}
