//! How far logits are from what came next. It changes nothing.

use candle_core::{D, Tensor};

use super::corpus::Batch;
use crate::error::Result;
use crate::nn::Decoder;

/// −Σ ln p(label) over what is learned of `batch`, in nats: a scalar.
///
/// # Errors
/// The tensor's own.
pub fn loss(decoder: &Decoder, batch: &Batch) -> Result<Tensor> {
    let logits = decoder.logits(&batch.ids)?; // (rows, seq, vocab)
    let vocab = logits.dim(D::Minus1)?;
    cross_entropy(&logits.reshape(((), vocab))?, batch)
}

/// By the definition: ln Σ exp(x − max) + max − x[label].
fn cross_entropy(logits: &Tensor, batch: &Batch) -> Result<Tensor> {
    let shifted = logits.broadcast_sub(&logits.detach().max_keepdim(D::Minus1)?)?;
    let sums = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?; // (tokens, 1)
    let said = shifted.gather(&batch.labels.unsqueeze(1)?, D::Minus1)?; // (tokens, 1)
    let losses = (sums - said)?.squeeze(1)?;
    Ok(match &batch.learned {
        Some(learned) => (losses * learned)?.sum_all()?,
        None => losses.sum_all()?,
    })
}
