//! `taper heads`.

use std::io::Write;
use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::interrupt;
use super::options::ModelArgs;
use super::text::{writable, write};
use crate::error::{Error, Result};
use crate::inspect::{Instead, Questions, Survey, document, ranking, survey};
use crate::model::Model;

/// Lines of a table where nobody said how many.
const LINES: usize = 20;

/// Show what each head does, by texts whose right answer is known, and what it is worth.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Another checkpoint, to compare head by head
    #[arg(long, value_name = "MODEL")]
    against: Option<String>,
    /// Tokens of the run that is said twice
    #[arg(long, default_value_t = 40, value_name = "N")]
    period: usize,
    /// Texts
    #[arg(long, default_value_t = 3, value_name = "N")]
    texts: usize,
    /// The same seed gives the same texts
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
    /// How much the loss on a text grows without each head
    #[arg(long, value_enum, value_name = "INSTEAD", num_args = 0..=1, default_missing_value = "zero", require_equals = true)]
    ablate: Option<With>,
    /// Take heads away one after another, the least worth first and at random (implies --ablate)
    #[arg(long)]
    curve: bool,
    /// The text for that, or its file after an @ [default: a few lines about attention]
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// Sort by a score: induction, previous, duplicate, sink, local, entropy, loss or place
    #[arg(long, default_value = "induction", value_name = "SCORE")]
    sort: String,
    /// Lines to show; 0 shows all
    #[arg(long, default_value_t = LINES, value_name = "N")]
    lines: usize,
    /// Everything as JSON
    #[arg(long)]
    json: bool,
    /// Every score of every head, and the curves, as a page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// What is put in a head's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum With {
    /// Nothing
    Zero,
    /// Its mean output over the text
    Mean,
}

/// What a text of ours says, where the caller has none.
const TEXT: &str = "A reader does not look at every word of a page alike. To know what \"it\" means \
    in \"The animal did not cross the street because it was too tired\", one looks back at \"the \
    animal\", and if the last word were \"wide\" one would look at \"the street\" instead. An \
    attention head does the same with numbers: each word asks a question, each earlier word offers \
    an answer, and the better the two fit, the more of what that word carries is taken along. Some \
    heads only look at the word before. Some look for the last time that this word was said, and \
    then at what came after it. Many look at the first word of all when they have nothing to say.";

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let columns = columns(&args);
    if !columns.iter().any(|column| *column == args.sort) && args.sort != "place" {
        let problem = format!("`{}` is none of {} and place", args.sort, columns.join(", "));
        return Err(Error::request("--sort", problem).into());
    }
    args.html.iter().try_for_each(|path| writable(path))?;
    interrupt::watch()?;
    let mut found = vec![ask(&args, &args.model)?];
    if let Some(other) = &args.against {
        let other =
            ModelArgs { model: Some(other.clone()), adapter: Vec::new(), ..args.model.clone() };
        found.push(ask(&args, &other)?);
    }
    if let Some(path) = &args.html {
        write(path, document::html(&ranking(&found)).as_bytes(), &args.model)?;
    }
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &json!({ "checkpoints": found }))?;
        writeln!(out)?;
        return Ok(());
    }
    table(&mut out, &args, &found)?;
    found.iter().try_for_each(|found| curves(&mut out, found))?;
    Ok(())
}

/// The scores that a table has.
fn columns(args: &Args) -> Vec<&'static str> {
    let mut columns = vec!["induction", "previous", "duplicate", "sink", "local", "entropy"];
    if args.ablate.is_some() || args.curve {
        columns.push("loss");
    }
    columns
}

/// Surveys one checkpoint, with a bar.
fn ask(args: &Args, model: &ModelArgs) -> anyhow::Result<Survey> {
    let model_args = model;
    let model = model.load()?;
    let ablate = args.ablate.or(args.curve.then_some(With::Zero));
    let questions = Questions {
        period: args.period,
        texts: args.texts,
        seed: args.seed,
        ablate: ablate.map(|with| match with {
            With::Zero => Instead::Zero,
            With::Mean => Instead::Mean,
        }),
        curve: args.curve,
        text: if ablate.is_some() { text(args, &model)? } else { Vec::new() },
    };
    let bar = match model_args.quiet {
        true => ProgressBar::hidden(),
        false => ProgressBar::new(questions.steps(&model) as u64),
    };
    if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} {eta}") {
        bar.set_style(style);
    }
    bar.set_prefix(model.name.clone());
    let found = survey(&model, &questions, &mut || {
        bar.inc(1);
        match interrupt::asked() {
            true => Err(Error::request("survey", "interrupted before it was done")),
            false => Ok(()),
        }
    })?;
    bar.finish_and_clear();
    Ok(found)
}

/// The text that losses are of, as tokens.
fn text(args: &Args, model: &Model) -> Result<Vec<u32>> {
    let text = match &args.text {
        Some(text) => match text.strip_prefix('@') {
            Some(file) => {
                std::fs::read_to_string(file).map_err(|error| Error::file(file, error))?
            }
            None => text.clone(),
        },
        None => TEXT.into(),
    };
    match &model.tokenizer {
        Some(tokenizer) => tokenizer.encode(&text, true),
        None => Err(Error::Tokenizer("the model has none, and so no loss on a text".into())),
    }
}

/// A line a head, sorted; of two checkpoints their values side by side.
fn table(out: &mut impl Write, args: &Args, found: &[Survey]) -> std::io::Result<()> {
    let columns = columns(args);
    let values = |survey: &Survey, at: usize| -> Vec<f64> {
        let Some(head) = survey.heads.get(at) else { return vec![f64::NAN; columns.len()] };
        let scores = head.scores.named().map(|(_, value)| value);
        scores.into_iter().chain(survey.worths.get(at).map(|worth| worth.loss)).collect()
    };
    let first = &found[0];
    let mut order: Vec<usize> = (0..first.heads.len()).collect();
    if let Some(by) = columns.iter().position(|column| *column == args.sort) {
        order.sort_by(|a, b| values(first, *b)[by].total_cmp(&values(first, *a)[by]));
    }
    for survey in found {
        let loss = survey.loss.map(|loss| format!(": loss {loss:.4} nats a token"));
        writeln!(out, "{}{}", survey.name, loss.unwrap_or_default())?;
    }
    write!(out, "  head")?;
    let width = if found.len() > 1 { 17 } else { 10 };
    columns.iter().try_for_each(|column| write!(out, " {column:>width$}"))?;
    writeln!(out)?;
    let shown = if args.lines == 0 { order.len() } else { args.lines.min(order.len()) };
    for at in &order[..shown] {
        let head = &first.heads[*at];
        write!(out, "{:>6}", format!("{}.{}", head.layer, head.head))?;
        let rows: Vec<Vec<f64>> = found.iter().map(|survey| values(survey, *at)).collect();
        for column in 0..columns.len() {
            let cells = rows.iter().map(|row| number(columns[column], row[column]));
            write!(out, " {:>width$}", cells.collect::<Vec<_>>().join(" "))?;
        }
        writeln!(out)?;
    }
    match order.len() - shown {
        0 => Ok(()),
        more => writeln!(out, "{more} more; --lines 0 shows all"),
    }
}

fn number(column: &str, value: f64) -> String {
    match column {
        "loss" => format!("{value:+.4}"),
        _ => format!("{value:.3}"),
    }
}

/// Loss against heads gone, a line a place, with bars to compare.
fn curves(out: &mut impl Write, found: &Survey) -> std::io::Result<()> {
    let losses = found.curves.iter().flat_map(|curve| curve.points.iter().map(|point| point.1));
    let most = losses.fold(f64::MIN_POSITIVE, f64::max);
    for curve in &found.curves {
        writeln!(out, "\n{}: heads gone, {}", found.name, curve.order)?;
        for (gone, loss) in &curve.points {
            let bar = "█".repeat((loss / most * 48.0).round().clamp(0.0, 48.0) as usize);
            writeln!(out, "{gone:>6} {loss:>9.4} {bar}")?;
        }
    }
    Ok(())
}
