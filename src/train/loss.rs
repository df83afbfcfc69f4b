//! How far logits are from what came next. It changes nothing.

use candle_core::{D, Tensor};

use super::corpus::Batch;
use crate::error::Result;
use crate::kernels::{self, IGNORED};
use crate::nn::{Decoder, Probe, Run};

/// −Σ ln p(label) over what is learned of `batch`, in nats: a scalar.
///
/// # Errors
/// The tensor's own.
pub fn loss(decoder: &Decoder, batch: &Batch) -> Result<Tensor> {
    loss_heard(decoder, batch, None)
}

/// The same, while `probe` listens to the decoder, and may change what it hears.
///
/// # Errors
/// The tensor's own, and the probe's.
pub fn loss_heard(
    decoder: &Decoder,
    batch: &Batch,
    probe: Option<&mut dyn Probe>,
) -> Result<Tensor> {
    let logits = decoder.run(&batch.ids, Run { probe, ..Run::default() })?; // (rows, seq, vocab)
    let logits = logits.reshape(((), logits.dim(D::Minus1)?))?; // (tokens, vocab)
    let losses = match kernels::cross_entropy(&logits, &batch.labels)? {
        Some(losses) => losses,
        None => cross_entropy(&logits, &batch.labels)?,
    };
    Ok(losses.sum_all()?)
}

/// By the definition: ln Σ exp(x − max) + max − x[label], and 0 where the label is ignored.
fn cross_entropy(logits: &Tensor, labels: &[u32]) -> Result<Tensor> {
    let learned: Vec<f32> = labels.iter().map(|l| if *l == IGNORED { 0.0 } else { 1.0 }).collect();
    let some: Vec<u32> = labels.iter().map(|l| if *l == IGNORED { 0 } else { *l }).collect();
    let device = logits.device();
    let shifted = logits.broadcast_sub(&logits.detach().max_keepdim(D::Minus1)?)?;
    let sums = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?; // (tokens, 1)
    let said = shifted.gather(&Tensor::new(some, device)?.unsqueeze(1)?, D::Minus1)?; // (tokens, 1)
    Ok(((sums - said)?.squeeze(1)? * Tensor::new(learned, device)?)?)
}
