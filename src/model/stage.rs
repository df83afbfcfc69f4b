//! A part of a model under another description: what finding a fault needs. It judges nothing.

use crate::error::Result;
use crate::nn::Decoder;
use crate::spec::Spec;
use crate::weights::{Layout, Weights};

use super::Model;

impl Model {
    /// A decoder of this model's weights as `spec` describes them, whose layer 0 is the model's
    /// layer `first`: only the layers that `spec` lists are read. Tensors stored in one layout
    /// are read as `relaid` says.
    ///
    /// # Errors
    /// A spec that contradicts itself; a missing or mis-shaped tensor.
    pub fn stage(
        &self,
        spec: &Spec,
        first: usize,
        relaid: Option<fn(Layout) -> Layout>,
    ) -> Result<Decoder> {
        let (device, dtype) = (self.decoder.device().clone(), self.decoder.dtype());
        let weights =
            Weights::new(self.checkpoint(), self.names, spec, device, dtype, self.dequantise);
        Decoder::load(spec, &weights.part(first, relaid))
    }
}
