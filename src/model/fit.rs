//! A description made to fit what is stored and what is asked for. No tensor is read.

use super::Opened;
use super::options::LoadOptions;
use crate::error::{Error, Result};
use crate::spec::{AbsolutePosition, Spec};
use crate::weights::{Adaptation, Checkpoint, Names, Param};

impl Opened {
    /// Which tensor is which parameter.
    pub fn names(&self) -> &'static Names {
        self.names
    }

    /// Made to fit its tensors and the options.
    pub(super) fn fitted(mut self, options: &LoadOptions) -> Result<Self> {
        let spec = &mut self.described.spec;
        tie(spec, &self.checkpoint, self.names);
        self.adaptations = adapt(spec, &mut self.checkpoint, self.names, options)?;
        extend(spec, options.max_seq_len)?;
        Ok(self)
    }

    /// What the user should know about how it was put together.
    pub fn notices(&self) -> impl Iterator<Item = String> {
        self.adaptations.iter().filter_map(|adaptation| adaptation.notice(&self.name))
    }
}

/// A head that is not stored is the embedding's matrix, whatever the configuration says.
fn tie(spec: &mut Spec, checkpoint: &Checkpoint, names: &Names) {
    let heads = names.entries.iter().filter(|entry| entry.param == Param::Head);
    let mut stored = heads.flat_map(|entry| {
        names.prefixes.iter().map(move |prefix| format!("{prefix}{}.weight", entry.name))
    });
    if !stored.any(|name| checkpoint.tensor(&name).is_some()) {
        spec.head.tied = true;
    }
}

/// Adds the adapters that are asked for; one that gives the head a matrix of its own unties it.
fn adapt(
    spec: &mut Spec,
    checkpoint: &mut Checkpoint,
    names: &Names,
    options: &LoadOptions,
) -> Result<Vec<Adaptation>> {
    let mut adaptations = Vec::new();
    for folder in &options.adapters {
        let adaptation = checkpoint.adapt(folder, names, options.allow_unknown_keys)?;
        spec.head.tied &= !adaptation.untied;
        adaptations.push(adaptation);
    }
    Ok(adaptations)
}

/// Other positions than the configuration says, where the model is not bound to a table.
fn extend(spec: &mut Spec, max_seq_len: Option<usize>) -> Result<()> {
    let Some(wanted) = max_seq_len else { return Ok(()) };
    let learned = matches!(spec.embedding.position, AbsolutePosition::Learned { .. });
    if learned && wanted != spec.max_seq_len {
        let problem = format!("the model's table of positions has {} rows", spec.max_seq_len);
        return Err(Error::request("context", problem));
    }
    if wanted == 0 {
        return Err(Error::request("context", "0 positions hold no token"));
    }
    spec.max_seq_len = wanted;
    Ok(())
}
