//! How far logits are from what came next. It changes nothing.

use candle_core::{D, Tensor};

use super::corpus::Batch;
use crate::error::Result;
use crate::kernels;
use crate::nn::Decoder;

/// −Σ ln p(label) over what is learned of `batch`, in nats: a scalar.
///
/// # Errors
/// The tensor's own.
pub fn loss(decoder: &Decoder, batch: &Batch) -> Result<Tensor> {
    let logits = decoder.logits(&batch.ids)?; // (rows, seq, vocab)
    let vocab = logits.dim(D::Minus1)?;
    let logits = logits.reshape(((), vocab))?;
    match kernels::cross_entropy(&logits, &labels(batch)?)? {
        Some(losses) => Ok(losses.sum_all()?),
        None => cross_entropy(&logits, batch),
    }
}

/// The labels, those that are not learned left out.
fn labels(batch: &Batch) -> Result<Vec<u32>> {
    let mut labels = batch.labels.to_vec1::<u32>()?;
    if let Some(learned) = &batch.learned {
        for (label, learned) in labels.iter_mut().zip(learned.to_vec1::<f32>()?) {
            if learned == 0.0 {
                *label = kernels::IGNORED;
            }
        }
    }
    Ok(labels)
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
