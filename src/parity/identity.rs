//! Is a reference one of this model, this prompt, this tokenizer? It compares no activation.

use std::collections::HashMap;

use super::trace::Trace;
use crate::error::{Error, Result};
use crate::model::Model;

/// What a trace says it was made from, in the words of its metadata.
const FINGERPRINT: &str = "fingerprint";
const MODEL_TYPE: &str = "model_type";
const PROMPT: &str = "prompt";

/// What was found about where a reference comes from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Identity {
    /// What is odd, and no reason to stop.
    pub notes: Vec<String>,
    /// The beginning of the text is there once too often, or not at all: the one fault that shows
    /// in the ids.
    pub bos: Option<String>,
}

/// Refuses a reference of another model, prompt or tokenizer; with `force`, another checkpoint is
/// only noted.
///
/// # Errors
/// [`Error::Request`], saying what the reference was made for.
pub fn identify(
    model: &Model,
    theirs: &Trace,
    prompt: Option<&str>,
    force: bool,
) -> Result<Identity> {
    let mut identity = Identity::default();
    let refuse = |what: &str, problem: String| Err(Error::request(what, problem));
    let said = |key: &str| theirs.metadata.get(key).map(String::as_str);
    if let Some(kind) = said(MODEL_TYPE).filter(|kind| *kind != model.family) {
        let problem = format!(
            "was made for a {kind}{}, and {} is a {}",
            by(theirs),
            model.name,
            model.family
        );
        return refuse("the reference", problem);
    }
    let ours = model.checkpoint().fingerprint()?;
    let other = match said(FINGERPRINT) {
        None => Some("carries no fingerprint, so nothing says which model it is of".to_string()),
        Some(theirs_is) if theirs_is != ours => Some(format!(
            "was made from other files{} (fingerprint {}…, {} has {}…): another model, revision or \
             configuration",
            by(theirs),
            short(theirs_is),
            model.name,
            short(&ours)
        )),
        Some(_) => None,
    };
    match other {
        Some(problem) if force => identity.notes.push(format!("the reference {problem}")),
        Some(problem) => {
            return refuse("the reference", problem + "; --force compares them all the same");
        }
        None => {}
    }
    if let (Some(asked), Some(made)) = (prompt, said(PROMPT))
        && asked != made
    {
        return refuse("the reference", format!("was made for the prompt {made:?}, not {asked:?}"));
    }
    tokens(model, theirs, &mut identity)?;
    Ok(identity)
}

/// The tokenizer must make the reference's ids of the reference's prompt.
fn tokens(model: &Model, theirs: &Trace, identity: &mut Identity) -> Result<()> {
    let prompt = theirs.metadata.get(PROMPT).filter(|prompt| !prompt.is_empty());
    let (Some(prompt), Some(tokenizer)) = (prompt, &model.tokenizer) else { return Ok(()) };
    let (ours, row) = (tokenizer.encode(prompt, true)?, theirs.ids.first());
    let row = row.map(Vec::as_slice).unwrap_or_default();
    if ours == row {
        return Ok(());
    }
    if let Some(bos) = tokenizer.bos_id() {
        let begins = |ids: &[u32]| ids.iter().take_while(|id| **id == bos).count();
        let (mine, other) = (begins(&ours), begins(row));
        if ours[mine..] == row[other..] {
            let word = |n: usize| match n {
                0 => "no BOS".to_string(),
                1 => "one BOS".to_string(),
                2 => "a doubled BOS".to_string(),
                n => format!("{n} BOS"),
            };
            let (theirs, ours) = (word(other), word(mine));
            identity.bos =
                Some(format!("the reference begins with {theirs}, this tokenizer with {ours}"));
            return Ok(());
        }
    }
    let at = ours.iter().zip(row).take_while(|(a, b)| a == b).count();
    let word = |ids: &[u32]| {
        let id = |id: &u32| format!("{id} ({:?})", tokenizer.token_text(*id));
        ids.get(at).map_or("nothing".to_string(), id)
    };
    let problem = format!(
        "was made with another tokenizer: of {prompt:?} it makes {} in place {at}, this one {}",
        word(row),
        word(&ours)
    );
    Err(Error::request("the reference", problem))
}

/// What the reference calls its model.
fn by(theirs: &Trace) -> String {
    theirs.metadata.get("model").map(|name| format!(" ({name})")).unwrap_or_default()
}

fn short(fingerprint: &str) -> String {
    fingerprint.chars().take(12).collect()
}

/// What a trace of `model` says about itself.
///
/// # Errors
/// A checkpoint that cannot be read.
pub fn stamp(model: &Model, prompt: Option<&str>) -> Result<HashMap<String, String>> {
    let dtype = model.decoder.dtype().as_str();
    Ok(HashMap::from([
        (FINGERPRINT.into(), model.checkpoint().fingerprint()?),
        (MODEL_TYPE.into(), model.family.clone()),
        (PROMPT.into(), prompt.unwrap_or_default().into()),
        ("model".into(), model.name.rsplit('/').next().unwrap_or_default().into()),
        ("dtype".into(), dtype.into()),
        ("taper".into(), env!("CARGO_PKG_VERSION").into()),
    ]))
}
