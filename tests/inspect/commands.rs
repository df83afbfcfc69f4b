//! The commands: what they print, and what they refuse.
