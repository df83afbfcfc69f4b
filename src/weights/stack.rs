//! Which slice of a stack is one expert's: every [`Stack`] as a choice of rows and columns, so
//! that an expert is read without the others. Reads nothing.

use std::ops::Range;

use super::layout::Place;
use super::mxfp4;
use super::param::{Param, Stack};
use super::read::Choice;
use crate::error::{Error, Result};
use crate::spec::{FeedForward, Layer};

/// Where the (out, in) matrix of one expert's `param` lies in its stack, or its bias (out).
pub(super) fn place(
    stack: Stack,
    param: Param,
    layer: Option<&Layer>,
    expert: Option<usize>,
    (out, input): (usize, usize),
    bias: bool,
) -> Result<Place> {
    let experts = match (layer.map(|l| &l.feed_forward), expert) {
        (Some(FeedForward::Experts(experts)), Some(_)) => experts.n_experts,
        _ => return Err(Error::Spec(format!("{param} is looked for among experts"))),
    };
    let expert = expert.unwrap_or_default();
    let part = Part::of(stack, param, out)?;
    if bias {
        let choice = part.as_columns(expert, 1, false);
        return Ok(Place { shape: vec![experts, part.total], choice, elements: out });
    }
    let (shape, choice, per_row) = match stack {
        Stack::Transposed | Stack::AlternatingTransposed => {
            (vec![experts, input, part.total], part.as_columns(expert, input, true), input)
        }
        Stack::Mxfp4 | Stack::AlternatingMxfp4 => {
            let [blocks, bytes] = mxfp4::blocks(input)
                .ok_or_else(|| Error::Spec(format!("{input} inputs are no whole MXFP4 blocks")))?;
            let shape = vec![experts, part.total, blocks, bytes];
            (shape, part.as_rows(expert, input), blocks * bytes)
        }
        Stack::Plain | Stack::GateUp => {
            (vec![experts, part.total, input], part.as_rows(expert, input), input)
        }
    };
    Ok(Place { shape, choice, elements: out * per_row })
}

/// The outputs of an expert's matrix that a parameter is.
struct Part {
    outputs: Range<usize>,
    /// From one to the next.
    stride: usize,
    /// How many the matrix has.
    total: usize,
}

impl Part {
    fn of(stack: Stack, param: Param, out: usize) -> Result<Self> {
        let up = match param {
            Param::ExpertGate => Some(false),
            Param::ExpertUp => Some(true),
            Param::ExpertDown => None,
            other => return Err(Error::Spec(format!("{other} is no expert's parameter"))),
        };
        let whole = Self { outputs: 0..out, stride: 1, total: out };
        let total = 2 * out;
        Ok(match (stack, up) {
            (Stack::Plain | Stack::Transposed | Stack::Mxfp4, _) | (_, None) => whole,
            (Stack::GateUp, Some(false)) => Self { outputs: 0..out, stride: 1, total },
            (Stack::GateUp, Some(true)) => Self { outputs: out..total, stride: 1, total },
            (Stack::AlternatingTransposed | Stack::AlternatingMxfp4, Some(up)) => {
                Self { outputs: usize::from(up)..total, stride: 2, total }
            }
        })
    }

    /// The outputs are rows, those of each expert after those of the one before.
    fn as_rows(&self, expert: usize, columns: usize) -> Choice {
        let first = expert * self.total;
        let (start, end) = (first + self.outputs.start, first + self.outputs.end);
        let rows = match self.stride {
            1 => std::iter::once(start..end).collect(),
            stride => (start..end).step_by(stride).map(|row| row..row + 1).collect(),
        };
        Choice { rows, columns: 0..columns, stride: 1, transposed: false }
    }

    /// The outputs are columns of `rows` rows an expert.
    fn as_columns(&self, expert: usize, rows: usize, transposed: bool) -> Choice {
        Choice {
            rows: std::iter::once(expert * rows..(expert + 1) * rows).collect(),
            columns: self.outputs.clone(),
            stride: self.stride,
            transposed,
        }
    }
}
