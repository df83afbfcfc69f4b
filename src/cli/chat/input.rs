//! Lines that somebody types, with editing and history, or that come through a pipe.

use std::io::{self, BufRead, IsTerminal};
use std::path::PathBuf;

use rustyline::config::{Behavior, Config};
use rustyline::error::ReadlineError;
use rustyline::{DefaultEditor, history::DefaultHistory};

/// Where lines come from.
pub(super) enum Input {
    /// A person at a terminal.
    Terminal { editor: Box<DefaultEditor>, history: Option<PathBuf> },
    /// A pipe or a file.
    Pipe(io::Lines<io::StdinLock<'static>>),
}

impl Input {
    /// The terminal where stdin is one.
    pub(super) fn new(quiet: bool) -> anyhow::Result<Self> {
        if !io::stdin().is_terminal() {
            return Ok(Self::Pipe(io::stdin().lock().lines()));
        }
        // The prompt is no product: where stdout goes elsewhere, it still goes to the terminal.
        let config = Config::builder().behavior(Behavior::PreferTerm).auto_add_history(true);
        let history = DefaultHistory::with_config(&config.clone().build());
        let mut editor = DefaultEditor::with_history(config.build(), history)?;
        let history = history_file();
        if let Some(file) = &history {
            match editor.load_history(file) {
                Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) if !quiet => eprintln!("no history: {}: {error}", file.display()),
                _ => {}
            }
        }
        Ok(Self::Terminal { editor: Box::new(editor), history })
    }

    pub(super) fn is_terminal(&self) -> bool {
        matches!(self, Self::Terminal { .. })
    }

    /// The next line; `None` at the end.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<String>> {
        match self {
            Self::Pipe(lines) => Ok(lines.next().transpose()?),
            Self::Terminal { editor, .. } => match editor.readline("> ") {
                Ok(line) => Ok(Some(line)),
                // Ctrl-C leaves the line, not the conversation.
                Err(ReadlineError::Interrupted) => Ok(Some(String::new())),
                Err(ReadlineError::Eof) => Ok(None),
                Err(error) => Err(error.into()),
            },
        }
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        if let Self::Terminal { editor, history: Some(file) } = self {
            let made = file.parent().map_or(Ok(()), std::fs::create_dir_all);
            // A history that cannot be kept is no failure of the conversation.
            let _ = made.map(|()| editor.save_history(file));
        }
    }
}

/// `$XDG_STATE_HOME/taper/history`, or under `~/.local/state`.
fn history_file() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    state.map(|state| state.join("taper").join("history"))
}
