//! The lesson's beginning: tokens, and the queries, keys and values of one head.

use super::numbers::{length, vector};
use super::seen::Seen;
use crate::inspect::document::{Cell, Part, Section, Table};

/// Tokens listed; of more the first and those around the one that asks.
const LISTED: usize = 24;

/// Text to tokens to numbers.
pub(super) fn tokens(seen: &Seen<'_>) -> Section {
    let mut section = Section::new("Tokens");
    let vocab = seen.spec.vocab_size;
    section.say(format!(
        "The text is cut into {} tokens, each one of {vocab} that the model knows, and each token \
         becomes its number. From here on the model sees the numbers alone. A space is written ·, \
         a line's end ⏎.",
        seen.len()
    ));
    let near = |at: usize| at < 6 || at.abs_diff(seen.token) <= 6;
    let listed = (0..seen.len()).filter(|at| seen.len() <= LISTED || near(*at));
    let mut table = Table::new(&["position", "token", "id", "its vector, the first numbers"]);
    for at in listed {
        table.rows.push(vec![
            Cell::new(at.to_string()),
            Cell::new(seen.bare(at)),
            Cell::new(seen.tokens[at].id.to_string()),
            Cell::new(vector(&seen.embed[at])).strong(at == seen.token),
        ]);
    }
    section.parts.push(Part::Table(table));
    section.say(format!(
        "Each id picks a row of a table of {vocab} × {}: the token's embedding, {} numbers that were \
         learned. All tokens' rows together are the residual stream, {} × {}; every layer reads it \
         and adds to it.",
        seen.spec.embedding.width,
        seen.spec.embedding.width,
        seen.len(),
        seen.spec.dim
    ));
    section
}

/// The three projections of one head.
pub(super) fn three(seen: &Seen<'_>) -> Section {
    let attention = seen.attention;
    let mut section = Section::new(format!(
        "A question, an offer, an answer: Q, K, V of head {}.{}",
        seen.layer, seen.head
    ));
    section.say(
        "The head makes three vectors of every token: a query (what am I looking for?), a key (what \
         can I be found by?) and a value (what do I have to tell?). Each is the token's vector times \
         a matrix that was learned.",
    );
    let (n, dim, head_dim) = (seen.len(), seen.spec.dim, attention.head_dim);
    section.parts.push(Part::Formula(format!(
        "Q = x·Wq   ({n} × {dim}) · ({dim} × {head_dim}) = ({n} × {head_dim}), likewise K and V"
    )));
    section.parts.push(Part::Table(vectors(seen)));
    let shared = attention.n_heads / attention.n_kv_heads.max(1);
    section.say(match shared {
        1 => format!(
            "The layer has {} heads, each with queries, keys and values of its own (multi-head \
             attention, Vaswani et al. 2017).",
            attention.n_heads
        ),
        _ => format!(
            "The layer has {} query heads and {} key-value heads: {shared} query heads share one \
             (grouped-query attention, Ainslie et al. 2023). Head {} takes keys and values from key-value \
             head {}.",
            attention.n_heads, attention.n_kv_heads, seen.head, seen.kv_head
        ),
    });
    section
}

/// The token's vectors in this head.
fn vectors(seen: &Seen<'_>) -> Table {
    let at = seen.token;
    let mut table = Table::new(&["vector", "of token", "numbers", "length"]);
    let mut row = |name: &str, x: &[f32]| {
        table.rows.push(vec![
            Cell::new(name),
            Cell::new(seen.bare(at)),
            Cell::new(vector(x)),
            Cell::number(length(x), 3),
        ]);
    };
    row("x, as the layer reads it", &seen.attn_in[at]);
    row("query", &seen.q[at]);
    if seen.q[at] != seen.q_pos[at] {
        row("query, turned to its position", &seen.q_pos[at]);
    }
    row("key", &seen.k[at]);
    if seen.k[at] != seen.k_pos[at] {
        row("key, turned to its position", &seen.k_pos[at]);
    }
    row("value", &seen.v[at]);
    table
}
