//! A part of a checkpoint, read as if it were the whole, or as if it were stored otherwise: what
//! finding a fault needs. It reads nothing itself.

use super::load::Weights;
use super::param::Layout;

/// Which part of a checkpoint stands for the whole; by default the whole does.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Part {
    first: usize,
    relaid: Option<fn(Layout) -> Layout>,
}

impl Part {
    /// The layer as it is numbered in the checkpoint.
    pub(super) fn stored(self, layer: usize) -> usize {
        self.first + layer
    }

    /// How a tensor is taken to lie.
    pub(super) fn layout(self, layout: Layout) -> Layout {
        self.relaid.map_or(layout, |relaid| relaid(layout))
    }
}

impl Weights<'_> {
    /// The same, but layer 0 is what is stored as layer `first`, and tensors lie as `relaid` makes
    /// of what the names say.
    pub fn part(mut self, first: usize, relaid: Option<fn(Layout) -> Layout>) -> Self {
        self.part = Part { first, relaid };
        self
    }
}
