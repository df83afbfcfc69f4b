//! From PEFT's tensor names to the modules of the base, and from these to the tensors that a
//! checkpoint stores. It reads no tensor.

use super::super::param::{Entry, Names};

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
