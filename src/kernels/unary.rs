//! Nonlinearities, sixteen numbers at a time. Which one a model has is not known here.

use super::lanes::{Lanes, exp};

/// A nonlinearity that kernels have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// `x/2 · (1 + erf(x/√2))`.
    GeluErf,
    /// `x·σ(x)`.
    Silu,
    /// `x/2 · (1 + tanh(√(2/π)·(x + 0.044715·x³)))`.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
    /// `max(x, 0)²`.
    ReluSquared,
    /// `positive · x² + beta · x` for x > 0, else `negative · (exp(min(x, eps)) − 1 − x) + beta · x`.
    Xielu {
        /// Of the square.
        positive: f32,
        /// Of the exponential.
        negative: f32,
        /// Of the line.
        beta: f32,
        /// The exponential's greatest argument.
        eps: f32,
    },
}

#[inline(always)]
pub(super) unsafe fn activate<L: Lanes>(activation: Activation, x: L::F) -> L::F {
    // SAFETY: arithmetic only; the caller has the instructions.
    unsafe {
        match activation {
            Activation::GeluErf => gelu_erf::<L>(x, tail::<L>(x)),
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
            Activation::Xielu { positive, negative, beta, eps } => {
                xielu::<L>(x, [positive, negative, beta, eps])
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
            Activation::GeluErf => gelu_erf_slope::<L>(x),
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
                (y, step::<L>(x))
            }
            Activation::ReluSquared => {
                let y = L::max(L::splat(0.0), x);
                (L::mul(y, y), L::add(y, y))
            }
            Activation::Xielu { positive, negative, beta, eps } => {
                xielu_slope::<L>(x, [positive, negative, beta, eps])
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

/// `c · tanh(x / c)`, within 2⁻²² of c.
#[inline(always)]
pub(super) unsafe fn capped<L: Lanes>(x: L::F, cap: f32) -> L::F {
    // SAFETY: as above.
    unsafe {
        // 1 − 2 / (e²ᵘ + 1)
        let u = L::mul(x, L::splat(1.0 / cap));
        let (e, one) = (exp::<L>(L::add(u, u)), L::splat(1.0));
        L::mul(L::sub(one, L::div(L::splat(2.0), L::add(e, one))), L::splat(cap))
    }
}

/// 1 above 0, else 0: what is greater than the smallest normal number is cut to 1.
#[inline(always)]
unsafe fn step<L: Lanes>(x: L::F) -> L::F {
    // SAFETY: as above.
    unsafe { L::min(L::splat(1.0), L::mul(L::max(L::splat(0.0), x), L::splat(f32::MAX))) }
}

#[inline(always)]
unsafe fn xielu<L: Lanes>(x: L::F, [positive, negative, beta, eps]: [f32; 4]) -> L::F {
    // SAFETY: as above.
    unsafe {
        let e = exp::<L>(L::min(L::splat(eps), x));
        let left = L::sub(L::sub(e, L::splat(1.0)), x);
        let left = L::mul(L::sub(left, L::mul(step::<L>(x), left)), L::splat(negative));
        let right = L::max(L::splat(0.0), x);
        let right = L::mul(L::mul(right, right), L::splat(positive));
        L::fma(x, L::splat(beta), L::add(right, left))
    }
}

#[inline(always)]
unsafe fn xielu_slope<L: Lanes>(x: L::F, numbers: [f32; 4]) -> (L::F, L::F) {
    let [positive, negative, beta, eps] = numbers;
    // SAFETY: as above.
    unsafe {
        let eps = L::splat(eps);
        let bent = L::mul(exp::<L>(L::min(eps, x)), step::<L>(L::sub(eps, x)));
        let left = L::mul(L::sub(bent, L::splat(1.0)), L::splat(negative));
        let left = L::sub(left, L::mul(step::<L>(x), left));
        let right = L::mul(L::max(L::splat(0.0), x), L::splat(2.0 * positive));
        (xielu::<L>(x, numbers), L::add(L::add(right, left), L::splat(beta)))
    }
}

/// `max(x, 0) − |x|·tail`
#[inline(always)]
unsafe fn gelu_erf<L: Lanes>(x: L::F, tail: L::F) -> L::F {
    // SAFETY: as above.
    unsafe { L::sub(L::max(L::splat(0.0), x), L::mul(magnitude::<L>(x), tail)) }
}

#[inline(always)]
unsafe fn gelu_erf_slope<L: Lanes>(x: L::F) -> (L::F, L::F) {
    // SAFETY: as above.
    unsafe {
        // Φ + x·φ, with Φ = 1 − tail above 0
        let (above, tail) = (step::<L>(x), tail::<L>(x));
        let share = L::sub(L::add(above, tail), L::mul(L::add(above, above), tail));
        let square = L::mul(L::mul(x, x), L::splat(-0.5));
        let density = L::mul(exp::<L>(square), L::splat(0.398_942_3));
        (gelu_erf::<L>(x, tail), L::fma(x, density, share))
    }
}

/// `|x|`
#[inline(always)]
unsafe fn magnitude<L: Lanes>(x: L::F) -> L::F {
    // SAFETY: as above.
    unsafe { L::float(L::and(L::bits(x), L::splat_i(i32::MAX))) }
}

/// `erfc(|x|/√2) / 2`, within a few units in the seventh digit (Press et al., Numerical Recipes,
/// section 6.2: Chebyshev's fit of its logarithm).
#[inline(always)]
unsafe fn tail<L: Lanes>(x: L::F) -> L::F {
    const FIT: [f32; 9] = [
        -0.822_152_2,
        1.488_515_9,
        -1.135_204,
        0.278_868_07,
        -0.186_288_06,
        0.096_784_18,
        0.374_091_96,
        1.000_023_7,
        -1.265_512_2,
    ];
    // SAFETY: as above.
    unsafe {
        let z = L::mul(magnitude::<L>(x), L::splat(std::f32::consts::FRAC_1_SQRT_2));
        let t = L::div(L::splat(1.0), L::fma(z, L::splat(0.5), L::splat(1.0)));
        let mut fit = L::splat(0.170_872_77);
        for c in FIT {
            fit = L::fma(fit, t, L::splat(c));
        }
        let square = L::mul(L::mul(x, x), L::splat(-0.5));
        L::mul(L::mul(t, L::splat(0.5)), exp::<L>(L::add(square, fit)))
    }
}
