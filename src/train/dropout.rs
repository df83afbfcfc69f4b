//! Dropout (Srivastava et al. 2014): while it learns, a model does without some of its numbers. A
//! probe, so that the decoder knows nothing of it. Attention's pattern is spared: its fast path
//! stays.

use candle_core::{DType, Tensor};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::Result;
use crate::nn::{At, Probe, Site};

/// Zeros in the place of a share of embeddings and of both branches' outputs; what stays is
/// greater for it.
#[derive(Debug)]
pub struct Dropout {
    rate: f64,
    rng: ChaCha8Rng,
}

impl Dropout {
    /// The same seed and stream drop the same numbers.
    pub fn new(rate: f64, seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // Streams from the middle on: the order of the data takes those from the start.
        rng.set_stream(stream | 1 << 63);
        Self { rate, rng }
    }
}

impl Probe for Dropout {
    fn wants(&self, at: At) -> bool {
        self.rate > 0.0 && matches!(at.site, Site::Embed | Site::AttnOut | Site::MlpOut)
    }

    fn visit(&mut self, _: At, x: &Tensor) -> Result<Option<Tensor>> {
        let kept = (1.0 / (1.0 - self.rate)) as f32;
        // 32 bits decide: a rate is met to nine digits.
        let limit = (self.rate * 4_294_967_296.0) as u32;
        let mask = |_| if self.rng.random::<u32>() < limit { 0.0 } else { kept };
        let mask: Vec<f32> = (0..x.elem_count()).map(mask).collect();
        let mask = Tensor::from_vec(mask, x.shape(), x.device())?.to_dtype(x.dtype())?;
        debug_assert_eq!(x.dtype(), DType::F32);
        Ok(Some((x * mask)?))
    }
}
