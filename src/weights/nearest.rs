//! The names most like one that is missing. For error messages only.

/// How many are worth showing.
const SHOWN: usize = 3;

/// The names among `present` that are most like any of `tried`, best first.
pub(super) fn nearest<'a>(tried: &[String], present: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut scored: Vec<(usize, &str)> = present
        .map(|name| (tried.iter().map(|t| distance(t, name)).min().unwrap_or(usize::MAX), name))
        .collect();
    scored.sort();
    scored.into_iter().take(SHOWN).map(|(_, name)| name.to_string()).collect()
}

/// Edits that turn `a` into `b` (Levenshtein), names cut at a length no real one has.
fn distance(a: &str, b: &str) -> usize {
    const LONGEST: usize = 128;
    let a: Vec<char> = a.chars().take(LONGEST).collect();
    let mut row: Vec<usize> = (0..=a.len()).collect();
    for (i, y) in b.chars().take(LONGEST).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, x) in a.iter().enumerate() {
            let replaced = diagonal + usize::from(*x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[a.len()]
}
