//! Activations as products want them: rows padded to whole groups, and, for quantised weights,
//! rounded to 8 bits with a factor a group, or to bf16. It knows no weights.

use super::format::GROUP;
use super::isa::Isa;
use super::lanes::{Lanes, per_isa};
use super::memory::{Lent, lent};

/// Rows of f32, padded with zeros to whole groups.
pub(super) struct Rows<'a> {
    padded: Option<Lent>,
    plain: &'a [f32],
    /// Columns, padding included.
    pub(super) width: usize,
    count: usize,
}

impl<'a> Rows<'a> {
    pub(super) fn new(x: &'a [f32], k: usize, groups: usize) -> Self {
        let (width, count) = (groups * GROUP, x.len() / k);
        let padded = (width != k).then(|| {
            let mut room = lent(count * width * 4);
            for (row, from) in x.chunks_exact(k).enumerate() {
                // SAFETY: there is room for so many rows, and each is written whole.
                unsafe {
                    let to = room.as_mut_ptr().cast::<f32>().add(row * width);
                    to.copy_from_nonoverlapping(from.as_ptr(), k);
                    to.add(k).write_bytes(0, width - k);
                }
            }
            room
        });
        Self { padded, plain: x, width, count }
    }

    pub(super) fn as_slice(&self) -> &[f32] {
        let Some(padded) = &self.padded else { return self.plain };
        // SAFETY: `new` has written as many numbers.
        unsafe { std::slice::from_raw_parts(padded.as_ptr().cast(), self.count * self.width) }
    }
}

/// Rows rounded to 8 bits: `x ≈ codes · d`, `[row / cluster][group][row % cluster]`, so that a product
/// finds what a cluster of rows has of a group side by side.
#[derive(Default)]
pub(super) struct Quantised {
    /// Null pointers where there is nothing.
    pub(super) places: Places,
    held: Option<Lent>,
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
        let groups = rows * groups;
        let mut held = lent(groups * (GROUP + size_of::<Sums>() + size_of::<f32>()));
        let codes: *mut i8 = held.as_mut_ptr().cast();
        let sums: *mut Sums = codes.wrapping_add(groups * GROUP).cast();
        let d = sums.wrapping_add(groups).cast();
        Self { places: Places { codes, d, sums }, held: Some(held) }
    }

    /// The rows of `x` as one cluster.
    pub(super) fn cluster(isa: Isa, x: &[f32], rows: usize) -> Self {
        let this = Self::new(rows, x.len() / rows / GROUP);
        // SAFETY: the room is made for so many rows.
        unsafe { quantise(isa, x, rows, &this.places) };
        this
    }

    /// Is there nothing?
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_none()
    }
}

/// Where the parts of a [`Quantised`] are.
#[derive(Clone, Copy)]
pub(super) struct Places {
    pub(super) codes: *mut i8,
    pub(super) d: *mut f32,
    pub(super) sums: *mut Sums,
}

// SAFETY: threads write different clusters, and read when all are written.
unsafe impl Sync for Places {}

impl Default for Places {
    fn default() -> Self {
        let nowhere = std::ptr::null_mut();
        Self { codes: nowhere, d: nowhere.cast(), sums: nowhere.cast() }
    }
}

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
