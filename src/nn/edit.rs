//! A probe that turns heads down, off, or to a fixed output: what a head is worth is what changes
//! without it. It works with a cache: keys and values stay as they are.

use candle_core::{DType, Tensor};
use serde::Serialize;

use super::probe::{At, Probe, Site};
use crate::error::{Error, Result};
use crate::spec::Spec;

/// A head whose output is multiplied by a factor: 0 switches it off. The same as multiplying its
/// columns of the output projection.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct HeadScale {
    /// The layer, from 0.
    pub layer: usize,
    /// The head, from 0.
    pub head: usize,
    /// The factor.
    pub factor: f32,
}

/// Changes to heads' outputs, ready to listen: a probe is `&HeadEdits`, which any number of passes
/// may share.
#[derive(Debug, Clone, Default)]
pub struct HeadEdits {
    layers: Vec<Option<Edit>>,
}

/// `z · factors + fill`.
#[derive(Debug, Clone)]
struct Edit {
    factors: Vec<f32>,      // (heads)
    fill: Option<Vec<f32>>, // (heads · head_dim)
    head_dim: usize,
}

impl HeadEdits {
    /// Multiplies heads' outputs. The later of two factors for one head holds.
    ///
    /// # Errors
    /// [`Error::Request`] for a layer or head that does not exist, or a factor that is no number.
    pub fn scaled(spec: &Spec, scales: &[HeadScale]) -> Result<Self> {
        let mut edits = Self::default();
        for scale in scales {
            let edit = edits.of(spec, scale.layer, scale.head)?;
            if !scale.factor.is_finite() {
                let problem = format!(
                    "{} is no factor for head {}.{}",
                    scale.factor, scale.layer, scale.head
                );
                return Err(Error::request("scale", problem));
            }
            edit.factors[scale.head] = scale.factor;
        }
        Ok(edits)
    }

    /// Puts a fixed output in a head's place, (head_dim).
    ///
    /// # Errors
    /// As [`HeadEdits::scaled`]; another length than head_dim.
    pub fn replace(
        &mut self,
        spec: &Spec,
        layer: usize,
        head: usize,
        output: &[f32],
    ) -> Result<()> {
        let edit = self.of(spec, layer, head)?;
        let (heads, dim) = (edit.factors.len(), edit.head_dim);
        if output.len() != dim {
            let problem = format!("{} numbers for a head of {dim}", output.len());
            return Err(Error::request("replace", problem));
        }
        edit.factors[head] = 0.0;
        let fill = edit.fill.get_or_insert_with(|| vec![0.0; heads * dim]);
        fill[head * dim..(head + 1) * dim].copy_from_slice(output);
        Ok(())
    }

    /// Is nothing changed?
    pub fn is_empty(&self) -> bool {
        self.layers.iter().all(Option::is_none)
    }

    fn of(&mut self, spec: &Spec, layer: usize, head: usize) -> Result<&mut Edit> {
        let layers = spec.layers.len();
        let Some(attention) = spec.layers.get(layer).map(|layer| &layer.attention) else {
            let problem = format!("layer {layer} is none of 0 to {}", layers.saturating_sub(1));
            return Err(Error::request(format!("head {layer}.{head}"), problem));
        };
        if head >= attention.n_heads {
            let problem = format!("layer {layer} has heads 0 to {}", attention.n_heads - 1);
            return Err(Error::request(format!("head {layer}.{head}"), problem));
        }
        self.layers.resize(layers, None);
        Ok(self.layers[layer].get_or_insert_with(|| Edit {
            factors: vec![1.0; attention.n_heads],
            fill: None,
            head_dim: attention.head_dim,
        }))
    }
}

impl Edit {
    fn apply(&self, z: &Tensor) -> Result<Tensor> {
        let constant = |numbers: &[f32], width: usize| -> Result<Tensor> {
            let shape = (1, self.factors.len(), 1, width);
            Ok(Tensor::from_slice(numbers, shape, z.device())?)
        };
        let mut out = z.to_dtype(DType::F32)?.broadcast_mul(&constant(&self.factors, 1)?)?;
        if let Some(fill) = &self.fill {
            out = out.broadcast_add(&constant(fill, self.head_dim)?)?;
        }
        Ok(out.to_dtype(z.dtype())?)
    }
}

impl Probe for &HeadEdits {
    fn wants(&self, at: At) -> bool {
        let edited = |layer| matches!(self.layers.get(layer), Some(Some(_)));
        at.site == Site::Z && at.layer.is_some_and(edited)
    }

    fn visit(&mut self, at: At, z: &Tensor) -> Result<Option<Tensor>> {
        let edit = at.layer.and_then(|layer| self.layers.get(layer)?.as_ref());
        edit.map(|edit| edit.apply(z)).transpose()
    }
}
