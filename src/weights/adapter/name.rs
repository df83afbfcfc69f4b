//! From PEFT's tensor names to the modules of the base, and from these to the tensors that a
//! checkpoint stores. It reads no tensor.

use super::super::param::{Entry, Layout, Names, Param};

/// What a tensor of an adapter is to its module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Piece {
    /// (rank, in).
    A,
    /// (out, rank).
    B,
    /// (rank, rows) of an embedding.
    EmbeddingA,
    /// (dim, rank) of an embedding.
    EmbeddingB,
    /// In the place of the base's weight.
    Weight,
    /// In the place of the base's bias.
    Bias,
}

/// What stands before every name.
const PREFIX: &str = "base_model.model.";

/// What stands behind the module's name; longer ones first.
const SUFFIXES: [(&str, Piece); 8] = [
    (".lora_A.weight", Piece::A),
    (".lora_B.weight", Piece::B),
    (".lora_embedding_A", Piece::EmbeddingA),
    (".lora_embedding_B", Piece::EmbeddingB),
    (".base_layer.weight", Piece::Weight),
    (".base_layer.bias", Piece::Bias),
    (".weight", Piece::Weight),
    (".bias", Piece::Bias),
];

/// The module of a tensor's name, and which piece it is.
pub(super) fn split(name: &str) -> Option<(&str, Piece)> {
    let path = name.strip_prefix(PREFIX)?;
    let (module, piece) =
        SUFFIXES.iter().find_map(|(suffix, piece)| Some((path.strip_suffix(suffix)?, *piece)))?;
    // `lora_B.bias`, a vector's DoRA and the like end as plainly as a module does.
    (!module.contains(".lora_") && !module.contains("modules_to_save")).then_some((module, piece))
}

/// A module of the base that has a matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Its name in transformers.
    pub path: String,
    /// What lies in its matrix.
    pub params: Vec<Param>,
    /// The matrix is stored (in, out).
    pub turned: bool,
}

impl Module {
    /// The name of one of its tensors in an adapter, `lora_A` or `lora_B`.
    pub fn peft(&self, piece: &str) -> String {
        format!("{PREFIX}{}.{piece}.weight", self.path)
    }

    /// What its name has behind the layer's number: the same in every layer.
    pub fn end(&self) -> &str {
        let number = |part: &str| part.parse::<usize>().is_ok();
        let mut at = 0;
        for part in self.path.split('.') {
            at += part.len() + 1;
            if number(part) {
                return self.path.get(at..).unwrap_or(&self.path);
            }
        }
        &self.path
    }
}

impl Names {
    /// The module whose matrix a checkpoint stores under this name.
    pub fn module(&self, tensor: &str) -> Option<Module> {
        let (found, rest) = entry(self, tensor.strip_suffix(".weight")?)?;
        let params = self.entries.iter().filter(|e| e.name == found.name && e.weight == ".weight");
        let params: Vec<Param> = params.map(|entry| entry.param).collect();
        let prefix = self.prefixes.first()?;
        let path = format!("{prefix}{rest}");
        (!params.is_empty()).then_some(Module { path, params, turned: is_turned(found.layout) })
    }
}

/// Whether a matrix lies (in, out).
pub(super) fn is_turned(layout: Layout) -> bool {
    matches!(layout, Layout::Transposed | Layout::FusedQkvTransposed)
}

/// The line of the table that a module is, and its name without the prefix.
pub(super) fn entry<'a>(names: &'a Names, module: &'a str) -> Option<(&'a Entry, &'a str)> {
    names.prefixes.iter().find_map(|prefix| {
        let rest = module.strip_prefix(prefix)?;
        Some((names.entries.iter().find(|entry| fits(entry.name, rest))?, rest))
    })
}

/// Whether a name is what a pattern with `{}`, `{e}` and `{h}` gives for some numbers.
fn fits(pattern: &str, name: &str) -> bool {
    let (mut patterns, mut names) = (pattern.split('.'), name.split('.'));
    loop {
        match (patterns.next(), names.next()) {
            (None, None) => return true,
            (Some("{}" | "{e}" | "{h}"), Some(part)) if part.parse::<usize>().is_ok() => {}
            (Some(pattern), Some(part)) if pattern == part => {}
            _ => return false,
        }
    }
}
