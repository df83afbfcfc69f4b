//! Stop strings, which may begin in one token and end in another. It cuts text, and ends nothing.

/// Looks for stop strings in a text that comes in pieces.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    strings: Vec<String>,
    held: String,
}

impl Stop {
    pub(crate) fn new(strings: &[String]) -> Self {
        Self { strings: strings.to_vec(), held: String::new() }
    }

    /// Takes a piece; gives what can be said now, and whether a stop string came. Neither it nor
    /// what follows it is said. Held back is only an ending with which a stop string begins.
    pub(crate) fn push(&mut self, piece: &str) -> (String, bool) {
        self.held.push_str(piece);
        let found = self.strings.iter().filter_map(|string| self.held.find(string.as_str())).min();
        if let Some(at) = found {
            self.held.truncate(at);
            return (std::mem::take(&mut self.held), true);
        }
        let kept = self.strings.iter().map(|string| overlap(&self.held, string)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - kept);
        (std::mem::replace(&mut self.held, rest), false)
    }

    /// What was held back, when nothing more comes.
    pub(crate) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// Bytes of the longest ending of `text` with which `string` begins.
fn overlap(text: &str, string: &str) -> usize {
    let starts = string.char_indices().map(|(at, _)| at).skip(1);
    let longest = starts.filter(|at| text.ends_with(&string[..*at])).max();
    longest.unwrap_or(0)
}

#[cfg(test)]
mod tests;
