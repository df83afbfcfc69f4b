//! Which rows of which stored matrix make up a parameter: every [`Layout`] as a choice of rows
//! and columns. Reads nothing.

use std::ops::Range;

use super::param::{Layout, Param};
use super::read::Choice;
use super::stack;
use crate::error::{Error, Result};
use crate::spec::{FeedForward, Layer};

/// Where a parameter lies in its tensor.
#[derive(Debug)]
pub(super) struct Place {
    /// The shape that the whole tensor must have.
    pub(super) shape: Vec<usize>,
    /// What of it is the parameter.
    pub(super) choice: Choice,
    /// How many of the tensor's elements that is.
    pub(super) elements: usize,
}

impl Place {
    /// A vector of `columns` numbers as a matrix of one row.
    pub(super) fn row(columns: usize) -> Self {
        let choice =
            Choice { rows: Parts::whole(columns).rows, columns: 0..1, stride: 1, transposed: true };
        Self { shape: vec![columns], choice, elements: columns }
    }
}

/// Where the (out, in) matrix of `param` lies when stored as `layout`. A bias is a matrix of one
/// column, never transposed.
pub(super) fn place(
    layout: Layout,
    param: Param,
    layer: Option<&Layer>,
    expert: Option<usize>,
    (rows, columns): (usize, usize),
    bias: bool,
) -> Result<Place> {
    let elements = rows * columns;
    let parts = match layout {
        Layout::Stacked(stack) => {
            return stack::place(stack, param, layer, expert, (rows, columns), bias);
        }
        Layout::Plain | Layout::PlusOne | Layout::Transposed | Layout::Key => Parts::whole(rows),
        Layout::FusedQkv | Layout::FusedQkvTransposed => Heads::of(layer)?.fused(param)?,
        Layout::GroupedQkv => Heads::of(layer)?.grouped(param)?,
        Layout::FourfoldQvk => Heads::of(layer)?.fourfold(param)?,
        Layout::PermutedHeads => Heads::of(layer)?.permuted(param)?,
        Layout::FusedGateUp => gate_up(param, layer)?,
    };
    if parts.rows.iter().map(Range::len).sum::<usize>() != rows {
        return Err(Error::Spec(format!(
            "{param} has {rows} rows, but its layer implies otherwise"
        )));
    }
    let transposed = matches!(layout, Layout::Transposed | Layout::FusedQkvTransposed) && !bias;
    if !transposed {
        let choice = Choice { rows: parts.rows, columns: 0..columns, stride: 1, transposed };
        let shape = if bias { vec![parts.total] } else { vec![parts.total, columns] };
        return Ok(Place { shape, choice, elements });
    }
    // Only layouts of one range are stored transposed.
    let part = parts.rows.first().cloned().unwrap_or_default();
    let choice = Choice { rows: Parts::whole(columns).rows, columns: part, stride: 1, transposed };
    Ok(Place { shape: vec![columns, parts.total], choice, elements })
}

/// The rows of a parameter among all that the tensor has.
struct Parts {
    rows: Vec<Range<usize>>,
    total: usize,
}

impl Parts {
    fn whole(rows: usize) -> Self {
        Self { rows: std::iter::once(0..rows).collect(), total: rows }
    }
}

struct Heads {
    n_heads: usize,
    n_kv_heads: usize,
    head_dim: usize,
}

impl Heads {
    fn of(layer: Option<&Layer>) -> Result<Self> {
        let layer = layer.ok_or_else(|| Error::Spec("heads outside of a layer".into()))?;
        let attention = &layer.attention;
        let this = Self {
            n_heads: attention.n_heads,
            n_kv_heads: attention.n_kv_heads,
            head_dim: attention.head_dim,
        };
        match this.n_kv_heads {
            0 => Err(Error::Spec("no key and value heads".into())),
            _ => Ok(this),
        }
    }

    /// Query rows and key (or value) rows.
    fn sizes(&self) -> (usize, usize) {
        (self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim)
    }

    /// `[q | k | v]`.
    fn fused(&self, param: Param) -> Result<Parts> {
        let (q, k) = self.sizes();
        let range = match param {
            Param::Query => 0..q,
            Param::Key => q..q + k,
            Param::Value => q + k..q + 2 * k,
            other => return Err(misplaced(other, "a fused query, key and value")),
        };
        Ok(Parts { rows: vec![range], total: q + 2 * k })
    }

    /// Per kv head `[q … q | k | v]`.
    fn grouped(&self, param: Param) -> Result<Parts> {
        let queries = self.n_heads / self.n_kv_heads * self.head_dim;
        let group = queries + 2 * self.head_dim;
        let (start, len) = match param {
            Param::Query => (0, queries),
            Param::Key => (queries, self.head_dim),
            Param::Value => (queries + self.head_dim, self.head_dim),
            other => return Err(misplaced(other, "grouped queries, keys and values")),
        };
        let rows = (0..self.n_kv_heads).map(|g| g * group + start..g * group + start + len);
        Ok(Parts { rows: rows.collect(), total: self.n_kv_heads * group })
    }

    /// Four times `[q | v | k]`, each of a quarter of the heads.
    fn fourfold(&self, param: Param) -> Result<Parts> {
        let (q, k) = self.sizes();
        if q != k || !self.n_heads.is_multiple_of(4) {
            let problem = format!("{} heads do not divide into four blocks", self.n_heads);
            return Err(Error::Spec(problem));
        }
        let part = match param {
            Param::Query => 0,
            Param::Value => 1,
            Param::Key => 2,
            other => return Err(misplaced(other, "four blocks of queries, values and keys")),
        };
        let start = |block: usize| (block * 3 + part) * (q / 4);
        let rows = (0..4).map(|block| start(block)..start(block) + q / 4);
        Ok(Parts { rows: rows.collect(), total: 3 * q })
    }

    /// llama.cpp stores row `half·(d/2) + i` of a head as its row `2·i + half`.
    fn permuted(&self, param: Param) -> Result<Parts> {
        let n_heads = match param {
            Param::Query => self.n_heads,
            Param::Key => self.n_kv_heads,
            other => return Err(misplaced(other, "permuted heads")),
        };
        let d = self.head_dim;
        let row = |r: usize| r / d * d + 2 * (r % d % (d / 2).max(1)) + r % d / (d / 2).max(1);
        let rows = (0..n_heads * d).map(|r| row(r)..row(r) + 1);
        Ok(Parts { rows: rows.collect(), total: n_heads * d })
    }
}

/// `[gate | up]`.
fn gate_up(param: Param, layer: Option<&Layer>) -> Result<Parts> {
    let hidden = match layer.map(|l| &l.feed_forward) {
        Some(FeedForward::Gated { hidden_dim, .. }) => *hidden_dim,
        _ => return Err(misplaced(param, "a fused gate and up")),
    };
    let range = match param {
        Param::Gate => 0..hidden,
        Param::Up => hidden..2 * hidden,
        other => return Err(misplaced(other, "a fused gate and up")),
    };
    Ok(Parts { rows: vec![range], total: 2 * hidden })
}

fn misplaced(param: Param, place: &str) -> Error {
    Error::Spec(format!("the name table looks for {param} in {place}"))
}
