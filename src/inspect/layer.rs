//! What a reader must know of a layer to read its heads: who shares keys, how far it sees, what it
//! knows of positions. Everything else is `summary.rs`'s affair.

use serde::Serialize;

use crate::spec::{AbsolutePosition, Position, Spec};

/// A layer's attention, in words and numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerView {
    /// Its number.
    pub layer: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key-value heads, each shared by `n_heads / n_kv_heads` query heads.
    pub n_kv_heads: usize,
    /// Numbers in a query.
    pub head_dim: usize,
    /// Keys that a query sees at most, itself included; all where it is `None`.
    pub window: Option<usize>,
    /// What it gets positions from: `rope`, `alibi`, `learned`, `sinusoidal` or `none`.
    pub position: &'static str,
    /// ALiBi's slopes, a head each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub slopes: Vec<f64>,
    /// Factor on the scores.
    pub scale: f64,
    /// Scores stay below this, by a tanh.
    pub softcap: Option<f64>,
    /// Each head has one more score in its softmax, to which no token belongs.
    pub sinks: bool,
}

impl LayerView {
    /// Of the layer with this number.
    pub fn of(spec: &Spec, layer: usize) -> Self {
        let attention = &spec.layers[layer].attention;
        let absolute = match spec.embedding.position {
            AbsolutePosition::None => "none",
            AbsolutePosition::Learned { .. } => "learned",
            AbsolutePosition::Sinusoidal { .. } => "sinusoidal",
        };
        let (position, slopes) = match &attention.position {
            Position::None => (absolute, Vec::new()),
            Position::Rope(_) => ("rope", Vec::new()),
            Position::Alibi(alibi) => ("alibi", alibi.slopes.clone()),
        };
        Self {
            layer,
            n_heads: attention.n_heads,
            n_kv_heads: attention.n_kv_heads,
            head_dim: attention.head_dim,
            window: attention.window,
            position,
            slopes,
            scale: attention.scale,
            softcap: attention.softcap,
            sinks: attention.sinks,
        }
    }

    /// Its attention in a line.
    pub fn describe(&self) -> String {
        let shared = self.n_heads / self.n_kv_heads.max(1);
        let mut words = vec![match shared {
            1 => format!("{} heads", self.n_heads),
            _ if self.n_kv_heads == 1 => format!("{} heads, all on 1 kv head", self.n_heads),
            _ => {
                format!("{} heads, {} kv heads ({shared} share one)", self.n_heads, self.n_kv_heads)
            }
        }];
        words.push(match self.window {
            Some(window) => format!("window of {window}"),
            None => "sees everything before".into(),
        });
        words.push(match self.position {
            "rope" => "rotary positions".into(),
            "alibi" => "ALiBi: scores fall with distance".into(),
            "none" => "no positions".into(),
            word => format!("{word} positions"),
        });
        words.extend(self.softcap.map(|cap| format!("scores capped at {cap}")));
        if self.sinks {
            words.push("a learned sink takes part of the weight".into());
        }
        words.join("; ")
    }
}
