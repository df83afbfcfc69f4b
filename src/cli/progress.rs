//! Downloads as bars on stderr; plain lines where that is no terminal.

use std::io::IsTerminal;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use crate::weights::hub::Progress;

/// A bar for each file, or nothing at all when quiet.
pub(crate) struct Bars {
    quiet: bool,
    terminal: bool,
    bar: ProgressBar,
}

impl Bars {
    pub(crate) fn new(quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { quiet, terminal, bar: ProgressBar::hidden() }
    }
}

impl Progress for Bars {
    fn start(&mut self, file: &str, bytes: Option<u64>, have: u64) {
        if self.quiet {
            return;
        }
        if !self.terminal {
            let size = bytes.map_or(String::new(), |n| format!(" ({})", HumanBytes(n)));
            let rest =
                if have > 0 { format!(", from {} on", HumanBytes(have)) } else { String::new() };
            return eprintln!("downloading {file}{size}{rest}");
        }
        const STYLE: &str = "{prefix} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        self.bar.finish_and_clear();
        if bytes == Some(have) {
            return self.bar = ProgressBar::hidden(); // nothing is to come
        }
        // Of an unknown length it turns; a bar of 0 bytes would be full from the start.
        self.bar = match bytes {
            Some(bytes) => ProgressBar::new(bytes),
            None => ProgressBar::no_length(),
        };
        self.bar.set_prefix(file.to_string());
        if let Ok(style) = ProgressStyle::with_template(STYLE) {
            self.bar.set_style(style);
        }
        self.bar.set_position(have);
        self.bar.reset_eta();
    }

    fn advance(&mut self, bytes: u64) {
        self.bar.inc(bytes);
    }

    fn finish(&mut self) {
        self.bar.finish();
    }

    fn note(&mut self, text: &str) {
        if !self.quiet {
            self.bar.suspend(|| eprintln!("{text}"));
        }
    }
}
