//! Enough of Rust's grammar to ask a source file what it names: tokens without comments, paths
//! resolved to the crate's root, and functions with their lengths. It knows no rule.

/// A word, a string's content or a mark; comments, lifetimes and characters are left out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) text: String,
    pub(crate) line: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Word,
    Text,
    Mark,
}

impl Token {
    pub(crate) fn is(&self, kind: Kind, text: &str) -> bool {
        self.kind == kind && self.text == text
    }
}

/// A source file: its path below `src/`, its text and its tokens.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) tokens: Vec<Token>,
}

impl Source {
    pub(crate) fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { path: path.into(), tokens: tokens(&text), text }
    }

    /// The module this file is: `nn/rope.rs` is `[nn, rope]`, `nn/mod.rs` is `[nn]`.
    pub(crate) fn module(&self) -> Vec<String> {
        let path = self.path.trim_end_matches(".rs");
        let mut parts: Vec<String> = path.split('/').map(str::to_string).collect();
        if parts.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
            parts.pop();
        }
        parts
    }

    /// Unit tests stand in `tests.rs` beside what they test.
    pub(crate) fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    pub(crate) fn words(&self) -> impl Iterator<Item = &Token> {
        self.tokens.iter().filter(|token| token.kind == Kind::Word)
    }

    /// Everything this file names from the crate's root, through `crate`, `super` or `self`, each
    /// as its parts and its line.
    pub(crate) fn paths(&self) -> Vec<(Vec<String>, usize)> {
        let (mut found, mut modules, mut depth, mut at) = (Vec::new(), Vec::new(), 0, 0);
        let mut module = self.module();
        let tokens = &self.tokens;
        while let Some(token) = tokens.get(at) {
            let after = |n: usize| tokens.get(at + n).map_or("", |t| t.text.as_str());
            match token.text.as_str() {
                "{" => depth += 1,
                "}" => {
                    depth -= 1;
                    if modules.last() == Some(&depth) {
                        modules.pop();
                        module.pop();
                    }
                }
                "mod" if token.kind == Kind::Word && after(2) == "{" => {
                    modules.push(depth);
                    module.push(after(1).to_string());
                }
                "crate" | "super" | "self" if token.kind == Kind::Word && after(1) == "::" => {
                    let mut start = module.clone();
                    match token.text.as_str() {
                        "crate" => start.clear(),
                        "super" => drop(start.pop()),
                        _ => {}
                    }
                    at = follow(tokens, at + 1, start, &mut found);
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
        found
    }

    /// Every function with a body: name, line, and lines from `fn` to the closing brace.
    pub(crate) fn functions(&self) -> Vec<(String, usize, usize)> {
        let named = self
            .tokens
            .windows(2)
            .enumerate()
            .filter(|(_, pair)| pair[0].is(Kind::Word, "fn") && pair[1].kind == Kind::Word);
        named
            .filter_map(|(at, pair)| {
                let end = body_end(&self.tokens[at..])?;
                Some((pair[1].text.clone(), pair[0].line, end - pair[0].line + 1))
            })
            .collect()
    }
}

/// Reads a use tree or a path after its first part; `at` stands on `::` or past the path.
fn follow(
    tokens: &[Token],
    mut at: usize,
    mut path: Vec<String>,
    found: &mut Vec<(Vec<String>, usize)>,
) -> usize {
    let line = tokens[at - 1].line;
    let text = |at: usize| tokens.get(at).map_or("", |t| t.text.as_str());
    while text(at) == "::" {
        match tokens.get(at + 1) {
            Some(next) if next.kind == Kind::Word => {
                step(&mut path, &next.text);
                at += 2;
            }
            Some(next) if next.text == "{" => {
                at += 2;
                while !["}", ""].contains(&text(at)) {
                    if tokens[at].kind == Kind::Word {
                        let mut part = path.clone();
                        step(&mut part, text(at));
                        at = follow(tokens, at + 1, part, found);
                        if text(at) == "as" {
                            at += 2;
                        }
                    } else {
                        if text(at) == "*" {
                            found.push((path.clone(), tokens[at].line));
                        }
                        at += 1;
                    }
                }
                return at + 1;
            }
            _ => break, // `::*` or a turbofish
        }
    }
    found.push((path, line));
    at
}

fn step(path: &mut Vec<String>, part: &str) {
    match part {
        "super" => drop(path.pop()),
        "self" => {}
        _ => path.push(part.to_string()),
    }
}

/// The line of the brace that closes the body which starts in these tokens; none without a body.
fn body_end(tokens: &[Token]) -> Option<usize> {
    let (mut parens, mut braces) = (0usize, 0usize);
    for token in tokens.iter().filter(|token| token.kind == Kind::Mark) {
        match token.text.as_str() {
            "(" | "[" => parens += 1,
            ")" | "]" => parens = parens.saturating_sub(1),
            "{" => braces += 1,
            "}" => {
                braces = braces.saturating_sub(1);
                if braces == 0 {
                    return Some(token.line);
                }
            }
            ";" if parens == 0 && braces == 0 => return None,
            _ => {}
        }
    }
    None
}

fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let (mut found, mut at, mut line) = (Vec::new(), 0, 1);
    while at < chars.len() {
        let (kind, end) = lex(&chars, at);
        let body: String = chars[at..end].iter().collect();
        let begun = line;
        line += body.matches('\n').count();
        if let Some(kind) = kind {
            found.push(Token { kind, text: body, line: begun });
        }
        at = end;
    }
    found
}

/// What starts at `at`, and where it ends.
fn lex(chars: &[char], at: usize) -> (Option<Kind>, usize) {
    let char_at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    match (char_at(at), char_at(at + 1)) {
        ('/', '/') => (None, until(chars, at, |i| char_at(i) == '\n')),
        ('/', '*') => (None, comment_end(chars, at)),
        ('"', _) => (Some(Kind::Text), string_end(chars, at + 1)),
        ('\'', c) if c == '\\' || char_at(at + 2) == '\'' => {
            let from = if c == '\\' { at + 3 } else { at + 2 };
            (None, until(chars, from, |i| char_at(i) == '\'') + 1)
        }
        ('\'', _) => (None, at + 1),
        (':', ':') => (Some(Kind::Mark), at + 2),
        (c, _) if is_word(c) => {
            let end = until(chars, at, |i| !is_word(char_at(i)));
            let word: String = chars[at..end].iter().collect();
            let hashes = until(chars, end, |i| char_at(i) != '#') - end;
            let quoted = char_at(end + hashes) == '"';
            if quoted && ["r", "br", "cr"].contains(&word.as_str()) {
                (Some(Kind::Text), raw_string_end(chars, end + hashes + 1, hashes))
            } else {
                (Some(Kind::Word), end)
            }
        }
        (c, _) if c.is_whitespace() => (None, at + 1),
        _ => (Some(Kind::Mark), at + 1),
    }
}

fn until(chars: &[char], from: usize, stop: impl Fn(usize) -> bool) -> usize {
    (from..chars.len()).find(|&i| stop(i)).unwrap_or(chars.len())
}

fn string_end(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

fn raw_string_end(chars: &[char], from: usize, hashes: usize) -> usize {
    let closes = |i: usize| {
        chars[i] == '"'
            && chars[i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes
    };
    (until(chars, from, closes) + 1 + hashes).min(chars.len())
}

fn comment_end(chars: &[char], from: usize) -> usize {
    let (mut depth, mut at) = (0usize, from);
    while at < chars.len() {
        match chars[at..].get(..2) {
            Some(['/', '*']) => (depth, at) = (depth + 1, at + 2),
            Some(['*', '/']) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}
