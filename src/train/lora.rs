//! Low-rank adaptation (Hu et al. 2021, 2106.09685): a model's matrices stay as they are, and
//! beside each is trained a product of two thin ones, W + α/r·B·A. Results are adapters as PEFT
//! writes them. Reading adapters is `weights/adapter.rs`'s affair.

use std::collections::BTreeSet;

use candle_core::{Device, Tensor, Var};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::weights::{Checkpoint, Module, Names, Param};

/// Which matrices are adapted, and how far.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lora {
    /// Rows of A and columns of B.
    pub rank: usize,
    /// B·A is multiplied with `alpha` / `rank`. Twice the rank where not given.
    pub alpha: Option<f64>,
    /// `q`, `k`, `v`, `o`, `gate`, `up`, `down`, the ends of modules' names, or `all-linear`: all
    /// of these. What is stored as one matrix is adapted as one.
    #[serde(default = "all")]
    pub targets: Vec<String>,
}

fn all() -> Vec<String> {
    vec![ALL.into()]
}

/// Every projection of every block.
const ALL: &str = "all-linear";

/// The projections, by the words for them. Experts are not adapted.
const WORDS: [(&str, &[Param]); 7] = [
    ("q", &[Param::Query]),
    ("k", &[Param::Key]),
    ("v", &[Param::Value]),
    ("o", &[Param::AttentionOut]),
    ("gate", &[Param::Gate, Param::SharedGate]),
    ("up", &[Param::Up, Param::SharedUp]),
    ("down", &[Param::Down, Param::SharedDown]),
];

impl Lora {
    /// What B·A is multiplied with.
    pub fn scale(&self) -> f64 {
        self.alpha() / self.rank as f64
    }

    fn alpha(&self) -> f64 {
        self.alpha.unwrap_or(2.0 * self.rank as f64)
    }

    /// What is out of range.
    pub(super) fn check(&self) -> Result<()> {
        if self.rank == 0 {
            return Err(Error::request("lora.rank", "must be at least 1"));
        }
        if !(self.alpha() > 0.0 && self.alpha().is_finite()) {
            return Err(Error::request("lora.alpha", "must be more than 0"));
        }
        Ok(())
    }

    /// Whether one of the targets means this module.
    fn wants(target: &str, module: &Module) -> bool {
        let is = |params: &[Param]| module.params.iter().any(|param| params.contains(param));
        if target.eq_ignore_ascii_case(ALL) {
            return WORDS.iter().any(|(_, params)| is(params));
        }
        if let Some((_, params)) = WORDS.iter().find(|(word, _)| *word == target) {
            return is(params);
        }
        let rest = module.path.strip_suffix(target);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            && WORDS.iter().any(|(_, params)| is(params))
    }
}

/// A model's tensors, and which of them have a difference that is trained.
#[derive(Debug)]
pub(super) struct Adapted {
    lora: Lora,
    frozen: Vec<(String, Tensor)>,
    /// In the order of the variables: A and B of each.
    pairs: Vec<Pair>,
}

#[derive(Debug)]
struct Pair {
    /// Which of the frozen tensors.
    at: usize,
    module: Module,
}

impl Adapted {
    /// Of these tensors, and the variables: A uniform as PyTorch's linear layers begin (He et al.
    /// 2015, 1502.01852, with a = √5), B zero, so that at first nothing is changed.
    pub(super) fn new(
        lora: &Lora,
        names: &Names,
        frozen: Vec<(String, Tensor)>,
        seed: u64,
    ) -> Result<(Self, Vec<(String, Var)>)> {
        let modules: Vec<(usize, Module)> = frozen
            .iter()
            .enumerate()
            .filter(|(_, (_, tensor))| tensor.rank() == 2)
            .filter_map(|(at, (name, _))| Some((at, names.module(name)?)))
            .collect();
        check_targets(lora, &modules)?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (mut pairs, mut list) = (Vec::new(), Vec::new());
        let wanted = |module: &Module| lora.targets.iter().any(|t| Lora::wants(t, module));
        for (at, module) in modules.into_iter().filter(|(_, module)| wanted(module)) {
            let (rows, columns) = frozen[at].1.dims2()?;
            let (out, input) = if module.turned { (columns, rows) } else { (rows, columns) };
            let bound = 1.0 / (input as f64).sqrt();
            let number = |_| ((2.0 * rng.random::<f64>() - 1.0) * bound) as f32;
            let a: Vec<f32> = (0..lora.rank * input).map(number).collect();
            let a = Tensor::from_vec(a, (lora.rank, input), &Device::Cpu)?;
            let b = Tensor::zeros((out, lora.rank), a.dtype(), a.device())?;
            list.push((module.peft("lora_A"), Var::from_tensor(&a)?));
            list.push((module.peft("lora_B"), Var::from_tensor(&b)?));
            pairs.push(Pair { at, module });
        }
        Ok((Self { lora: lora.clone(), frozen, pairs }, list))
    }

    /// The tensors with their differences, which gradients pass; without them where `list` is
    /// detached.
    pub(super) fn folded(&self, list: &[(String, Tensor)]) -> Result<Checkpoint> {
        let mut tensors = self.frozen.clone();
        for (pair, both) in self.pairs.iter().zip(list.chunks_exact(2)) {
            let [(_, a), (_, b)] = both else { continue };
            let difference = (b.matmul(a)? * self.lora.scale())?;
            let difference = if pair.module.turned { difference.t()? } else { difference };
            let tensor = &mut tensors[pair.at].1;
            *tensor = (&*tensor + difference)?;
        }
        Checkpoint::of_tensors("the base and its adapter", tensors)
    }

    /// `adapter_config.json`, for a base that goes by this name.
    pub(super) fn config(&self, base: &str) -> Map<String, Value> {
        let targets: BTreeSet<&str> = self.pairs.iter().map(|pair| pair.module.end()).collect();
        let turned = self.pairs.iter().any(|pair| pair.module.turned);
        let config = json!({
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": base,
            "r": self.lora.rank,
            "lora_alpha": self.lora.alpha(),
            "lora_dropout": 0.0,
            "target_modules": targets,
            "bias": "none",
            "fan_in_fan_out": turned,
            "init_lora_weights": true,
            "inference_mode": true,
            "use_rslora": false,
            "use_dora": false,
            "modules_to_save": null,
        });
        config.as_object().cloned().unwrap_or_default()
    }
}

/// Every target must mean something.
fn check_targets(lora: &Lora, modules: &[(usize, Module)]) -> Result<()> {
    let means = |target: &&String| modules.iter().any(|(_, module)| Lora::wants(target, module));
    if lora.targets.is_empty() {
        return Err(Error::request("lora.targets", "are none; all-linear adapts every matrix"));
    }
    let Some(none) = lora.targets.iter().find(|target| !means(target)) else { return Ok(()) };
    let ends: BTreeSet<&str> = modules
        .iter()
        .filter(|(_, module)| Lora::wants(ALL, module))
        .map(|(_, module)| module.end())
        .collect();
    let words: Vec<&str> = WORDS.iter().map(|(word, _)| *word).collect();
    let problem = format!(
        "`{none}` is no matrix of this model; {}, {ALL}, or of {}",
        words.join(", "),
        ends.into_iter().collect::<Vec<_>>().join(", ")
    );
    Err(Error::request("lora.targets", problem))
}
