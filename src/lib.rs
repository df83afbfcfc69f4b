//! A decoder-only transformer on candle: Hugging Face and GGUF checkpoints in, text out, with
//! every activation open to look at.
//!
//! There is one decoder. A family is a value that describes it:
//! `config.json` → `family::<name>` → [`spec::Spec`] → [`nn::Decoder`] → logits.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")
)]

pub mod error;
pub mod spec;

pub mod kernels;
pub mod text;

pub mod weights;

pub mod family;
pub mod nn;

pub mod model;

pub mod bench;
pub mod generate;
pub mod inspect;
pub mod parity;
pub mod train;

#[doc(hidden)]
pub mod cli;

pub use error::{Error, Result};
