//! From a recipe to what a run begins with: data as tokens, a tokenizer, and a model that fits it.
//! Nothing is learned yet.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::corpus::Corpus;
use super::documents::{self, Document};
use super::export::{Files, Lexicon};
use super::init::fresh;
use super::recipe::Recipe;
use super::variables::Variables;
use crate::error::{Error, Result};
use crate::family;
use crate::model::{LoadOptions, Opened};
use crate::text::{ChatTemplate, Tokenizer};
use crate::weights::hub::Progress;

/// What a run begins with.
#[derive(Debug)]
pub struct Start {
    /// The model's numbers.
    pub variables: Variables,
    /// What is learned from.
    pub train: Corpus,
    /// What is measured with.
    pub valid: Corpus,
    /// What an exported folder holds besides weights.
    pub files: Files,
}

/// `initializer_range` where the configuration has none, as in transformers.
const RANGE: f64 = 0.02;

/// Makes everything ready that the recipe names.
///
/// # Errors
/// Whatever is wrong with the recipe's files, by name; data that is too small; a sequence longer
/// than the model's context; a vocabulary that does not fit.
pub fn begin(recipe: &Recipe, threads: usize, progress: &mut dyn Progress) -> Result<Start> {
    let opened = match &recipe.from {
        Some(name) => Some(Opened::find(name, &LoadOptions::default(), progress)?),
        None => None,
    };
    let (folder, template) = lexicon(recipe, opened.as_ref())?;
    let (train, valid) = data(recipe, template.as_ref())?;
    let lexicon = match folder {
        Some(folder) => Lexicon::Folder(folder),
        None => Lexicon::Made(Box::new(learned(recipe, &train)?)),
    };
    let tokenizer = lexicon.tokenizer()?;
    let (variables, config) = match &opened {
        Some(opened) => (tuned(recipe, opened)?, opened.config.clone()),
        None => new(recipe, &tokenizer)?,
    };
    fits(recipe, &variables, &tokenizer)?;
    let corpus = |documents: &[Document], name: &str| -> Result<Corpus> {
        let corpus = Corpus::new(documents, &tokenizer, recipe.seq_len, threads, name)?;
        if opened.is_none() {
            fills_a_row(&corpus, recipe.seq_len, name)?;
        }
        Ok(corpus)
    };
    let generation = match &opened {
        Some(opened) => opened.generation_config.clone(),
        None => Map::new(),
    };
    Ok(Start {
        train: corpus(&train, "train")?,
        valid: corpus(&valid, "valid")?,
        files: Files::new(recipe, config, generation, &tokenizer, lexicon),
        variables,
    })
}

/// What is trained of a model that is there already.
fn tuned(recipe: &Recipe, opened: &Opened) -> Result<Variables> {
    match &recipe.lora {
        Some(lora) => Variables::adapter(opened, lora, recipe.seed),
        None => Variables::of(opened),
    }
}

/// A new model wants more than a few examples, which are enough for one that has learned before.
fn fills_a_row(corpus: &Corpus, seq_len: usize, name: &str) -> Result<()> {
    let found = corpus.tokens();
    if found > seq_len {
        return Ok(());
    }
    let problem = format!("the data is too small: {found} tokens; a row takes {}", seq_len + 1);
    Err(Error::request(name, problem))
}

/// The folder whose tokenizer is used, where one exists already, and its chat template.
fn lexicon(
    recipe: &Recipe,
    opened: Option<&Opened>,
) -> Result<(Option<PathBuf>, Option<ChatTemplate>)> {
    let folder = match (&recipe.tokenizer, opened) {
        (None, Some(opened)) => opened.checkpoint.folder().to_path_buf(),
        (Some(name), None) if !["bpe", "characters"].contains(&name.as_str()) => name.into(),
        (Some(_), None) => return Ok((None, None)),
        (Some(_), Some(_)) => {
            let problem = "a model that goes on (`from`) keeps its own";
            return Err(Error::request("tokenizer", problem));
        }
        (None, None) => {
            let problem = "say `bpe` (with `vocab_size`), `characters`, or a folder that has one";
            return Err(Error::request("tokenizer", problem));
        }
    };
    let template = ChatTemplate::from_folder(&folder)?;
    Ok((Some(folder), template))
}

/// The documents to learn from and to measure with.
fn data(
    recipe: &Recipe,
    template: Option<&ChatTemplate>,
) -> Result<(Vec<Document>, Vec<Document>)> {
    let mut train = documents::read(recipe.train.list(), recipe.documents, template)?;
    if let Some(valid) = &recipe.valid {
        return Ok((train, documents::read(valid.list(), None, template)?));
    }
    if let [Document { parts, .. }] = &mut train[..]
        && let [(text, _)] = &mut parts[..]
    {
        // One long text: its end.
        let mut at = (text.len() as f64 * (1.0 - recipe.valid_share)) as usize;
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let rest = text.split_off(at);
        return Ok((train, vec![Document::of(rest)]));
    }
    if train.len() == 1 {
        let problem = "one example cannot be learned from and measured with: give more, or `valid`";
        return Err(Error::request("train", problem));
    }
    let held = (train.len() as f64 * recipe.valid_share).ceil() as usize;
    let valid = train.split_off(train.len() - held.clamp(1, train.len() - 1));
    Ok((train, valid))
}

/// A tokenizer made of the training data.
fn learned(recipe: &Recipe, train: &[Document]) -> Result<Tokenizer> {
    let texts = train.iter().flat_map(Document::texts);
    // One long text has no end that could be learned.
    let end = train.len() > 1;
    match (recipe.tokenizer.as_deref(), recipe.vocab_size) {
        (Some("characters"), None) => Tokenizer::of_characters(texts, end),
        (Some("characters"), Some(_)) => Err(Error::request(
            "vocab_size",
            "there are as many tokens as characters; leave it out",
        )),
        (_, Some(size)) => {
            // So much text is enough, and more takes memory.
            const ENOUGH: usize = 60_000_000;
            let mut bytes = 0;
            let some = texts.take_while(move |text| {
                bytes += text.len();
                bytes - text.len() < ENOUGH
            });
            Tokenizer::learn_bpe(some.collect::<Vec<_>>().into_iter(), size, end)
        }
        (_, None) => Err(Error::request("vocab_size", "say how many tokens the new `bpe` has")),
    }
}

/// A new model of the recipe's shape, and its configuration.
fn new(recipe: &Recipe, tokenizer: &Tokenizer) -> Result<(Variables, Map<String, Value>)> {
    let path = recipe.model.as_deref().unwrap_or(Path::new("config.json"));
    let bytes = std::fs::read(path).map_err(|e| Error::file(path, e))?;
    let mut config: Map<String, Value> = serde_json::from_slice(&bytes)
        .map_err(|e| Error::file(path, format!("is no JSON object: {e}")))?;
    config.entry("vocab_size").or_insert_with(|| tokenizer.vocab_size().into());
    let id = |id: Option<u32>| id.map_or(Value::Null, Value::from);
    config.insert("bos_token_id".into(), id(tokenizer.bos_id()));
    config.insert("eos_token_id".into(), id(tokenizer.eos_ids().first().copied()));
    let described = family::describe(&config, &path.display().to_string(), false)?;
    let range = config.get("initializer_range").and_then(Value::as_f64).unwrap_or(RANGE);
    let variables = fresh(&described.spec, described.family.names, range, recipe.seed)?;
    Ok((variables, config))
}

fn fits(recipe: &Recipe, variables: &Variables, tokenizer: &Tokenizer) -> Result<()> {
    let spec = variables.spec();
    if recipe.seq_len > spec.max_seq_len {
        let problem = format!(
            "{} tokens are more than the model's {} positions",
            recipe.seq_len, spec.max_seq_len
        );
        return Err(Error::request("seq_len", problem));
    }
    if tokenizer.vocab_size() > spec.vocab_size {
        let problem = format!(
            "the tokenizer has {} tokens, the model {}: make `vocab_size` of both the same",
            tokenizer.vocab_size(),
            spec.vocab_size
        );
        return Err(Error::request("vocab_size", problem));
    }
    Ok(())
}
