//! How far two traces are apart, site by site in order of computation. It judges nothing.

use candle_core::Tensor;
use serde::Serialize;

use super::trace::Trace;
use crate::error::Result;
use crate::nn::{At, Site};

/// How one site differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// The site.
    pub at: At,
    /// The largest absolute difference; infinite where one is masked, NaN or of another shape.
    pub max: f32,
    /// The mean absolute difference.
    pub mean: f32,
    /// The root mean square of the differences.
    pub rms: f32,
    /// That as a share of the reference's own root mean square.
    pub relative: f32,
    /// The cosine of the angle between the two, 1 where they point the same way.
    pub cosine: f32,
    /// The largest absolute value of the reference, to judge them by.
    pub scale: f32,
    /// Where the shapes differ: ours and theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shapes: Option<(Vec<usize>, Vec<usize>)>,
    /// Where ours are no numbers: `NaN` or `infinity`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_finite: Option<&'static str>,
}

/// Compares every site of `theirs` that `ours` has, in order of computation, and lists the sites
/// of `theirs` that `ours` lacks.
///
/// # Errors
/// A tensor that is no f32.
pub fn compare(ours: &Trace, theirs: &Trace) -> Result<(Vec<Difference>, Vec<At>)> {
    let (mut differences, mut missing) = (Vec::new(), Vec::new());
    for at in in_order(theirs.sites.keys().copied()) {
        match (ours.sites.get(&at), theirs.sites.get(&at)) {
            (Some(a), Some(b)) => differences.push(difference(at, a, b)?),
            _ => missing.push(at),
        }
    }
    Ok((differences, missing))
}

/// Sites in order of computation.
pub(super) fn in_order(sites: impl IntoIterator<Item = At>) -> Vec<At> {
    let mut order: Vec<At> = sites.into_iter().collect();
    order.sort_by_key(|at| place(*at));
    order
}

/// Where a site stands in the order of computation.
pub(super) fn place(at: At) -> (u8, usize, Site) {
    match (at.site, at.layer) {
        (Site::Embed, _) => (0, 0, at.site),
        (_, Some(layer)) => (1, layer, at.site),
        (_, None) => (2, 0, at.site),
    }
}

/// How `ours` differs from `theirs`.
///
/// # Errors
/// A tensor that is no f32.
pub(super) fn difference(at: At, ours: &Tensor, theirs: &Tensor) -> Result<Difference> {
    if ours.dims() != theirs.dims() {
        return Ok(Difference {
            at,
            max: f32::INFINITY,
            mean: f32::INFINITY,
            rms: f32::INFINITY,
            relative: f32::INFINITY,
            cosine: 0.0,
            scale: 0.0,
            shapes: Some((ours.dims().to_vec(), theirs.dims().to_vec())),
            not_finite: None,
        });
    }
    let a = ours.flatten_all()?.to_vec1::<f32>()?;
    let b = theirs.flatten_all()?.to_vec1::<f32>()?;
    let mut sums = Sums::default();
    for (a, b) in a.iter().zip(&b) {
        sums.add(*a, *b);
    }
    Ok(sums.difference(at))
}

/// What a site's numbers add up to.
#[derive(Default)]
struct Sums {
    count: usize,
    max: f32,
    apart: f64,
    squares: f64,
    scale: f32,
    aa: f64,
    bb: f64,
    ab: f64,
    not_finite: Option<&'static str>,
}

impl Sums {
    fn add(&mut self, a: f32, b: f32) {
        self.count += 1;
        // Equal infinities are masked scores, and differ by nothing.
        let apart = if a == b { 0.0 } else { (a - b).abs() };
        let apart = if apart.is_nan() { f32::INFINITY } else { apart };
        self.max = self.max.max(apart);
        let wide = f64::from(apart);
        self.apart += wide;
        self.squares += wide * wide;
        if b.is_finite() {
            self.scale = self.scale.max(b.abs());
        }
        if a.is_finite() && b.is_finite() {
            let (a, b) = (f64::from(a), f64::from(b));
            self.aa += a * a;
            self.bb += b * b;
            self.ab += a * b;
        } else if a.is_nan() {
            self.not_finite = Some("NaN");
        } else if a.is_infinite() && a != b {
            self.not_finite = self.not_finite.or(Some("infinity"));
        }
    }

    fn difference(self, at: At) -> Difference {
        let count = self.count.max(1) as f64;
        let ratio = |a: f64, b: f64| if a == 0.0 { 0.0 } else { (a / b) as f32 };
        let cosine = match self.aa * self.bb {
            0.0 if self.aa == self.bb => 1.0,
            0.0 => 0.0,
            product => (self.ab / product.sqrt()) as f32,
        };
        Difference {
            at,
            max: self.max,
            mean: (self.apart / count) as f32,
            rms: (self.squares / count).sqrt() as f32,
            relative: ratio(self.squares.sqrt(), self.bb.sqrt()),
            cosine,
            scale: self.scale,
            shapes: None,
            not_finite: self.not_finite,
        }
    }
}
