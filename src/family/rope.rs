//! Reads rotary positions from any of the forms in which configurations state them. What is done
//! with them is `nn`'s affair.

use super::config::Config;
use crate::error::Result;
use crate::spec::{Rope, RopeScaling};

/// What a family assumes where its configuration is silent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RopeDefaults {
    /// The base.
    pub(crate) theta: f64,
    /// The share of a head that turns.
    pub(crate) partial: f64,
}

impl Default for RopeDefaults {
    fn default() -> Self {
        Self { theta: 10_000.0, partial: 1.0 }
    }
}

/// The whole model's rotary positions, and the positions it has with them: some scalings reach
/// beyond `max_position_embeddings`.
///
/// The order is transformers': `rope_scaling` (v4) or `rope_parameters` (v5), then the keys beside
/// them, then the family's default.
pub(crate) fn read(
    config: &Config<'_>,
    head_dim: usize,
    max_seq_len: usize,
    defaults: RopeDefaults,
) -> Result<(Rope, usize)> {
    let params = match config.maybe_object("rope_scaling")? {
        Some(params) => Some(params),
        None => config.maybe_object("rope_parameters")?,
    };
    read_from(config, params.as_ref(), head_dim, max_seq_len, defaults)
}

/// The rotary positions of the layers of one kind, where `rope_parameters` has an object for each
/// kind of layer (or null: no scaling, the default base).
pub(crate) fn of_layer_type(
    config: &Config<'_>,
    layer_type: &str,
    head_dim: usize,
    max_seq_len: usize,
    defaults: RopeDefaults,
) -> Result<Option<(Rope, usize)>> {
    let Some(all) = config.maybe_object("rope_parameters")? else { return Ok(None) };
    if !all.has(layer_type) {
        return Ok(None);
    }
    let own = all.maybe_object(layer_type)?;
    // Nothing beside the object counts.
    let empty = all.nowhere();
    let own = own.as_ref().unwrap_or(&empty);
    read_from(&own.nowhere(), Some(own), head_dim, max_seq_len, defaults).map(Some)
}

fn read_from(
    config: &Config<'_>,
    params: Option<&Config<'_>>,
    head_dim: usize,
    max_seq_len: usize,
    defaults: RopeDefaults,
) -> Result<(Rope, usize)> {
    let theta = first(config, params, "rope_theta", &["rope_theta", "rotary_emb_base"])?;
    let theta = theta.map_or_else(|| config.number_or("rope_theta", defaults.theta), Ok)?;
    let keys = ["partial_rotary_factor", "rotary_pct"];
    let partial = first(config, params, "partial_rotary_factor", &keys)?;
    let partial =
        partial.map_or_else(|| config.number_or("partial_rotary_factor", defaults.partial), Ok)?;
    if !(partial > 0.0 && partial <= 1.0) {
        return Err(config.error("partial_rotary_factor", format!("is {partial}, not in (0, 1]")));
    }
    let rotary_dim = (head_dim as f64 * partial) as usize;
    let (scaling, max_seq_len) = match params {
        Some(params) => scaling(config, params, max_seq_len)?,
        None => (RopeScaling::None, max_seq_len),
    };
    Ok((Rope { theta, rotary_dim, reversed: false, interleaved: false, scaling }, max_seq_len))
}

/// The same quantity under several names; two that differ are refused.
fn first(
    config: &Config<'_>,
    params: Option<&Config<'_>>,
    inner: &str,
    outer: &[&str],
) -> Result<Option<f64>> {
    let mut found = match params {
        Some(params) => params.maybe_number(inner)?,
        None => None,
    };
    for key in outer {
        let value = config.maybe_number(key)?;
        match (found, value) {
            (Some(a), Some(b)) if a != b => {
                let problem = format!("is {b}, but {a} stands in rope_parameters or beside it");
                return Err(config.error(key, problem));
            }
            (None, Some(_)) => found = value,
            _ => {}
        }
    }
    Ok(found)
}

fn scaling(
    config: &Config<'_>,
    params: &Config<'_>,
    max_seq_len: usize,
) -> Result<(RopeScaling, usize)> {
    let kind = match params.maybe_text("rope_type")? {
        Some(kind) => {
            params.irrelevant(&["type"]); // the old name, kept beside the new one
            kind
        }
        None => params.text_or("type", "default")?,
    };
    let required =
        |key: &str| params.maybe_number(key)?.ok_or_else(|| params.error(key, "is missing"));
    // Phi-3 keeps the original length beside the parameters, and there it wins.
    let original = || -> Result<usize> {
        match config.maybe_size("original_max_position_embeddings")? {
            Some(original) => {
                params.irrelevant(&["original_max_position_embeddings"]);
                Ok(original)
            }
            None => params.size_or("original_max_position_embeddings", max_seq_len),
        }
    };
    let stretched = |factor: f64, original: usize| {
        max_seq_len.max((factor * original as f64).min(f64::from(u32::MAX)) as usize)
    };
    Ok(match kind {
        "default" => (RopeScaling::None, max_seq_len),
        "linear" => (RopeScaling::Linear { factor: required("factor")? }, max_seq_len),
        "dynamic" => {
            let factor = required("factor")?;
            params.irrelevant(&["original_max_position_embeddings"]);
            let scaling = RopeScaling::Dynamic { factor, original_max_seq_len: max_seq_len };
            (scaling, stretched(factor, max_seq_len))
        }
        "llama3" => {
            let scaling = RopeScaling::Llama3 {
                factor: required("factor")?,
                low_freq_factor: required("low_freq_factor")?,
                high_freq_factor: required("high_freq_factor")?,
                original_max_seq_len: original()?,
            };
            (scaling, max_seq_len)
        }
        "yarn" => {
            let original = original()?;
            let (scaling, factor) = yarn(params, max_seq_len, original)?;
            (scaling, stretched(factor, original))
        }
        "longrope" | "su" => (longrope(params, max_seq_len, original()?)?, max_seq_len),
        other => {
            let known = "default, linear, dynamic, llama3, yarn, longrope";
            return Err(params.error("rope_type", format!("is `{other}`; known: {known}")));
        }
    })
}

fn yarn(params: &Config<'_>, max_seq_len: usize, original: usize) -> Result<(RopeScaling, f64)> {
    let factor = match params.maybe_number("factor")? {
        Some(factor) => factor,
        None => max_seq_len as f64 / original as f64,
    };
    // Peng et al. 2023, section 3.4; DeepSeek's `mscale` forms on top, as transformers has them.
    let magnitude =
        |mscale: f64| if factor <= 1.0 { 1.0 } else { 0.1 * mscale * factor.ln() + 1.0 };
    let (mscale, mscale_all) =
        (params.maybe_number("mscale")?, params.maybe_number("mscale_all_dim")?);
    let attention_factor = match (params.maybe_number("attention_factor")?, mscale, mscale_all) {
        (Some(given), _, _) => given,
        (None, Some(one), Some(all)) if one != 0.0 && all != 0.0 => magnitude(one) / magnitude(all),
        _ => magnitude(1.0),
    };
    let scaling = RopeScaling::Yarn {
        factor,
        beta_fast: params.number_or("beta_fast", 32.0)?,
        beta_slow: params.number_or("beta_slow", 1.0)?,
        attention_factor,
        original_max_seq_len: original,
        truncate: params.flag_or("truncate", true)?,
    };
    Ok((scaling, factor))
}

fn longrope(params: &Config<'_>, max_seq_len: usize, original: usize) -> Result<RopeScaling> {
    let divisors =
        |key: &str| params.maybe_numbers(key)?.ok_or_else(|| params.error(key, "is missing"));
    let factor = match params.maybe_number("factor")? {
        Some(factor) => factor,
        None => max_seq_len as f64 / original as f64,
    };
    let attention_factor = match params.maybe_number("attention_factor")? {
        Some(given) => given,
        None if factor <= 1.0 => 1.0,
        None => (1.0 + factor.ln() / (original as f64).ln()).sqrt(),
    };
    Ok(RopeScaling::LongRope {
        short: divisors("short_factor")?,
        long: divisors("long_factor")?,
        attention_factors: [attention_factor; 2],
        original_max_seq_len: original,
    })
}
