//! Where a NaN or an infinity first appears. It repairs nothing.

use candle_core::{DType, Tensor};

use crate::error::{Error, Result};
use crate::nn::{At, Decoder, Probe, Run, Site};

/// What is wrong with these numbers, if anything.
pub(crate) fn wrong(values: &[f32]) -> Option<&'static str> {
    // Without an early end, so that it runs in vectors: nearly always everything is looked at.
    if values.iter().fold(true, |fine, x| fine & x.is_finite()) {
        return None;
    }
    match values.iter().any(|x| x.is_nan()) {
        true => Some("NaN"),
        false => Some("infinity"),
    }
}

/// Runs `ids` again with everything watched, and says where it goes wrong.
pub(crate) fn diagnose(decoder: &Decoder, ids: &[u32], what: &str) -> Error {
    let mut watch = Watch { found: None };
    let ran = Tensor::new(ids, decoder.device())
        .and_then(|ids| ids.unsqueeze(0))
        .map_err(Error::from)
        .and_then(|ids| decoder.run(&ids, Run { probe: Some(&mut watch), ..Run::default() }));
    match (watch.found, ran) {
        (Some((what, place)), _) => Error::NotFinite { what: what.into(), place },
        (None, Err(error)) => error,
        (None, Ok(_)) => {
            let place = "the logits (only with the cache; without it every number is finite)";
            Error::NotFinite { what: what.into(), place: place.into() }
        }
    }
}

struct Watch {
    found: Option<(&'static str, String)>,
}

impl Probe for Watch {
    fn wants(&self, _: At) -> bool {
        self.found.is_none()
    }

    fn visit(&mut self, at: At, x: &Tensor) -> Result<Option<Tensor>> {
        let mut values = x.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        if at.site == Site::Scores {
            // A mask's −∞ is in its place here.
            values.retain(|value| *value != f32::NEG_INFINITY);
        }
        if let Some(what) = wrong(&values) {
            let place = match at.layer {
                Some(layer) => format!("layer {layer}, {}", at.site.name()),
                None => at.site.name().to_string(),
            };
            self.found = Some((what, place.clone()));
            // Nothing after it is worth computing.
            return Err(Error::NotFinite { what: what.into(), place });
        }
        Ok(None)
    }
}
