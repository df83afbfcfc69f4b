//! From queries and keys to weights: products, scale, mask, softmax.

use super::Limits;
use super::numbers::{dot, most_of, softmax, spread};
use super::seen::Seen;
use crate::inspect::document::{Cell, Part, Section, Table};
use crate::inspect::layer::LayerView;
use crate::inspect::svg::svg;
use crate::spec::Position;

/// Keys that have a row of their own.
const KEYS: usize = 12;

/// The keys that the token sees, their products with its query, and what the run made of them.
struct Products {
    /// The first key seen.
    first: usize,
    raw: Vec<f64>,
    scaled: Vec<f64>,
    capped: Vec<f64>,
    run: Vec<f64>,
}

impl Products {
    fn of(seen: &Seen<'_>) -> Self {
        let query = &seen.q_pos[seen.token];
        let first = first_seen(seen, seen.token);
        let raw: Vec<f64> = (first..=seen.token).map(|key| dot(query, &seen.k_pos[key])).collect();
        let scaled: Vec<f64> = raw.iter().map(|x| x * seen.attention.scale).collect();
        let capped = match seen.attention.softcap {
            Some(cap) => scaled.iter().map(|x| cap * (x / cap).tanh()).collect(),
            None => scaled.clone(),
        };
        let run = seen.scores[seen.token][first..=seen.token].iter();
        Self { first, raw, scaled, capped, run: run.map(|x| f64::from(*x)).collect() }
    }
}

/// The first key that the query at this position sees.
fn first_seen(seen: &Seen<'_>, query: usize) -> usize {
    seen.attention.window.map_or(0, |window| (query + 1).saturating_sub(window))
}

/// How well the token's query fits each key.
pub(super) fn scores(seen: &Seen<'_>, limits: &Limits) -> Section {
    let products = Products::of(seen);
    let attention = seen.attention;
    let mut section = Section::new(format!("Scores: what {} looks for", seen.label(seen.token)));
    let root = 1.0 / (attention.head_dim as f64).sqrt();
    let is_root = (attention.scale - root).abs() < 1e-9;
    section.say(format!(
        "Its query is multiplied with the key of every token up to it, number by number, and summed: a \
         large product means that question and offer fit. A sum of {} products grows with √{0}, so it is \
         multiplied by {:.4}{}; else the softmax would give nearly everything to one token.",
        attention.head_dim,
        attention.scale,
        if is_root { format!(" = 1/√{}", attention.head_dim) } else { ", this model's own scale".into() }
    ));
    section.parts.push(Part::Formula(format!("score(query, key) = {}", formula(seen))));
    section.parts.push(Part::Table(table(seen, &products)));
    let (plain, scaled) = (softmax(&products.raw), softmax(&products.scaled));
    let most = |x: &[f64]| x.iter().copied().fold(0.0, f64::max) * 100.0;
    section.say(format!(
        "Unscaled, the scores spread by {:.2} (standard deviation) and the softmax gives {:.1}% to the \
         best key; scaled, they spread by {:.2} and it gets {:.1}%.",
        spread(&products.raw),
        most(&plain),
        spread(&products.scaled),
        most(&scaled)
    ));
    fits(&mut section, seen, &products, limits);
    section
}

/// That the scores are the run's.
fn fits(section: &mut Section, seen: &Seen<'_>, products: &Products, limits: &Limits) {
    // A bias is a head's slope times the distance, but for models that round it.
    let expected: Vec<f64> = match &seen.attention.position {
        Position::Alibi(alibi) if !alibi.rounded => {
            let bias = |at: usize| {
                let distance = (seen.token - products.first - at) as f64;
                alibi.scale * alibi.slopes[seen.head] * -distance
            };
            products.capped.iter().enumerate().map(|(at, x)| x + bias(at)).collect()
        }
        Position::Alibi(_) => return,
        _ => products.capped.clone(),
    };
    let size = products.run.iter().fold(1f64, |most, x| most.max(x.abs()));
    let off = expected.iter().zip(&products.run).map(|(a, b)| (a - b).abs() / size);
    section.check("these scores are the run's", most_of(off), limits.kept);
}

/// How a score is made, in this model.
fn formula(seen: &Seen<'_>) -> String {
    let attention = seen.attention;
    let mut text = format!("query·key × {:.4}", attention.scale);
    if let Some(cap) = attention.softcap {
        text = format!("{cap} · tanh({text} / {cap})");
    }
    if let Position::Alibi(alibi) = &attention.position {
        let slope = alibi.scale * alibi.slopes[seen.head];
        text = format!("{text} − {slope:.5} × distance");
    }
    text
}

fn table(seen: &Seen<'_>, products: &Products) -> Table {
    let (capped, biased) =
        (seen.attention.softcap.is_some(), matches!(seen.attention.position, Position::Alibi(_)));
    let mut columns = vec!["position", "key", "query·key", "scaled"];
    columns.extend(capped.then_some("capped"));
    columns.extend(biased.then_some("with distance"));
    columns.extend(["softmax unscaled", "weight"]);
    let mut table = Table::new(&columns);
    let (unscaled, weights) = (softmax(&products.raw), seen.row());
    for key in seen.keys(KEYS).into_iter().filter(|key| *key >= products.first) {
        let at = key - products.first;
        let mut row = vec![Cell::new(key.to_string()), Cell::new(seen.bare(key))];
        row.push(Cell::number(products.raw[at], 3));
        row.push(Cell::number(products.scaled[at], 3));
        row.extend(capped.then(|| Cell::number(products.capped[at], 3)));
        row.extend(biased.then(|| Cell::number(products.run[at], 3)));
        row.push(Cell::number(unscaled[at], 4).shaded(unscaled[at]));
        row.push(Cell::number(weights[key], 4).shaded(weights[key]));
        table.rows.push(row);
    }
    table
}

/// Who may see whom.
pub(super) fn mask(seen: &Seen<'_>) -> Section {
    let n = seen.len();
    let mut section = Section::new("The causal mask: nobody looks ahead");
    let visible: usize = (0..n).map(|query| query + 1 - first_seen(seen, query)).sum();
    section.say(format!(
        "All {n} × {n} = {} pairs have a score, but a token that is to predict the next one must not see \
         it: scores of later tokens become −∞, and −∞ has no share in a softmax. {visible} pairs are \
         left.",
        n * n
    ));
    if let Some(window) = seen.attention.window {
        section.say(format!(
            "This layer has a window as well: a query sees itself and at most {} tokens before it.",
            window - 1
        ));
    }
    // What a bias by distance would be of the future is nobody's to say.
    if seen.attention.softcap.is_none()
        && !matches!(seen.attention.position, Position::Alibi(_))
        && n > 1
    {
        section.say(format!(
            "Without the mask this head's queries would give {:.1}% of their weight to tokens that are not \
             said yet.",
            leaked(seen) * 100.0
        ));
    }
    let labels: Vec<String> = (0..n).map(|at| seen.bare(at)).collect();
    let title = format!("head {}.{}: queries run down, keys to the right", seen.layer, seen.head);
    let notes = [LayerView::of(seen.spec, seen.layer).describe()];
    if let Ok(picture) = svg(&seen.map(), &labels, &title, &notes) {
        section.parts.push(Part::Picture(picture));
    }
    section
}

/// The share of all queries' weight that would go to later keys.
fn leaked(seen: &Seen<'_>) -> f64 {
    let n = seen.len();
    let of = |query: usize| -> f64 {
        let first = first_seen(seen, query);
        let scores = (first..n).map(|key| dot(&seen.q_pos[query], &seen.k_pos[key]));
        let scores: Vec<f64> = scores.map(|x| x * seen.attention.scale).collect();
        softmax(&scores)[query + 1 - first..].iter().sum()
    };
    (0..n).map(of).sum::<f64>() / n as f64
}

/// The softmax, and that its rows are whole.
pub(super) fn weights(seen: &Seen<'_>, limits: &Limits) -> Section {
    let mut section = Section::new(format!("Weights: where {} looks", seen.label(seen.token)));
    section.say(
        "The softmax makes weights of scores: each is exp(score) divided by the sum of all of them, so \
         none is negative and they are 1 together.",
    );
    let row = seen.row();
    let mut keys: Vec<usize> = (0..row.len()).collect();
    keys.sort_by(|a, b| row[*b].total_cmp(&row[*a]));
    let mut bars: Vec<(String, f64)> =
        keys.iter().take(8).map(|key| (format!("{key} {}", seen.bare(*key)), row[*key])).collect();
    let others: f64 = keys.iter().skip(8).map(|key| row[*key]).sum();
    if keys.len() > 8 {
        bars.push((format!("{} others", keys.len() - 8), others));
    }
    let sum: f64 = row.iter().sum();
    if seen.attention.sinks {
        bars.push(("the learned sink".into(), 1.0 - sum));
        section.say(
            "This model has one more score in every softmax, a learned sink, to which no token belongs: \
             what it takes is missing from the weights.",
        );
    }
    section.parts.push(Part::Bars(bars));
    let expected = softmax(&Products::of(seen).run);
    if !seen.attention.sinks {
        let first = first_seen(seen, seen.token);
        let off = expected.iter().zip(&row[first..]).map(|(a, b)| (a - b).abs());
        section.check("the softmax of the scores is the run's weights", most_of(off), limits.exact);
    }
    let what = match seen.attention.sinks {
        true => "no row of any head of this layer is more than 1 together",
        false => "every row of every head of this layer is 1 together",
    };
    section.check(what, seen.row_sums, limits.exact);
    section
}
