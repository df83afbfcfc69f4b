//! Activations as products want them: rows padded to whole groups, and, for quantised weights,
//! rounded to 8 bits with a factor a group. It knows no weights.

use super::format::GROUP;
use super::isa::Isa;
use super::lanes::{Lanes, per_isa};

/// Rows of f32, padded with zeros to whole groups.
pub(super) struct Rows<'a> {
    padded: Vec<f32>,
    plain: &'a [f32],
    /// Columns, padding included.
    pub(super) width: usize,
}

impl<'a> Rows<'a> {
    pub(super) fn new(x: &'a [f32], k: usize, groups: usize) -> Self {
        let width = groups * GROUP;
        let mut padded = Vec::new();
        if width != k {
            padded.resize(x.len() / k * width, 0.0);
            for (to, from) in padded.chunks_exact_mut(width).zip(x.chunks_exact(k)) {
                to[..k].copy_from_slice(from);
            }
        }
        Self { padded, plain: x, width }
    }

    pub(super) fn as_slice(&self) -> &[f32] {
        if self.padded.is_empty() { self.plain } else { &self.padded }
    }
}

/// Rows rounded to 8 bits: `x ≈ codes · d`, and the sums of each half group's codes.
#[derive(Default)]
pub(super) struct Quantised {
    pub(super) codes: Vec<i8>,
    pub(super) d: Vec<f32>,
    pub(super) sums: Vec<[i32; 2]>,
}

impl Quantised {
    pub(super) fn new(isa: Isa, x: &[f32]) -> Self {
        let groups = x.len() / GROUP;
        let mut this =
            Self { codes: vec![0; x.len()], d: vec![0.0; groups], sums: vec![[0; 2]; groups] };
        // SAFETY: the slices are `groups` groups long.
        unsafe {
            quantise(isa, x, &mut this.codes, &mut this.d, &mut this.sums);
        }
        this
    }
}

per_isa! {
    /// Rounds whole groups.
    fn quantise(x: &[f32], codes: &mut [i8], d: &mut [f32], sums: &mut [[i32; 2]]) = quantise_groups
}

#[inline(always)]
unsafe fn quantise_groups<L: Lanes>(
    x: &[f32],
    codes: &mut [i8],
    d: &mut [f32],
    sums: &mut [[i32; 2]],
) {
    for (g, x) in x.chunks_exact(GROUP).enumerate() {
        // SAFETY: both halves lie within the group of 32.
        unsafe {
            let (a, b) = (L::load(x.as_ptr()), L::load(x.as_ptr().add(16)));
            let sign = L::splat_i(i32::MAX);
            let abs = |v| L::float(L::and(L::bits(v), sign));
            let greatest = L::greatest(L::max(abs(a), abs(b)));
            let inverse = L::splat(if greatest > 0.0 { 127.0 / greatest } else { 0.0 });
            let mut wide = [0i32; GROUP];
            L::store_i(wide.as_mut_ptr().cast(), L::nearest(L::mul(a, inverse)));
            L::store_i(wide.as_mut_ptr().add(16).cast(), L::nearest(L::mul(b, inverse)));
            for (code, wide) in codes[g * GROUP..].iter_mut().zip(wide) {
                *code = wide as i8;
            }
            sums[g] = [wide[..16].iter().sum(), wide[16..].iter().sum()];
            d[g] = greatest / 127.0;
        }
    }
}
