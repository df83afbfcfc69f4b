//! Nonlinearities, sixteen numbers at a time. Which one a model has is not known here.

use super::lanes::{Lanes, exp};

/// A nonlinearity that kernels have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x·σ(x)`.
    Silu,
    /// `x/2 · (1 + tanh(√(2/π)·(x + 0.044715·x³)))`.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
    /// `max(x, 0)²`.
    ReluSquared,
}

#[inline(always)]
pub(super) unsafe fn activate<L: Lanes>(activation: Activation, x: L::F) -> L::F {
    // SAFETY: arithmetic only; the caller has the instructions.
    unsafe {
        match activation {
            Activation::Silu => sigmoid_times::<L>(x, x),
            Activation::GeluTanh => {
                // (1 + tanh u) / 2 = σ(2u)
                let cubic = L::fma(L::mul(x, x), L::splat(0.044_715), L::splat(1.0));
                let u = L::mul(L::mul(x, cubic), L::splat(2.0 * 0.797_884_6));
                sigmoid_times::<L>(u, x)
            }
            Activation::Relu => L::max(L::splat(0.0), x),
            Activation::ReluSquared => {
                let x = L::max(L::splat(0.0), x);
                L::mul(x, x)
            }
        }
    }
}

/// The value and its derivative.
#[inline(always)]
pub(super) unsafe fn slope<L: Lanes>(activation: Activation, x: L::F) -> (L::F, L::F) {
    // SAFETY: as above.
    unsafe {
        let one = L::splat(1.0);
        match activation {
            Activation::Silu => {
                let share = sigmoid_times::<L>(x, one);
                let y = L::mul(x, share);
                // σ + x·σ·(1 − σ)
                (y, L::fma(y, L::sub(one, share), share))
            }
            Activation::GeluTanh => {
                let square = L::mul(x, x);
                let cubic = L::fma(square, L::splat(0.044_715), one);
                let u = L::mul(L::mul(x, cubic), L::splat(2.0 * 0.797_884_6));
                let share = sigmoid_times::<L>(u, one);
                let y = L::mul(x, share);
                let du = L::fma(square, L::splat(3.0 * 0.044_715), one);
                let du = L::mul(du, L::splat(2.0 * 0.797_884_6));
                (y, L::fma(L::mul(y, L::sub(one, share)), du, share))
            }
            Activation::Relu => {
                let y = L::max(L::splat(0.0), x);
                // 0 at 0, 1 above: what is greater than the smallest normal number is cut to 1.
                (y, L::min(one, L::mul(y, L::splat(f32::MAX))))
            }
            Activation::ReluSquared => {
                let y = L::max(L::splat(0.0), x);
                (L::mul(y, y), L::add(y, y))
            }
        }
    }
}

/// `x / (1 + e⁻ᵘ)`
#[inline(always)]
unsafe fn sigmoid_times<L: Lanes>(u: L::F, x: L::F) -> L::F {
    // SAFETY: as above.
    unsafe {
        let e = exp::<L>(L::sub(L::splat(0.0), u));
        L::div(x, L::add(L::splat(1.0), e))
    }
}
