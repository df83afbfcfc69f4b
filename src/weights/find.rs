//! From a parameter to the tensor that holds it: the names a table gives, tried in order. It reads
//! no tensor.

use super::load::Weights;
use super::nearest::nearest;
use super::param::{Entry, Layout, Names, Owner, Param};
use crate::error::Error;

impl Weights<'_> {
    /// The tensor of a parameter's matrix (or factor), or of its bias.
    pub(super) fn find(&self, param: Param, owner: Owner, bias: bool) -> Option<(usize, Layout)> {
        self.candidates(param, owner, bias)
            .find_map(|(name, layout)| Some((self.checkpoint.position(&name)?, layout)))
    }

    /// The names under which a parameter may be stored, most usual first.
    fn candidates(
        &self,
        param: Param,
        owner: Owner,
        bias: bool,
    ) -> impl Iterator<Item = (String, Layout)> {
        let entries = self.names.entries.iter().filter(move |e| e.param == param);
        entries.flat_map(move |entry| self.candidates_of(entry, owner, bias))
    }

    /// The names that one line of the table gives.
    pub(super) fn candidates_of(
        &self,
        entry: &Entry,
        owner: Owner,
        bias: bool,
    ) -> Vec<(String, Layout)> {
        let number = |n: Option<usize>| n.map(|n| n.to_string()).unwrap_or_default();
        let Owner { layer, expert, head } = owner;
        let layer = number(layer.map(|layer| self.part.stored(layer)));
        let name = entry.name.replace("{}", &layer).replace("{e}", &number(expert));
        let name = name.replace("{h}", &number(head));
        let suffix = if bias { entry.bias } else { entry.weight };
        let layout = self.part.layout(entry.layout);
        let named = |prefix: &&str| (format!("{prefix}{name}{suffix}"), layout);
        self.names.prefixes.iter().map(named).collect()
    }

    /// A parameter that is a key of a GGUF's metadata.
    pub(super) fn keyed(&self, param: Param, owner: Owner) -> Option<f64> {
        let mut entries = self.names.entries.iter();
        let entry = entries.find(|e| e.param == param && e.layout == Layout::Key)?;
        let layer = self.part.stored(owner.layer?);
        self.checkpoint.gguf()?.f64s(entry.name)?.get(layer).copied()
    }

    pub(super) fn missing(&self, param: Param, owner: Owner, bias: bool) -> Error {
        let tried: Vec<String> = self.candidates(param, owner, bias).map(|(n, _)| n).collect();
        let present = self.checkpoint.tensors().map(|t| t.name.as_str());
        let what = if bias { "the bias of " } else { "" };
        Error::MissingTensor {
            origin: self.checkpoint.origin().into(),
            param: format!("{what}{param}{owner}"),
            nearest: nearest(&tried, present),
            tried,
        }
    }
}

/// Whether a name ends in one of the suffixes that are no parameters, at a dot.
pub(super) fn is_ignored(names: &Names, name: &str) -> bool {
    names.ignored.iter().any(|suffix| {
        name.strip_suffix(suffix)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.') || suffix.starts_with('.'))
    })
}
