//! Where two traces part, site by site in order of computation.

use candle_core::Tensor;

use super::trace::Trace;
use crate::error::Result;
use crate::nn::{At, Site};

/// How one site differs.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The site.
    pub at: At,
    /// The largest absolute difference; infinite where one is masked, NaN or of another shape.
    pub max: f32,
    /// The mean absolute difference.
    pub mean: f32,
    /// The largest absolute value of the reference, to judge them by.
    pub scale: f32,
    /// Where the shapes differ: ours and theirs.
    pub shapes: Option<(Vec<usize>, Vec<usize>)>,
}

/// Compares every site of `theirs` that `ours` has, in order of computation, and lists the sites
/// of `theirs` that `ours` lacks.
///
/// # Errors
/// A tensor that is no f32.
pub fn compare(ours: &Trace, theirs: &Trace) -> Result<(Vec<Difference>, Vec<At>)> {
    let mut order: Vec<At> = theirs.sites.keys().copied().collect();
    order.sort_by_key(|at| match (at.site, at.layer) {
        (Site::Embed, _) => (0, 0, at.site),
        (_, Some(layer)) => (1, layer, at.site),
        (_, None) => (2, 0, at.site),
    });
    let (mut differences, mut missing) = (Vec::new(), Vec::new());
    for at in order {
        match (ours.sites.get(&at), theirs.sites.get(&at)) {
            (Some(a), Some(b)) => differences.push(difference(at, a, b)?),
            _ => missing.push(at),
        }
    }
    Ok((differences, missing))
}

fn difference(at: At, ours: &Tensor, theirs: &Tensor) -> Result<Difference> {
    if ours.dims() != theirs.dims() {
        let shapes = Some((ours.dims().to_vec(), theirs.dims().to_vec()));
        return Ok(Difference { at, max: f32::INFINITY, mean: f32::INFINITY, scale: 0.0, shapes });
    }
    let a = ours.flatten_all()?.to_vec1::<f32>()?;
    let b = theirs.flatten_all()?.to_vec1::<f32>()?;
    let (mut max, mut sum, mut scale) = (0f32, 0f64, 0f32);
    for (a, b) in a.iter().zip(&b) {
        // Equal infinities are masked scores, and differ by nothing.
        let apart = if a == b { 0.0 } else { (a - b).abs() };
        let apart = if apart.is_nan() { f32::INFINITY } else { apart };
        max = max.max(apart);
        sum += f64::from(apart);
        if b.is_finite() {
            scale = scale.max(b.abs());
        }
    }
    let mean = (sum / a.len().max(1) as f64) as f32;
    Ok(Difference { at, max, mean, scale, shapes: None })
}
