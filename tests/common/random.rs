//! Random decoders: a random spec, and a checkpoint in a temporary folder with random weights.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use taper::nn::Decoder;
use taper::spec::*;
use taper::weights::{Checkpoint, Layout, Names, Packing, Param, Stack, Weights, bare, plain};

/// A table of names of its own: nothing here depends on a family.
const NAMES: Names = Names {
    prefixes: &[""],
    entries: &[
        plain(Param::TokenEmbedding, "tokens"),
        plain(Param::PositionEmbedding, "positions"),
        plain(Param::EmbeddingIn, "embedding_in"),
        plain(Param::EmbeddingNorm, "embedding_norm"),
        plain(Param::EmbeddingOut, "embedding_out"),
        plain(Param::AttentionNorm, "{}.attention_norm"),
        plain(Param::AttentionOutNorm, "{}.attention_out_norm"),
        plain(Param::MlpNorm, "{}.mlp_norm"),
        plain(Param::MlpOutNorm, "{}.mlp_out_norm"),
        plain(Param::Query, "{}.query"),
        plain(Param::Key, "{}.key"),
        plain(Param::Value, "{}.value"),
        plain(Param::AttentionOut, "{}.out"),
        plain(Param::QueryNorm, "{}.query_norm"),
        plain(Param::KeyNorm, "{}.key_norm"),
        bare(Param::XieluPositive, "{}.xielu_positive", Layout::Plain),
        bare(Param::XieluNegative, "{}.xielu_negative", Layout::Plain),
        bare(Param::XieluBeta, "{}.xielu_beta", Layout::Plain),
        bare(Param::XieluEps, "{}.xielu_eps", Layout::Plain),
        plain(Param::Gate, "{}.gate"),
        plain(Param::Up, "{}.up"),
        plain(Param::Down, "{}.down"),
        plain(Param::Sinks, "{}.sinks"),
        plain(Param::Router, "{}.router"),
        bare(Param::ExpertGate, "{}.stack", Layout::Stacked(Stack::GateUp)),
        bare(Param::ExpertUp, "{}.stack", Layout::Stacked(Stack::GateUp)),
        plain(Param::ExpertDown, "{}.expert{e}.down"),
        plain(Param::SharedGate, "{}.shared_gate"),
        plain(Param::SharedUp, "{}.shared_up"),
        plain(Param::SharedDown, "{}.shared_down"),
        plain(Param::SharedRouter, "{}.shared_router"),
        plain(Param::FinalNorm, "final_norm"),
        plain(Param::Head, "head"),
    ],
    ignored: &[],
};

/// Random numbers by name: what a checkpoint holds.
pub(crate) type Tensors = HashMap<String, Tensor>;

/// A source of random choices.
pub(crate) struct Random(ChaCha8Rng);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub(crate) fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.0.random_range(0..choices.len())].clone()
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.0.random()
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0.random_range(0..end)
    }

    /// Numbers of about the size of `scale`, around `centre`.
    pub(crate) fn tensor(&mut self, shape: &[usize], scale: f32, centre: f32) -> Tensor {
        let n: usize = shape.iter().product();
        // A sum of uniform numbers is near enough to normal.
        let mut one = || (0..4).map(|_| self.0.random::<f32>() - 0.5).sum::<f32>() * 1.7;
        let numbers: Vec<f32> = (0..n).map(|_| centre + scale * one()).collect();
        Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap()
    }

    pub(crate) fn ids(&mut self, vocab: usize, n: usize) -> Vec<u32> {
        (0..n).map(|_| self.below(vocab) as u32).collect()
    }

    /// A spec, any axis any way.
    pub(crate) fn spec(&mut self) -> Spec {
        let (norm, embedding_norm) = (self.norm(), self.norm());
        let n_layers = 1 + self.below(3);
        let dim = self.one_of(&[16, 20, 24]);
        Spec {
            vocab_size: 11 + self.below(30),
            dim,
            max_seq_len: 64,
            embedding: Embedding {
                width: self.one_of(&[dim, dim, 12]),
                norm: self.one_of(&[None, Some(embedding_norm)]),
                scale: self.one_of(&[1.0, 4.0]),
                position: self.one_of(&[
                    AbsolutePosition::None,
                    AbsolutePosition::Learned { offset: 0 },
                    AbsolutePosition::Learned { offset: 2 },
                    AbsolutePosition::Sinusoidal { theta: 1e4, offset: 0, halves: false },
                    AbsolutePosition::Sinusoidal { theta: 1e4, offset: 2, halves: true },
                ]),
            },
            layers: (0..n_layers).map(|_| self.layer()).collect(),
            final_norm: self.one_of(&[Some(norm), Some(norm), None]),
            head: Head {
                tied: self.flag(),
                bias: self.flag(),
                scale: self.one_of(&[1.0, 0.5]),
                softcap: self.one_of(&[None, Some(20.0)]),
            },
        }
    }

    fn norm(&mut self) -> Norm {
        let (weight, offset) = (self.flag(), self.one_of(&[0.0, 1.0]));
        match self.flag() {
            true => Norm::Layer { eps: 1e-5, weight, bias: self.flag(), offset },
            false => Norm::Rms { eps: 1e-6, weight, offset },
        }
    }

    fn layer(&mut self) -> Layer {
        let (hidden_dim, bias) = (self.one_of(&[24, 30]), self.flag());
        let activation = self.one_of(&[
            Activation::GeluErf,
            Activation::GeluTanh,
            Activation::Silu,
            Activation::Relu,
            Activation::ReluSquared,
            Activation::Xielu,
        ]);
        Layer {
            wiring: self.one_of(&[
                Wiring::Pre,
                Wiring::Post,
                Wiring::Sandwich,
                Wiring::PostSum,
                Wiring::Normed,
                Wiring::Parallel { shared_norm: true },
                Wiring::Parallel { shared_norm: false },
            ]),
            norm: self.norm(),
            attention: self.attention(),
            feed_forward: match self.below(3) {
                0 => FeedForward::Plain { hidden_dim, activation, bias },
                1 => FeedForward::Gated { hidden_dim, activation, bias },
                _ => FeedForward::Experts(self.experts(hidden_dim, activation, bias)),
            },
            residual_scale: self.one_of(&[1.0, 0.7]),
        }
    }

    fn experts(&mut self, hidden_dim: usize, activation: Activation, bias: bool) -> Experts {
        let routing = self.one_of(&[
            Routing::SoftmaxThenTop { renormalise: false },
            Routing::SoftmaxThenTop { renormalise: true },
            Routing::TopThenSoftmax,
            Routing::SparseMixer { jitter: 0.1 },
        ]);
        let gating =
            self.one_of(&[Gating::Plain(activation), Gating::Clamped { alpha: 1.7, limit: 1.0 }]);
        let n_experts = self.one_of(&[3, 5]);
        Experts {
            n_experts,
            per_token: match routing {
                Routing::SparseMixer { .. } => 2,
                _ => self.one_of(&[1, 2, n_experts]),
            },
            hidden_dim,
            routing,
            router_bias: self.flag(),
            gating,
            bias,
            shared: self.one_of(&[None, Some(6)]),
        }
    }

    fn attention(&mut self) -> Attention {
        let (n_heads, n_kv_heads) = self.one_of(&[(1, 1), (2, 1), (4, 4), (4, 2), (6, 3)]);
        let head_dim = self.one_of(&[4, 6, 8]);
        let qk = self.norm();
        let own = match qk {
            Norm::Layer { eps, weight, offset, .. } => {
                Norm::Layer { eps, weight, bias: false, offset }
            }
            rms => rms,
        };
        Attention {
            n_heads,
            n_kv_heads,
            head_dim,
            position: self.position(n_heads, head_dim),
            qk_norm: self.one_of(&[
                None,
                Some(QkNorm::PerHead(qk)),
                Some(QkNorm::PerHeadPlaced(qk)),
                Some(QkNorm::OwnPerHead(own)),
                Some(QkNorm::Full(qk)),
            ]),
            qkv_bias: self.flag(),
            out_bias: self.flag(),
            window: self.one_of(&[None, None, Some(1), Some(5)]),
            clip: self.one_of(&[None, Some(1.5)]),
            query_growth: self.one_of(&[None, Some(QueryGrowth { beta: 0.3, every: 4 })]),
            scale: 0.4,
            softcap: self.one_of(&[None, Some(5.0)]),
            sinks: self.flag(),
        }
    }

    fn position(&mut self, n_heads: usize, head_dim: usize) -> Position {
        if self.below(4) == 0 {
            let slopes = (0..n_heads).map(|head| 0.5f64.powi(head as i32 + 1)).collect();
            let (scale, rounded) = (self.one_of(&[1.0, 0.5]), self.flag());
            return Position::Alibi(Alibi { slopes, scale, rounded });
        }
        if self.below(4) == 0 {
            return Position::None;
        }
        let rotary_dim = self.one_of(&[head_dim, head_dim / 4 * 2]);
        Position::Rope(Rope {
            theta: self.one_of(&[100.0, 10_000.0]),
            rotary_dim,
            reversed: self.flag(),
            interleaved: self.flag(),
            // (Scalings that depend on the length in use make prefill and single steps differ, in
            // transformers too; parity.rs has them.)
            scaling: self.one_of(&[
                RopeScaling::None,
                RopeScaling::Linear { factor: 2.0 },
                RopeScaling::Llama3 {
                    factor: 8.0,
                    low_freq_factor: 1.0,
                    high_freq_factor: 4.0,
                    original_max_seq_len: 32,
                },
                RopeScaling::Yarn {
                    factor: 4.0,
                    beta_fast: 4.0,
                    beta_slow: 1.0,
                    attention_factor: 1.1,
                    original_max_seq_len: 16,
                    truncate: true,
                },
            ]),
        })
    }

    /// Random weights for a spec.
    pub(crate) fn tensors(&mut self, spec: &Spec) -> Tensors {
        let mut tensors = Tensors::new();
        let mut put = |name: &str, tensor: Tensor| tensors.insert(name.to_string(), tensor);
        let width = spec.embedding.width;
        put("tokens.weight", self.tensor(&[spec.vocab_size, width], 1.0, 0.0));
        if let AbsolutePosition::Learned { offset } = spec.embedding.position {
            put("positions.weight", self.tensor(&[spec.max_seq_len + offset, spec.dim], 0.5, 0.0));
        }
        let mut shapes: Vec<(String, Vec<usize>)> = Vec::new();
        if width != spec.dim {
            shapes.extend(linear("embedding_in", spec.dim, width, false));
            shapes.extend(linear("embedding_out", width, spec.dim, false));
        }
        let ends = [(spec.embedding.norm, "embedding_norm"), (spec.final_norm, "final_norm")];
        for (norm, name) in ends {
            shapes.extend(norm.map(|norm| norms(norm, name, spec.dim)).unwrap_or_default());
        }
        if !spec.head.tied {
            shapes.push(("head.weight".into(), vec![spec.vocab_size, width]));
        }
        if spec.head.bias {
            shapes.push(("head.bias".into(), vec![spec.vocab_size]));
        }
        for (index, layer) in spec.layers.iter().enumerate() {
            shapes.extend(layer_shapes(layer, spec.dim, index));
        }
        for (name, shape) in shapes {
            let norm = name.contains("norm") && name.ends_with("weight");
            let (scale, centre) = if norm { (0.3, 1.0) } else { (0.35, 0.0) };
            put(&name, self.tensor(&shape, scale, centre));
        }
        tensors
    }
}

/// The decoder of these weights, through a real file.
pub(crate) fn decoder(spec: &Spec, tensors: &Tensors) -> Decoder {
    packed(spec, tensors, None)
}

/// The same, its matrices packed for the kernels.
pub(crate) fn packed(spec: &Spec, tensors: &Tensors, packing: Option<Packing>) -> Decoder {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    candle_core::safetensors::save(tensors, &file).unwrap();
    let checkpoint = Checkpoint::open(&file).unwrap();
    let weights = Weights::new(&checkpoint, &NAMES, spec, Device::Cpu, DType::F32, false);
    let weights = match packing {
        Some(packing) => weights.packed(packing),
        None => weights,
    };
    let decoder = Decoder::load(spec, &weights).unwrap();
    weights.finish().unwrap();
    decoder
}

fn norms(norm: Norm, name: &str, width: usize) -> Vec<(String, Vec<usize>)> {
    let (weight, bias) = match norm {
        Norm::Layer { weight, bias, .. } => (weight, bias),
        Norm::Rms { weight, .. } => (weight, false),
    };
    let mut shapes = Vec::new();
    if weight {
        shapes.push((format!("{name}.weight"), vec![width]));
    }
    if bias {
        shapes.push((format!("{name}.bias"), vec![width]));
    }
    shapes
}

fn linear(name: &str, out: usize, input: usize, bias: bool) -> Vec<(String, Vec<usize>)> {
    let mut shapes = vec![(format!("{name}.weight"), vec![out, input])];
    if bias {
        shapes.push((format!("{name}.bias"), vec![out]));
    }
    shapes
}

fn expert_shapes(experts: &Experts, dim: usize, index: usize) -> Vec<(String, Vec<usize>)> {
    let at = |name: &str| format!("{index}.{name}");
    let (n, hidden) = (experts.n_experts, experts.hidden_dim);
    let mut shapes = linear(&at("router"), n, dim, experts.router_bias);
    shapes.push((at("stack"), vec![n, 2 * hidden, dim]));
    if experts.bias {
        shapes.push((at("stack_bias"), vec![n, 2 * hidden]));
    }
    for expert in 0..n {
        shapes.extend(linear(&at(&format!("expert{expert}.down")), dim, hidden, experts.bias));
    }
    if let Some(hidden) = experts.shared {
        shapes.extend(linear(&at("shared_gate"), hidden, dim, false));
        shapes.extend(linear(&at("shared_up"), hidden, dim, false));
        shapes.extend(linear(&at("shared_down"), dim, hidden, false));
        shapes.extend(linear(&at("shared_router"), 1, dim, false));
    }
    shapes
}

fn layer_shapes(layer: &Layer, dim: usize, index: usize) -> Vec<(String, Vec<usize>)> {
    let at = |name: &str| format!("{index}.{name}");
    let a = &layer.attention;
    let (q, kv) = (a.n_heads * a.head_dim, a.n_kv_heads * a.head_dim);
    let mut shapes = linear(&at("query"), q, dim, a.qkv_bias);
    shapes.extend(linear(&at("key"), kv, dim, a.qkv_bias));
    shapes.extend(linear(&at("value"), kv, dim, a.qkv_bias));
    shapes.extend(linear(&at("out"), dim, q, a.out_bias));
    match a.qk_norm {
        None => {}
        Some(QkNorm::OwnPerHead(norm)) => {
            for (name, heads) in [("query_norm", a.n_heads), ("key_norm", a.n_kv_heads)] {
                let own = norms(norm, &at(name), a.head_dim).into_iter();
                shapes.extend(own.map(|(name, _)| (name, vec![heads, a.head_dim])));
            }
        }
        Some(QkNorm::PerHead(norm) | QkNorm::PerHeadPlaced(norm)) => {
            shapes.extend(norms(norm, &at("query_norm"), a.head_dim));
            shapes.extend(norms(norm, &at("key_norm"), a.head_dim));
        }
        Some(QkNorm::Full(norm)) => {
            shapes.extend(norms(norm, &at("query_norm"), q));
            shapes.extend(norms(norm, &at("key_norm"), kv));
        }
    }
    let activation = match &layer.feed_forward {
        FeedForward::Plain { activation, .. } | FeedForward::Gated { activation, .. } => {
            Some(*activation)
        }
        FeedForward::Experts(Experts { gating: Gating::Plain(activation), .. }) => {
            Some(*activation)
        }
        FeedForward::Experts(_) => None,
    };
    if activation == Some(Activation::Xielu) {
        for name in ["positive", "negative", "beta", "eps"] {
            shapes.push((at(&format!("xielu_{name}")), vec![1]));
        }
    }
    if a.sinks {
        shapes.push((at("sinks.weight"), vec![a.n_heads]));
    }
    match &layer.feed_forward {
        FeedForward::Plain { hidden_dim, bias, .. } => {
            shapes.extend(linear(&at("up"), *hidden_dim, dim, *bias));
            shapes.extend(linear(&at("down"), dim, *hidden_dim, *bias));
        }
        FeedForward::Gated { hidden_dim, bias, .. } => {
            shapes.extend(linear(&at("gate"), *hidden_dim, dim, *bias));
            shapes.extend(linear(&at("up"), *hidden_dim, dim, *bias));
            shapes.extend(linear(&at("down"), dim, *hidden_dim, *bias));
        }
        FeedForward::Experts(experts) => shapes.extend(expert_shapes(experts, dim, index)),
    }
    let places: &[&str] = match layer.wiring {
        Wiring::Pre | Wiring::Normed | Wiring::Parallel { shared_norm: false } => {
            &["attention_norm", "mlp_norm"]
        }
        Wiring::Parallel { shared_norm: true } => &["attention_norm"],
        Wiring::Post | Wiring::PostSum => &["attention_out_norm", "mlp_out_norm"],
        Wiring::Sandwich => &["attention_norm", "attention_out_norm", "mlp_norm", "mlp_out_norm"],
    };
    for place in places {
        shapes.extend(norms(layer.norm, &at(place), dim));
    }
    shapes
}

/// A Llama of so many layers.
pub(crate) fn llama(layers: usize) -> Spec {
    let norm = Norm::Rms { eps: 1e-5, weight: true, offset: 0.0 };
    let rope = Rope {
        theta: 1e4,
        rotary_dim: 16,
        reversed: false,
        interleaved: false,
        scaling: RopeScaling::None,
    };
    let attention = Attention { position: Position::Rope(rope), ..Attention::new(4, 2, 16) };
    let feed_forward =
        FeedForward::Gated { hidden_dim: 96, activation: Activation::Silu, bias: false };
    let layer = Layer { wiring: Wiring::Pre, norm, attention, feed_forward, residual_scale: 1.0 };
    Spec {
        vocab_size: 40,
        dim: 64,
        max_seq_len: 64,
        embedding: Embedding {
            width: 64,
            norm: None,
            scale: 1.0,
            position: AbsolutePosition::None,
        },
        layers: vec![layer; layers],
        final_norm: Some(norm),
        head: Head { tied: true, bias: false, scale: 1.0, softcap: None },
    }
}
