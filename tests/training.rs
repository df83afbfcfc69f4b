//! Does training train what it should? Every parameter has a gradient, runs are equal where they
//! should be, what is written can be read, and bad input is told.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod common;

#[path = "training/data.rs"]
mod data;
#[path = "training/faults.rs"]
mod faults;
#[path = "training/runs.rs"]
mod runs;
#[path = "training/seam.rs"]
mod seam;
