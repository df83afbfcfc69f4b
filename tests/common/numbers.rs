//! How far apart two tensors are.

use candle_core::{DType, Tensor};

/// The largest difference, as a share of the largest number.
pub(crate) fn difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.dims(), b.dims());
    let wide = |t: &Tensor| t.to_dtype(DType::F64).unwrap().flatten_all().unwrap();
    let (a, b) = (wide(a), wide(b));
    // A tensor's own maximum passes over what is no number.
    let greatest = |t: &Tensor| {
        let numbers = t.to_vec1::<f64>().unwrap().into_iter().map(f64::abs);
        numbers.fold(0.0, |most, x| if x.is_finite() { f64::max(most, x) } else { f64::INFINITY })
    };
    let (off, size) = (greatest(&(&a - &b).unwrap()), greatest(&b));
    assert!(off.is_finite() && size > 0.0);
    off / size
}
