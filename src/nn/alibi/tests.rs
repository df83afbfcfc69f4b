//! The staircase of rounded slopes against what PyTorch's bf16 products are.

use candle_core::Device;

use super::AlibiBias;
use crate::nn::step::Step;
use crate::spec::Alibi;

#[test]
fn rounded_biases_are_those_of_bf16_products() {
    // (slopes.bfloat16()[:, None] * positions) of torch, at these positions.
    let positions = [0, 1, 100, 257, 259, 1000];
    let expected = [
        [0.0, 215.0 / 256.0, 84.0, 215.0, 218.0, 840.0],
        [0.0, 181.0 / 512.0, 35.25, 90.5, 92.0, 354.0],
    ];
    let slopes = vec![2f64.powf(-0.25), 2f64.powf(-1.5)];
    let alibi = AlibiBias::new(&Alibi { slopes, scale: 0.5, rounded: true });
    let step = Step::new(1001, 1001, None, None, &Device::Cpu).unwrap();
    let bias = alibi.bias(1001, 1001, &step.positions, &Device::Cpu).unwrap();
    let last = bias.narrow(2, 1000, 1).unwrap().squeeze(2).unwrap().squeeze(0).unwrap();
    let last: Vec<Vec<f32>> = last.to_vec2().unwrap(); // (heads, keys)
    for (head, expected) in expected.iter().enumerate() {
        for (position, value) in positions.iter().zip(expected) {
            assert_eq!(last[head][*position], 0.5 * (value - expected[5]), "head {head}");
        }
    }
}
