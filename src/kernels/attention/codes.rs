//! Numbers of a cache as codes of 8 bits: groups of 32 share a scale. A row is its codes, signed, one
//! byte each, then one byte a group for the scale, in eighths of an octave. Which rows, and when, is
//! not known here.

use std::ops::Range;

use candle_core::Tensor;

use super::super::isa::Isa;
use super::super::lanes::{Lanes, per_isa};
use super::super::memory::{Shared, filled, plain};
use super::super::pool::{SERIAL, share};
use super::{Kind, View, view};
use crate::error::Result;

/// Numbers that share a scale.
pub const CODE_GROUP: usize = 32;
/// Scales from one power of 2 to the next.
pub const CODE_STEPS: f64 = 8.0;
/// The scale's byte that means 1.
pub const CODE_ONE: f64 = 160.0;
/// The scale's byte of a group with a number that is none, or infinite: all of it is NaN.
pub const CODE_NONE: u8 = 255;
/// The greatest code.
pub const CODE_MAX: f32 = 127.0;

/// Bytes of a row of so many numbers.
pub fn coded_width(numbers: usize) -> usize {
    numbers + numbers.div_ceil(CODE_GROUP)
}

/// What each byte of a scale means.
pub static CODE_SCALES: [f32; 256] = scales();

const fn scales() -> [f32; 256] {
    /// 2^(i/8)
    const PARTS: [f32; 8] = [
        1.0,
        1.090_507_7,
        1.189_207_1,
        1.296_839_5,
        std::f32::consts::SQRT_2,
        1.542_210_8,
        1.681_792_8,
        1.834_008_1,
    ];
    let mut scales = [f32::NAN; 256];
    let mut at = 0;
    while at < CODE_NONE as usize {
        let power = f32::from_bits((127 + at as u32 / 8 - 20) << 23);
        scales[at] = power * PARTS[at % 8];
        at += 1;
    }
    scales
}

/// The least scale with which codes reach `greatest`. (Step by step as `nn/codes.rs` has it.)
fn scale_of(greatest: f32) -> u8 {
    let each = (CODE_STEPS / std::f64::consts::LN_2) as f32;
    let steps = (greatest / CODE_MAX).ln() * each + CODE_ONE as f32;
    steps.ceil().clamp(0.0, f32::from(CODE_NONE - 1)) as u8
}

/// Codes of keys or values.
///
/// # Shapes
/// (batch, heads, seq, n) → u8 (batch, heads, seq, [`coded_width`]`(n)`)
///
/// # Errors
/// The tensor's own.
pub fn encode(x: &Tensor) -> Result<Option<Tensor>> {
    let (batch, heads, seq, numbers) = x.dims4()?;
    if !plain(x) || x.elem_count() == 0 {
        return Ok(None);
    }
    let (storage, layout) = x.storage_and_layout();
    let Some(from) = view(&storage, layout) else { return Ok(None) };
    let rows = Uncoded { from, heads, seq, numbers };
    let isa = Isa::current();
    // SAFETY: each row is written whole, into its own place.
    let codes = unsafe {
        filled((batch, heads, seq, coded_width(numbers)), |to: *mut u8| {
            let to = Shared(to);
            let some = |range: Range<usize>| encode_rows(isa, &rows, range, to.get());
            match batch * heads * seq * numbers / SERIAL {
                0 => some(0..batch * heads * seq),
                _ => share(batch * heads * seq, 2, some),
            }
        })?
    };
    Ok(Some(codes))
}

/// The codes of one row.
///
/// # Safety
/// `to` must have room for [`coded_width`] of its numbers.
pub(super) unsafe fn encode_row(x: &[f32], to: *mut u8) {
    let from = View { at: x.as_ptr().cast(), kind: Kind::F32, steps: [0; 3] };
    let rows = Uncoded { from, heads: 1, seq: 1, numbers: x.len() };
    // SAFETY: the caller's; it is one row.
    unsafe { encode_rows(Isa::current(), &rows, 0..1, to) };
}

pub(super) struct Uncoded {
    from: View,
    heads: usize,
    seq: usize,
    numbers: usize,
}

// SAFETY: what the pointer leads to is only read.
unsafe impl Sync for Uncoded {}

per_isa! {
    /// Rows of (batch · heads · seq, n).
    fn encode_rows(x: &Uncoded, rows: Range<usize>, to: *mut u8) = encode_of
}

#[inline(always)]
unsafe fn encode_of<L: Lanes>(x: &Uncoded, rows: Range<usize>, to: *mut u8) {
    let &Uncoded { from, heads, seq, numbers } = x;
    for row in rows {
        // SAFETY: the caller's: there is such a row, and a place for it.
        unsafe {
            let at = from.head(row / seq / heads, row / seq % heads).row(row % seq).cast::<f32>();
            let to = to.add(row * coded_width(numbers));
            for (group, first) in (0..numbers).step_by(CODE_GROUP).enumerate() {
                let count = CODE_GROUP.min(numbers - first);
                let scale = encode_group::<L>(at.add(first), count, to.add(first));
                to.add(numbers + group).write(scale);
            }
        }
    }
}

/// Writes the codes of up to 32 numbers; answers their scale.
#[inline(always)]
unsafe fn encode_group<L: Lanes>(from: *const f32, count: usize, to: *mut u8) -> u8 {
    let mut room = [0i32; CODE_GROUP];
    // SAFETY: the caller's: so many numbers are there, and so much room.
    unsafe {
        let mut halves = [L::splat(0.0); 2];
        for (i, half) in halves.iter_mut().enumerate() {
            *half = match count.saturating_sub(16 * i) {
                0 => *half,
                left @ 1..16 => L::load_first(from.add(16 * i), left, 0.0),
                16.. => L::load(from.add(16 * i)),
            };
        }
        let [a, b] = halves;
        // Infinities and what is no number become NaN, all others 0.
        if L::total(L::add(L::sub(a, a), L::sub(b, b))).is_nan() {
            to.write_bytes(0, count);
            return CODE_NONE;
        }
        let sign = L::splat_i(i32::MAX);
        let [c, d] = [L::and(L::bits(a), sign), L::and(L::bits(b), sign)];
        let scale = scale_of(L::greatest(L::max(L::float(c), L::float(d))));
        let factor = L::splat(1.0 / CODE_SCALES[usize::from(scale)]);
        for (i, half) in halves.into_iter().enumerate() {
            let code = L::max(L::mul(half, factor), L::splat(-CODE_MAX));
            let code = L::nearest(L::min(code, L::splat(CODE_MAX)));
            L::store_i(room.as_mut_ptr().add(16 * i).cast(), code);
        }
        for (i, code) in room.iter().take(count).enumerate() {
            to.add(i).write(*code as u8);
        }
        scale
    }
}
