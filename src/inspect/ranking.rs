//! What every head does and is worth, as a document: a grid a score, curves, and a table of all. It
//! measures nothing: see `survey.rs`.

use super::document::{Cell, Document, Part, Plot, Section, Table};
use super::survey::Survey;

/// What a score says, in the order of `Scores::named`.
const MEANINGS: [&str; 6] = [
    "share of the weight on the token after the query's earlier self: the head that completes a \
     repetition",
    "share of the weight on the token right before the query",
    "share of the weight on the query's earlier self",
    "share of the weight on the first token of all: where heads look that have nothing to say",
    "share of the weight on the query and the 7 tokens before it",
    "entropy of the weights, in nats: 0 looks at one token, ln n at n tokens alike",
];

/// `found` as a document; of two checkpoints everything is told of both.
pub fn ranking(found: &[Survey]) -> Document {
    let names: Vec<&str> = found.iter().map(|survey| survey.name.as_str()).collect();
    let mut document = Document {
        title: format!("What the heads do: {}", names.join(" and ")),
        lead: "Each head is shown random tokens said twice, so that the right answer is known. A \
               share is a mean over the queries of the second time. Rows are layers, columns heads."
            .into(),
        sections: Vec::new(),
    };
    let scores = found.first().and_then(|survey| survey.heads.first());
    for (at, (name, _)) in scores.iter().flat_map(|head| head.scores.named()).enumerate() {
        let mut section = Section::new(capital(name));
        section.say(format!("{}.", capital(MEANINGS[at])));
        for survey in found {
            let values = survey.heads.iter().map(|head| head.scores.named()[at].1);
            named(&mut section, survey, found.len());
            section.parts.push(Part::Table(grid(survey, &values.collect::<Vec<_>>())));
        }
        document.sections.push(section);
    }
    document.sections.extend(worth(found));
    document.sections.extend(curves(found));
    document.sections.push(all(found));
    document
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

/// Which checkpoint follows, where there are several.
fn named(section: &mut Section, survey: &Survey, of: usize) {
    if of > 1 {
        section.say(format!("{}:", survey.name));
    }
}

/// A row a layer, a column a head, coloured from nothing to the largest size.
fn grid(survey: &Survey, values: &[f64]) -> Table {
    let most = values.iter().fold(0f64, |most, value| most.max(value.abs())).max(1e-12);
    // Shares are coloured as they are: a small one does not look large.
    let most = if values.iter().all(|value| (0.0..=1.0).contains(value)) { 1.0 } else { most };
    let heads = survey.heads.iter().map(|head| head.head + 1).max().unwrap_or(0);
    let layers = survey.heads.iter().map(|head| head.layer + 1).max().unwrap_or(0);
    let mut table = Table { dense: true, ..Table::default() };
    let numbers = (0..heads).map(|head| head.to_string());
    table.columns = std::iter::once("layer".to_string()).chain(numbers).collect();
    for layer in 0..layers {
        let mut row = vec![Cell::new(layer.to_string())];
        row.resize(heads + 1, Cell::default());
        for (head, value) in survey.heads.iter().zip(values).filter(|(at, _)| at.layer == layer) {
            // What is below nothing has no colour.
            let share = (value / most).max(0.0);
            row[head.head + 1] = Cell::number(*value, 2).shaded(share);
        }
        table.rows.push(row);
    }
    table
}

fn worth(found: &[Survey]) -> Option<Section> {
    let mut section = Section::new("Worth");
    section.say(
        "How much the loss on the text grows, in nats a token, when this head alone is taken out. \
         Below 0 the text is predicted better without it.",
    );
    for survey in found.iter().filter(|survey| !survey.worths.is_empty()) {
        let loss = survey.loss.unwrap_or_default();
        section.say(format!("{}: {loss:.4} nats a token with every head.", survey.name));
        let values: Vec<f64> = survey.worths.iter().map(|worth| worth.loss).collect();
        let mut table = grid(survey, &values);
        for (row, cell) in table.rows.iter_mut().flat_map(|row| row.iter_mut().enumerate()) {
            if row > 0 && !cell.text.is_empty() && !cell.text.starts_with('-') {
                cell.text.insert(0, '+');
            }
        }
        section.parts.push(Part::Table(table));
    }
    (section.parts.len() > 1).then_some(section)
}

fn curves(found: &[Survey]) -> Option<Section> {
    let mut section = Section::new("One head rarely matters, many do");
    section.say(
        "Heads are taken out one after another, and stay out: those of least worth first, and in an \
         order drawn at random (Michel et al. 2019, 1905.10650).",
    );
    let lines = found.iter().flat_map(|survey| {
        survey.curves.iter().map(move |curve| {
            let name = match found.len() {
                1 => curve.order.to_string(),
                _ => format!("{}, {}", survey.name, curve.order),
            };
            (name, curve.points.iter().map(|(gone, loss)| (*gone as f64, *loss)).collect())
        })
    });
    let lines: Vec<(String, Vec<(f64, f64)>)> = lines.collect();
    let drawn = !lines.is_empty();
    section.parts.push(Part::Plot(Plot {
        across: "heads gone".into(),
        upwards: "loss, nats a token".into(),
        lines,
    }));
    drawn.then_some(section)
}

/// Every head in a row, the strongest inductions first.
fn all(found: &[Survey]) -> Section {
    let mut section = Section::new("All heads");
    for survey in found {
        named(&mut section, survey, found.len());
        let scores = survey.heads.first().map(|head| head.scores.named()).unwrap_or_default();
        let mut columns: Vec<&str> =
            std::iter::once("head").chain(scores.iter().map(|(name, _)| *name)).collect();
        if !survey.worths.is_empty() {
            columns.push("loss");
        }
        let mut table = Table::new(&columns);
        let mut order: Vec<usize> = (0..survey.heads.len()).collect();
        let by = |at: &usize| survey.heads[*at].scores.induction;
        order.sort_by(|a, b| by(b).total_cmp(&by(a)));
        for at in order {
            let head = &survey.heads[at];
            let mut row = vec![Cell::new(format!("{}.{}", head.layer, head.head))];
            for (name, value) in head.scores.named() {
                let shade = if name == "entropy" { 0.0 } else { value };
                row.push(Cell::number(value, 3).shaded(shade));
            }
            let worth = survey.worths.get(at).map(|worth| Cell::new(format!("{:+.4}", worth.loss)));
            row.extend(worth);
            table.rows.push(row);
        }
        section.parts.push(Part::Table(table));
    }
    section
}
