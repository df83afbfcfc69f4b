//! Why a token needs to know its place: the same tokens in another order, with and without it.

use candle_core::{IndexOp, Tensor};

use super::numbers::{apart, dot, length, size, softmax, weighted};
use super::seen::{Rows, Seen, announced};
use crate::error::Result;
use crate::inspect::document::{Part, Section};
use crate::inspect::layer::LayerView;
use crate::model::Model;
use crate::nn::{At, Recorder, Run, Site};
use crate::spec::Attention;

/// The first layer's first head, for the last token of some ids.
struct First {
    q: Vec<f32>,
    k: Rows,
    v: Rows,
    z: Vec<f32>,
}

impl First {
    fn of(model: &Model, ids: &[u32]) -> Result<Self> {
        let sites = [Site::Q, Site::K, Site::V, Site::Z];
        let mut recorder = Recorder::new(|at: At| at.layer == Some(0) && sites.contains(&at.site));
        let input = Tensor::new(ids, model.decoder.device())?.unsqueeze(0)?;
        let run = Run { probe: Some(&mut recorder), last_only: true, ..Run::default() };
        model.decoder.run(&input, run)?;
        let get = |site| announced(&recorder, Some(0), site);
        let last = ids.len() - 1;
        Ok(Self {
            q: get(Site::Q)?.i((0, 0, last))?.to_vec1()?,
            k: get(Site::K)?.i((0, 0))?.to_vec2()?,
            v: get(Site::V)?.i((0, 0))?.to_vec2()?,
            z: get(Site::Z)?.i((0, 0, last))?.to_vec1()?,
        })
    }

    /// What the head would answer if it knew no places.
    fn placeless(&self, attention: &Attention) -> Vec<f64> {
        let scores = self.k.iter().map(|key| dot(&self.q, key) * attention.scale);
        weighted(&softmax(&scores.collect::<Vec<_>>()), &self.v)
    }
}

/// How the model tells one order from another.
pub(super) fn places(model: &Model, ids: &[u32], seen: &Seen<'_>) -> Result<Section> {
    let mut section = Section::new("Places: attention alone sees no order");
    let view = LayerView::of(seen.spec, 0);
    section.say(
        "Attention adds up over a set of tokens, and a sum does not know the order of what is summed. \
         So a token has to be told its place.",
    );
    section.say(words(view.position));
    let before = &ids[..=seen.token];
    if seen.token < 2 {
        section
            .say("This text is too short to put its tokens in another order; take a longer one.");
        return Ok(section);
    }
    let (off, share) = tried(model, before, seen)?;
    section.say(format!(
        "Tried with head 0.0 and the {} tokens before {}, which are put in reverse order. From the same \
         vectors, without positions in the scores, the head answers the same, to rounding. The model \
         itself, run on the reversed text with its positions, answers a vector that differs by {:.1}% of \
         the answer's length.",
        seen.token,
        seen.label(seen.token),
        share * 100.0
    ));
    section.parts.push(Part::Formula(format!(
        "no positions: |difference| = {off:.1e}     with positions: |difference| = {share:.1e}"
    )));
    section.check("without positions the order makes no difference", off, 1e-5);
    Ok(section)
}

/// How far the answer moves when the tokens before the last are turned round: without positions, as
/// a share of the largest number; and in the model, as a share of the answer's length.
fn tried(model: &Model, before: &[u32], seen: &Seen<'_>) -> Result<(f64, f64)> {
    let mut turned: Vec<u32> = before[..seen.token].to_vec();
    turned.reverse();
    turned.push(before[seen.token]);
    let (first, other) = (First::of(model, before)?, First::of(model, &turned)?);
    let attention = &seen.spec.layers[0].attention;
    let mut shuffled =
        First { q: first.q.clone(), k: first.k.clone(), v: first.v.clone(), z: vec![] };
    shuffled.k[..seen.token].reverse();
    shuffled.v[..seen.token].reverse();
    let (plain, again) = (first.placeless(attention), shuffled.placeless(attention));
    let again: Vec<f32> = again.iter().map(|x| *x as f32).collect();
    let off = apart(&plain, &again) / size(&again);
    let moved: Vec<f32> = first.z.iter().zip(&other.z).map(|(a, b)| a - b).collect();
    let share = length(&moved) / length(&first.z).max(1e-12);
    Ok((off, share))
}

fn words(position: &str) -> &'static str {
    match position {
        "rope" => {
            "This model turns queries and keys, pair of numbers by pair of numbers, by angles that grow \
             with the position; in a product of the two only the difference of their positions is left \
             (rotary positions, Su et al. 2021, 2104.09864)."
        }
        "alibi" => {
            "This model lowers a score in proportion to the distance of query and key, by a slope of each \
             head's own (ALiBi, Press et al. 2021, 2108.12409)."
        }
        "learned" => {
            "This model adds a vector that was learned for each position to the token's embedding, before \
             the first layer (Radford et al. 2019)."
        }
        "sinusoidal" => {
            "This model adds sines and cosines of the position to the token's embedding, before the first \
             layer (Vaswani et al. 2017, section 3.5)."
        }
        _ => {
            "This model's first layer is told none: all that it knows of order is that nobody sees later \
             tokens."
        }
    }
}
