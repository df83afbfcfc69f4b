//! What the codes of a cache mean, by the definition in f64: one byte a number, then one a group of
//! 32 for the scale.

use candle_core::{Device, Tensor};
use taper::kernels::{self, CODE_GROUP, CODE_NONE, CODE_ONE, CODE_STEPS};

/// The scale that this byte stands for.
pub(crate) fn scale(byte: u8) -> f64 {
    if byte == CODE_NONE { f64::NAN } else { ((f64::from(byte) - CODE_ONE) / CODE_STEPS).exp2() }
}

/// The numbers of one row of codes, `n` of them.
pub(crate) fn meaning(row: &[u8], n: usize) -> Vec<f64> {
    let number = |(i, code): (usize, &u8)| f64::from(*code as i8) * scale(row[n + i / CODE_GROUP]);
    row[..n].iter().enumerate().map(number).collect()
}

/// (…, coded width) → (…, n) in f32.
pub(crate) fn decoded(codes: &Tensor, n: usize) -> Tensor {
    let mut shape = codes.dims().to_vec();
    let width = shape.pop().unwrap();
    shape.push(n);
    let bytes: Vec<u8> = codes.flatten_all().unwrap().to_vec1().unwrap();
    let numbers = bytes.chunks_exact(width).flat_map(|row| meaning(row, n));
    let numbers: Vec<f32> = numbers.map(|x| x as f32).collect();
    Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap()
}

/// The codes of numbers, by the kernel, whose own test says that they are the nearest ones.
pub(crate) fn encoded(x: &Tensor) -> Tensor {
    std::thread::scope(|scope| {
        // On a thread that offers kernels, whatever this one does.
        let thread = scope.spawn(|| kernels::encode(x).unwrap().unwrap());
        thread.join().unwrap()
    })
}
