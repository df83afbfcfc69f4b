//! What tells the decoder where a token stands: tables added to embeddings, rotations of queries
//! and keys, queries that grow. Biases on scores are in `alibi.rs`; who may see whom is `mask.rs`'s
//! affair.

use std::sync::Arc;

use candle_core::{D, DType, Device, Tensor};

use super::grown::Grown;
use super::rope::{frequencies, stretch};
use super::step::Positions;
use super::token::Token;
use crate::error::Result;
use crate::kernels;
use crate::spec::{self, AbsolutePosition, QueryGrowth, Rope};
use crate::weights::{Matrix, Param, Weights};

/// Positions added to embeddings.
#[derive(Debug, Clone)]
pub(crate) enum Absolute {
    None,
    Learned { table: Tensor, offset: usize }, // (max_seq_len + offset, dim)
    Sinusoidal(Waves),
}

/// Sines and cosines of positions, (positions + offset, dim).
#[derive(Debug, Clone)]
pub(crate) struct Waves {
    theta: f64,
    halves: bool,
    offset: usize,
    dim: usize,
    grown: Arc<Grown>,
}

impl Absolute {
    pub(crate) fn load(spec: &spec::Spec, weights: &Weights<'_>) -> Result<Self> {
        Ok(match spec.embedding.position {
            AbsolutePosition::None => Self::None,
            AbsolutePosition::Learned { offset } => {
                let shape = (spec.max_seq_len + offset, spec.dim);
                let table = match weights.table(Param::PositionEmbedding, shape)? {
                    Matrix::Dense(table) => table,
                    Matrix::Packed(table) => table.dense()?.to_dtype(weights.dtype())?,
                    Matrix::Quantised(table) => {
                        table.dequantize(weights.device())?.to_dtype(weights.dtype())?
                    }
                };
                Self::Learned { table, offset }
            }
            AbsolutePosition::Sinusoidal { theta, offset, halves } => {
                let (dim, grown) = (spec.dim, Arc::default());
                Self::Sinusoidal(Waves { theta, halves, offset, dim, grown })
            }
        })
    }

    /// Adds the positions' rows to `x`, (batch, seq, dim).
    pub(crate) fn add(&self, x: &Tensor, positions: &Positions) -> Result<Tensor> {
        let rows = match self {
            Self::None => return Ok(x.clone()),
            Self::Learned { table, offset } => positions.pick(table, *offset)?,
            Self::Sinusoidal(waves) => {
                let table = waves.table(positions.length(), x.device())?;
                positions.pick(&table, waves.offset)?.to_dtype(x.dtype())?
            }
        };
        Ok(x.broadcast_add(&rows)?)
    }

    /// [`Absolute::add`] to one token of each row, in a slice.
    ///
    /// # Shapes
    /// x (rows · dim)
    pub(super) fn add_rows(&self, x: &mut [f32], token: &Token<'_>) -> Option<()> {
        let grown;
        let (table, offset) = match self {
            Self::None => return Some(()),
            Self::Learned { table, offset } => (table, *offset),
            Self::Sinusoidal(waves) => {
                grown = waves.table(token.length(), &Device::Cpu).ok()?;
                (&grown, waves.offset)
            }
        };
        for (x, position) in x.chunks_exact_mut(x.len() / token.rows()).zip(token.positions()) {
            kernels::add_row(x, table, position + offset)?;
        }
        Some(())
    }
}

impl Waves {
    /// The rows of so many positions, after those that the offset skips.
    fn table(&self, length: usize, device: &Device) -> Result<Tensor> {
        let &Self { theta, halves, offset, dim, .. } = self;
        let value = if halves { halved } else { alternating };
        let make = |rows: usize| -> Result<Tensor> {
            let row = |p| (0..dim).map(move |i| value(theta, dim, p, i));
            let table: Vec<f32> = (0..rows).flat_map(row).collect();
            Ok(Tensor::from_vec(table, (rows, dim), device)?)
        };
        self.grown.table(0, length + offset, make)
    }
}

/// `PE(p, 2i) = sin(p / theta^(2i/dim))`, `PE(p, 2i+1) = cos(p / theta^(2i/dim))`
/// (Vaswani et al. 2017, section 3.5).
fn alternating(theta: f64, dim: usize, position: usize, i: usize) -> f32 {
    let angle = position as f64 / theta.powf((i - i % 2) as f64 / dim as f64);
    (if i.is_multiple_of(2) { angle.sin() } else { angle.cos() }) as f32
}

/// `sin(p · theta^(−i/(half−1)))` for i < half = dim/2, and then so the cosines: tensor2tensor's.
/// Its angles are f32.
fn halved(theta: f64, dim: usize, position: usize, i: usize) -> f32 {
    let half = dim / 2;
    let step = -(theta.ln() / (half as f64 - 1.0)) as f32;
    let frequency = (i % half) as f32 * step;
    let angle = f64::from(position as f32 * frequency.exp());
    (if i < half { angle.sin() } else { angle.cos() }) as f32
}

/// Rotations of queries and keys (Su et al. 2021, 2104.09864). Layers with the same [`Rope`] share
/// one table.
#[derive(Debug)]
pub(crate) struct Rotary {
    rope: Rope,
    cos: Grown,
    sin: Grown,
}

impl Rotary {
    pub(crate) fn new(rope: Rope) -> Self {
        Self { rope, cos: Grown::default(), sin: Grown::default() }
    }

    /// # Shapes
    /// (batch, heads, seq, head_dim) → the same
    pub(crate) fn rotate(&self, x: &Tensor, positions: &Positions) -> Result<Tensor> {
        let (cos, sin) = self.tables(positions.length(), x.device())?;
        let (cos, sin) = (positions.pick(&cos, 0)?, positions.pick(&sin, 0)?); // (batch|1, seq, rotary/2)
        if let Some(turned) = kernels::rotate(x, &cos, &sin, self.rope.interleaved)? {
            return Ok(turned);
        }
        let (head_dim, rotary_dim) = (x.dim(D::Minus1)?, self.rope.rotary_dim);
        if rotary_dim == head_dim {
            return turn(&x.contiguous()?, &cos, &sin, self.rope.interleaved);
        }
        let turned = x.narrow(D::Minus1, 0, rotary_dim)?.contiguous()?;
        let kept = x.narrow(D::Minus1, rotary_dim, head_dim - rotary_dim)?;
        let turned = turn(&turned, &cos, &sin, self.rope.interleaved)?;
        Ok(Tensor::cat(&[turned, kept.contiguous()?], D::Minus1)?)
    }

    /// [`Rotary::rotate`] of one token of each row, when so many positions are in use.
    pub(super) fn turn(&self, length: usize) -> Option<Turn> {
        let (cos, sin) = self.tables(length, &Device::Cpu).ok()?;
        Some(Turn { cos, sin, interleaved: self.rope.interleaved })
    }

    /// Cosines and sines, (positions, rotary_dim / 2), f32 whatever the weights are.
    fn tables(&self, length: usize, device: &Device) -> Result<(Tensor, Tensor)> {
        // A table made for other frequencies is of no use.
        let key = stretch(&self.rope, length);
        let sense = if self.rope.reversed { -1.0 } else { 1.0 };
        let make = |rows: usize, turn: fn(f64) -> f64| -> Result<Tensor> {
            let (frequencies, factor) = frequencies(&self.rope, length);
            let angles = (0..rows).flat_map(|p| frequencies.iter().map(move |f| p as f32 * f));
            let table: Vec<f32> =
                angles.map(|angle| (turn(sense * f64::from(angle)) * factor) as f32).collect();
            Ok(Tensor::from_vec(table, (rows, frequencies.len()), device)?)
        };
        let cos = self.cos.table(key, length, |rows| make(rows, f64::cos))?;
        let sin = self.sin.table(key, length, |rows| make(rows, f64::sin))?;
        Ok((cos, sin))
    }
}

/// The angles of every position in use.
pub(super) struct Turn {
    cos: Tensor, // (positions, rotary_dim / 2)
    sin: Tensor,
    interleaved: bool,
}

impl Turn {
    /// The heads of one row, turned.
    ///
    /// # Shapes
    /// (heads · head_dim) → the same
    pub(super) fn row(
        &self,
        x: &[f32],
        head_dim: usize,
        position: usize,
        to: &mut [f32],
    ) -> Option<()> {
        kernels::rotate_row(x, head_dim, (&self.cos, &self.sin), position, self.interleaved, to)
    }
}

/// Turns every pair of `x` (batch, heads, seq, rotary_dim) by its angle.
fn turn(x: &Tensor, cos: &Tensor, sin: &Tensor, interleaved: bool) -> Result<Tensor> {
    // In f32 and rounded once, whatever x is: some families do, and for the others it is no worse.
    let (dtype, x) = (x.dtype(), x.to_dtype(DType::F32)?);
    let (batch, heads, seq, dim) = x.dims4()?;
    // One table for all rows, (seq, dim/2), or one each, (batch, seq, dim/2); the same for all heads.
    let heads_axis = cos.rank() - 2;
    let (cos, sin) = (cos.unsqueeze(heads_axis)?, sin.unsqueeze(heads_axis)?);
    // Pairs are split along an axis of their own: the last, (…, dim/2, 2), or the one before.
    let (shape, axis) = match interleaved {
        true => ((batch, heads, seq, dim / 2, 2), 4),
        false => ((batch, heads, seq, 2, dim / 2), 3),
    };
    let pairs = x.reshape(shape)?;
    let a = pairs.narrow(axis, 0, 1)?.squeeze(axis)?; // (batch, heads, seq, dim/2)
    let b = pairs.narrow(axis, 1, 1)?.squeeze(axis)?;
    let turned_a = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
    let turned_b = (a.broadcast_mul(&sin)? + b.broadcast_mul(&cos)?)?;
    let turned = Tensor::stack(&[turned_a, turned_b], axis)?.reshape((batch, heads, seq, dim))?;
    Ok(turned.to_dtype(dtype)?)
}

/// Queries that grow with their position (see [`QueryGrowth`]).
#[derive(Debug)]
pub(crate) struct Growth {
    spec: QueryGrowth,
    grown: Grown,
}

impl Growth {
    pub(crate) fn new(spec: QueryGrowth) -> Self {
        Self { spec, grown: Grown::default() }
    }

    /// The factor on a query.
    pub(super) fn factor(&self, position: usize) -> f32 {
        let QueryGrowth { beta, every } = self.spec;
        (1.0 + beta * (1.0 + (position / every) as f64).ln()) as f32
    }

    /// # Shapes
    /// (batch, heads, seq, head_dim) → the same
    pub(crate) fn grow(&self, q: &Tensor, positions: &Positions) -> Result<Tensor> {
        let make = |rows: usize| -> Result<Tensor> {
            let table: Vec<f32> = (0..rows).map(|position| self.factor(position)).collect();
            Ok(Tensor::from_vec(table, (rows, 1), q.device())?)
        };
        let factors = positions.pick(&self.grown.table(0, positions.length(), make)?, 0)?;
        let factors = factors.to_dtype(q.dtype())?; // (seq, 1) or (batch, seq, 1)
        let axis = factors.rank() - 2;
        Ok(q.broadcast_mul(&factors.unsqueeze(axis)?)?)
    }
}
