//! Products of two f32 matrices on AMX. A number is one bf16, or three that together are the f32;
//! then a product is the six of the nine products of these that f32 would not lose, and f32's up to
//! the order of sums. The tiles' state is `amx.rs`'s affair.

mod pack;

use super::super::amx::{Region, Sums, TILE, sum};
use super::super::memory::{Lent, lent};
use super::linear::Side;
use pack::pack;

/// Numbers along the depth of a tile.
const DEPTH: usize = 32;
/// Rows (or columns) of a tile.
const OUTER: usize = 16;
/// Depth that is worked through at a time.
const DEEP: usize = 512;
/// Bytes of the left matrix that stay in a core's second cache meanwhile.
const LEFT_BYTES: usize = 256 << 10;

/// A matrix in tiles, with room for more than it holds.
pub(super) struct Packed<const PARTS: usize> {
    data: Lent,
    /// Bytes to the next sixteen rows (or columns).
    line: usize,
}

impl<const PARTS: usize> Packed<PARTS> {
    /// With room for (outer, depth).
    pub(super) fn new(outer: usize, depth: usize) -> Self {
        let line = depth.div_ceil(DEPTH) * PARTS * TILE;
        Self { data: lent(outer.next_multiple_of(2 * OUTER) / OUTER * line), line }
    }

    /// Takes in `outer` = [first, count] rows of `depth` = [first, count] numbers of a side.
    ///
    /// # Safety
    /// The processor must have AMX; the numbers must be there, and the room for them here.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,fma,f16c")]
    pub(super) unsafe fn take<const RIGHT: bool>(
        &mut self,
        side: &Side<'_>,
        outer: [usize; 2],
        depth: [usize; 2],
    ) {
        self.line = depth[1].div_ceil(DEPTH) * PARTS * TILE;
        // SAFETY: the caller's.
        unsafe { pack::<PARTS, RIGHT>(side, outer, depth, self.data.as_mut_ptr()) };
    }

    /// Rows from `row` on with columns from `column` on of the right, 32 each, over the first
    /// `depth` numbers: at `out`, rows `stride` apart, onto what is there where `add`.
    ///
    /// # Safety
    /// Within a [`Region`]; both must hold so much, and `out` be good for 32 × 32 numbers.
    #[inline(always)]
    pub(super) unsafe fn meet(
        &self,
        right: &Self,
        [row, column, depth]: [usize; 3],
        out: *mut f32,
        stride: usize,
        add: bool,
    ) {
        // SAFETY: the caller's.
        unsafe {
            let a = self.data.as_ptr().add(row / OUTER * self.line);
            let b = right.data.as_ptr().add(column / OUTER * right.line);
            let (a, b) = ([a, a.add(self.line)], [b, b.add(right.line)]);
            let to = Sums { at: out, stride };
            sum::<PARTS, PARTS, false>(a, b, depth.div_ceil(DEPTH), add.then_some(to), to);
        }
    }
}

/// Writes every row of the left times every row of the right, (left, right).
///
/// # Safety
/// The processor must have AMX; the sides must be as large as they say, and `to` as their product.
pub(super) unsafe fn product<const PARTS: usize>(left: Side<'_>, right: Side<'_>, to: *mut f32) {
    let line = left.depth.min(DEEP).div_ceil(DEPTH) * PARTS * TILE; // of sixteen rows
    let rows = (LEFT_BYTES / line * OUTER).max(2 * OUTER) / (2 * OUTER) * (2 * OUTER);
    let room = |outer: usize| lent(outer.next_multiple_of(2 * OUTER) / OUTER * line);
    let (mut left_room, mut right_room) = (room(rows.min(left.outer)), room(right.outer));
    let rooms = [left_room.as_mut_ptr(), right_room.as_mut_ptr()];
    // SAFETY: the caller's; the rooms are large enough.
    unsafe { blocks::<PARTS>(left, right, rows, rooms, to) };
}

/// Block after block, the left's `rows` rows at a time.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,fma,f16c")]
unsafe fn blocks<const PARTS: usize>(
    left: Side<'_>,
    right: Side<'_>,
    rows: usize,
    [left_room, right_room]: [*mut u8; 2],
    to: *mut f32,
) {
    // SAFETY: the caller's.
    unsafe {
        let _region = Region::enter();
        for deep in (0..left.depth).step_by(DEEP) {
            let depth = DEEP.min(left.depth - deep);
            pack::<PARTS, true>(&right, [0, right.outer], [deep, depth], right_room);
            for first in (0..left.outer).step_by(rows) {
                let count = rows.min(left.outer - first);
                pack::<PARTS, false>(&left, [first, count], [deep, depth], left_room);
                let n = depth.div_ceil(DEPTH);
                let line = n * PARTS * TILE; // to the next sixteen rows
                for column in (0..right.outer).step_by(2 * OUTER) {
                    let b = right_room.add(column / OUTER * line);
                    for row in (0..count).step_by(2 * OUTER) {
                        let a = left_room.add(row / OUTER * line);
                        let target = Target {
                            out: to.add((first + row) * right.outer + column),
                            stride: right.outer,
                            rows: (count - row).min(2 * OUTER),
                            columns: (right.outer - column).min(2 * OUTER),
                        };
                        target.meet::<PARTS>([a, a.add(line)], [b, b.add(line)], n, deep > 0);
                    }
                }
            }
        }
    }
}

/// Where up to 32 × 32 sums go.
struct Target {
    out: *mut f32,
    stride: usize,
    rows: usize,
    columns: usize,
}

impl Target {
    /// The sums of `n` tiles along the depth, onto what is there where `add`.
    #[inline(always)]
    unsafe fn meet<const PARTS: usize>(
        &self,
        a: [*const u8; 2],
        b: [*const u8; 2],
        n: usize,
        add: bool,
    ) {
        // SAFETY: the caller's.
        unsafe {
            if self.rows == 2 * OUTER && self.columns == 2 * OUTER {
                let to = Sums { at: self.out, stride: self.stride };
                return sum::<PARTS, PARTS, false>(a, b, n, add.then_some(to), to);
            }
            let mut edge = [0f32; 4 * OUTER * OUTER];
            let to = Sums { at: edge.as_mut_ptr(), stride: 2 * OUTER };
            sum::<PARTS, PARTS, false>(a, b, n, None, to);
            for (row, edge) in edge.chunks(2 * OUTER).take(self.rows).enumerate() {
                for (column, sum) in edge.iter().take(self.columns).enumerate() {
                    let to = self.out.add(row * self.stride + column);
                    *to = if add { *to + sum } else { *sum };
                }
            }
        }
    }
}
