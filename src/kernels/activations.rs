//! Activations as products want them: rows padded to whole groups, and, for quantised weights,
//! rounded to 8 bits with a factor a group, or to bf16. It knows no weights.

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

/// Rows rounded to 8 bits: `x ≈ codes · d`, `[row / cluster][group][row % cluster]`, so that a product
/// finds what a cluster of rows has of a group side by side.
#[derive(Default)]
pub(super) struct Quantised {
    pub(super) codes: Vec<i8>,
    pub(super) d: Vec<f32>,
    pub(super) sums: Vec<Sums>,
}

/// What products take of a group besides its codes.
#[derive(Clone, Copy, Default)]
pub(super) struct Sums {
    /// −Σ codes of each half.
    pub(super) halves: [i32; 2],
    /// −Σ codes.
    pub(super) all: i32,
    /// d · Σ codes.
    pub(super) scaled: f32,
}

impl Quantised {
    /// Room for so many rows.
    pub(super) fn new(rows: usize, groups: usize) -> Self {
        let n = rows * groups;
        Self { codes: vec![0; n * GROUP], d: vec![0.0; n], sums: vec![Sums::default(); n] }
    }

    /// The rows of `x` as one cluster.
    pub(super) fn cluster(isa: Isa, x: &[f32], rows: usize) -> Self {
        let mut this = Self::new(rows, x.len() / rows / GROUP);
        let places = this.places();
        // SAFETY: the room is made for so many rows.
        unsafe { quantise(isa, x, rows, &places) };
        this
    }

    pub(super) fn places(&mut self) -> Places {
        let Self { codes, d, sums } = self;
        Places { codes: codes.as_mut_ptr(), d: d.as_mut_ptr(), sums: sums.as_mut_ptr() }
    }
}

/// [`Quantised`] that is being written.
#[derive(Clone, Copy)]
pub(super) struct Places {
    codes: *mut i8,
    d: *mut f32,
    sums: *mut Sums,
}

// SAFETY: threads write different clusters.
unsafe impl Sync for Places {}

impl Places {
    /// From the group `group` on.
    pub(super) unsafe fn at(&self, group: usize) -> Self {
        // SAFETY: the caller's: there are so many groups.
        unsafe {
            Self {
                codes: self.codes.add(group * GROUP),
                d: self.d.add(group),
                sums: self.sums.add(group),
            }
        }
    }
}

per_isa! {
    /// Rounds a cluster of rows, whole groups.
    fn quantise(x: &[f32], rows: usize, to: &Places) = quantise_rows
}

#[inline(always)]
unsafe fn quantise_rows<L: Lanes>(x: &[f32], rows: usize, to: &Places) {
    let groups = x.len() / rows / GROUP;
    for (i, x) in x.chunks_exact(GROUP).enumerate() {
        // SAFETY: both halves lie within the group of 32, whose place is its own.
        unsafe {
            let to = to.at(i % groups * rows + i / groups);
            let (a, b) = (L::load(x.as_ptr()), L::load(x.as_ptr().add(16)));
            let sign = L::splat_i(i32::MAX);
            let abs =
                L::max(L::float(L::and(L::bits(a), sign)), L::float(L::and(L::bits(b), sign)));
            let greatest = L::greatest(abs);
            let inverse = L::splat(if greatest > 0.0 { 127.0 / greatest } else { 0.0 });
            let mut wide = [0i32; GROUP];
            L::store_i(wide.as_mut_ptr().cast(), L::nearest(L::mul(a, inverse)));
            L::store_i(wide.as_mut_ptr().add(16).cast(), L::nearest(L::mul(b, inverse)));
            let mut codes = [0i8; GROUP];
            for (code, wide) in codes.iter_mut().zip(wide) {
                *code = wide as i8;
            }
            to.codes.cast::<[i8; GROUP]>().write(codes);
            let halves = [-wide[..16].iter().sum::<i32>(), -wide[16..].iter().sum::<i32>()];
            let (all, d) = (halves[0] + halves[1], greatest / 127.0);
            to.d.write(d);
            to.sums.write(Sums { halves, all, scaled: -d * all as f32 });
        }
    }
}

per_isa! {
    /// A cluster of rows, whole groups, as bf16: `[group][row][32]`.
    fn round(x: &[f32], rows: usize, to: *mut u8) = round_rows, lines
}

#[inline(always)]
unsafe fn round_rows<L: Lanes>(x: &[f32], rows: usize, to: *mut u8) {
    let groups = x.len() / rows / GROUP;
    for (i, x) in x.chunks_exact(GROUP).enumerate() {
        // SAFETY: as above.
        unsafe {
            let to = to.add((i % groups * rows + i / groups) * GROUP * 2);
            L::store_bf16(to, L::load(x.as_ptr()), L::load(x.as_ptr().add(16)));
        }
    }
}
