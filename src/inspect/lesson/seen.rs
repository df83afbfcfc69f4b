//! One pass over the prompt, and what of it the lesson shows. It judges nothing.

use candle_core::Tensor;

use super::numbers::most_of;
use crate::error::{Error, Result};
use crate::inspect::map::Map;
use crate::inspect::tokens::{Token, shortened};
use crate::model::Model;
use crate::nn::{At, Recorder, Run, Site};
use crate::spec::{Attention, Spec};

/// Rows of numbers.
pub(super) type Rows = Vec<Vec<f32>>;

/// What the lesson looks at.
pub(super) struct Seen<'m> {
    pub(super) spec: &'m Spec,
    pub(super) attention: &'m Attention,
    pub(super) layer: usize,
    pub(super) head: usize,
    pub(super) kv_head: usize,
    pub(super) token: usize,
    pub(super) tokens: Vec<Token>,
    /// Embeddings with their positions, (seq, dim).
    pub(super) embed: Rows,
    /// What the layer's projections read, (seq, dim).
    pub(super) attn_in: Rows,
    /// Of the head, each (seq, head_dim).
    pub(super) q: Rows,
    pub(super) k: Rows,
    pub(super) v: Rows,
    pub(super) q_pos: Rows,
    pub(super) k_pos: Rows,
    pub(super) z: Rows,
    /// Of the head, each (seq, seq).
    pub(super) scores: Rows,
    pub(super) pattern: Rows,
    /// Of every head: how far any row's weights are from 1 together.
    pub(super) row_sums: f64,
    /// What the layer's attention adds, (seq, dim).
    pub(super) attn_out: Rows,
    /// All heads, (1, heads, seq, head_dim).
    pub(super) all_z: Tensor,
    pub(super) all_q: Tensor,
    pub(super) all_k: Tensor,
    /// The residual stream after the last layer, (1, seq, dim).
    pub(super) last: Tensor,
}

impl<'m> Seen<'m> {
    pub(super) fn new(
        model: &'m Model,
        ids: &[u32],
        (layer, head, token): (usize, usize, usize),
    ) -> Result<Self> {
        use Site::*;
        let (decoder, spec) = (&model.decoder, model.spec());
        let attention = &spec.layers[layer].attention;
        let last = spec.layers.len() - 1;
        let sites = [AttnIn, Q, K, V, QPos, KPos, Scores, Pattern, Z, AttnOut];
        let mut recorder = Recorder::new(|at: At| match at.layer {
            None => at.site == Embed,
            Some(of) => {
                (of == layer && sites.contains(&at.site)) || (of == last && at.site == ResidPost)
            }
        });
        let input = Tensor::new(ids, decoder.device())?.unsqueeze(0)?;
        decoder
            .run(&input, Run { probe: Some(&mut recorder), last_only: true, ..Run::default() })?;
        let get = |layer, site| announced(&recorder, layer, site);
        let here = |site| get(Some(layer), site);
        let kv_head = head / (attention.n_heads / attention.n_kv_heads).max(1);
        let flat = |x: &Tensor| -> Result<Rows> { Ok(x.get(0)?.to_vec2::<f32>()?) };
        let of = |x: &Tensor, head: usize| -> Result<Rows> {
            Ok(x.get(0)?.get(head)?.to_vec2::<f32>()?)
        };
        Ok(Self {
            spec,
            attention,
            layer,
            head,
            kv_head,
            token,
            tokens: Token::of(model, ids),
            embed: flat(get(None, Embed)?)?,
            attn_in: flat(here(AttnIn)?)?,
            q: of(here(Q)?, head)?,
            k: of(here(K)?, kv_head)?,
            v: of(here(V)?, kv_head)?,
            q_pos: of(here(QPos)?, head)?,
            k_pos: of(here(KPos)?, kv_head)?,
            z: of(here(Z)?, head)?,
            scores: of(here(Scores)?, head)?,
            pattern: of(here(Pattern)?, head)?,
            row_sums: row_sums(here(Pattern)?, attention.sinks)?,
            attn_out: flat(here(AttnOut)?)?,
            all_z: here(Z)?.clone(),
            all_q: here(QPos)?.clone(),
            all_k: here(KPos)?.clone(),
            last: get(Some(last), ResidPost)?.clone(),
        })
    }

    /// Tokens.
    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// A token's text in quotes.
    pub(super) fn label(&self, at: usize) -> String {
        format!("“{}”", self.bare(at))
    }

    /// A token's text.
    pub(super) fn bare(&self, at: usize) -> String {
        self.tokens.get(at).map_or_else(String::new, |token| shortened(&token.label(), 18))
    }

    /// The token's weights, of the keys that it sees.
    pub(super) fn row(&self) -> Vec<f64> {
        self.pattern[self.token].iter().take(self.token + 1).map(|x| f64::from(*x)).collect()
    }

    /// The keys worth a row of their own: the heaviest, the first and the token itself, in order.
    pub(super) fn keys(&self, most: usize) -> Vec<usize> {
        let row = self.row();
        let mut keys: Vec<usize> = (0..row.len()).collect();
        keys.sort_by(|a, b| row[*b].total_cmp(&row[*a]));
        keys.truncate(most);
        keys.extend([0, self.token]);
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// The head's weights as a map.
    pub(super) fn map(&self) -> Map {
        let mut map = Map::new(self.len(), self.len());
        map.values = self.pattern.concat();
        map
    }
}

/// What a pass announced at a site.
pub(super) fn announced<F>(
    recorder: &Recorder<F>,
    layer: Option<usize>,
    site: Site,
) -> Result<&Tensor> {
    let found = recorder.sites.get(&At { layer, site });
    found.ok_or_else(|| Error::request("explain", format!("no {} was announced", site.name())))
}

/// How far a row's weights are from 1 together; beside a learned sink, how far above it.
fn row_sums(pattern: &Tensor, sinks: bool) -> Result<f64> {
    let sums = pattern.sum(3)?.flatten_all()?.to_vec1::<f32>()?;
    let off = sums.iter().map(|sum| f64::from(*sum) - 1.0);
    let above = |off: f64| if off < 0.0 { 0.0 } else { off }; // what is no number stays none
    Ok(most_of(off.map(|off| if sinks { above(off) } else { off.abs() })))
}
