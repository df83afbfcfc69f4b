//! AdamW (Loshchilov & Hutter 2019, 1711.05101), as PyTorch has it: decay is decoupled, and spares
//! norms and biases. Gradients come from elsewhere.

use candle_core::{Device, Tensor, Var};

use super::recipe::Recipe;
use super::variables::Variables;
use crate::error::Result;

/// What AdamW remembers.
#[derive(Debug, Clone, PartialEq)]
pub struct AdamW {
    /// Averages of gradients, a variable each.
    pub first: Vec<Vec<f32>>,
    /// Averages of their squares.
    pub second: Vec<Vec<f32>>,
    /// Steps taken.
    pub steps: usize,
}

impl AdamW {
    /// That remembers nothing yet.
    pub fn new(variables: &Variables) -> Self {
        let zeros: Vec<Vec<f32>> =
            variables.iter().map(|(_, var)| vec![0.0; var.elem_count()]).collect();
        Self { first: zeros.clone(), second: zeros, steps: 0 }
    }

    /// One step at this learning rate; every gradient is multiplied with `factor` first.
    ///
    /// # Errors
    /// The tensor's own.
    pub fn step(
        &mut self,
        variables: &Variables,
        gradients: &[Vec<f32>],
        factor: f64,
        rate: f64,
        recipe: &Recipe,
    ) -> Result<()> {
        self.steps += 1;
        let moments = self.first.iter_mut().zip(&mut self.second);
        for (((name, var), gradient), (first, second)) in
            variables.iter().zip(gradients).zip(moments)
        {
            let decay = if decays(name, var) { recipe.weight_decay } else { 0.0 };
            let how = Change::new(recipe, self.steps, factor, rate, decay);
            let mut numbers = var.flatten_all()?.to_vec1::<f32>()?;
            how.apply(&mut numbers, gradient, first, second);
            var.set(&Tensor::from_vec(numbers, var.dims(), &Device::Cpu)?)?;
        }
        Ok(())
    }
}

/// Matrices decay; norms (some families' are matrices) and biases do not.
pub(super) fn decays(name: &str, var: &Var) -> bool {
    var.rank() > 1 && !name.contains("norm") && !name.ends_with("bias")
}

/// One step of one variable, all factors in f32.
struct Change {
    factor: f32,
    beta1: f32,
    beta2: f32,
    /// `rate / (1 − beta1^t)`
    rate: f32,
    /// `1 / √(1 − beta2^t)`
    spread: f32,
    epsilon: f32,
    /// `1 − rate · decay`
    keep: f32,
}

impl Change {
    fn new(recipe: &Recipe, steps: usize, factor: f64, rate: f64, decay: f64) -> Self {
        let left = |beta: f64| 1.0 - beta.powi(steps.min(i32::MAX as usize) as i32);
        Self {
            factor: factor as f32,
            beta1: recipe.beta1 as f32,
            beta2: recipe.beta2 as f32,
            rate: (rate / left(recipe.beta1)) as f32,
            spread: (1.0 / left(recipe.beta2).sqrt()) as f32,
            epsilon: recipe.epsilon as f32,
            keep: (1.0 - rate * decay) as f32,
        }
    }

    fn apply(&self, x: &mut [f32], gradient: &[f32], first: &mut [f32], second: &mut [f32]) {
        let moments = first.iter_mut().zip(second);
        for ((x, g), (m, v)) in x.iter_mut().zip(gradient).zip(moments) {
            let g = g * self.factor;
            *m = self.beta1 * *m + (1.0 - self.beta1) * g;
            *v = self.beta2 * *v + (1.0 - self.beta2) * g * g;
            *x = *x * self.keep - self.rate * *m / (v.sqrt() * self.spread + self.epsilon);
        }
    }
}
