//! Bytes on disk to named parameters. It knows no family: a name table is handed to it.

mod param;
mod stub;

pub use param::{Entry, Layout, Names, Param, plain, stored};
pub use stub::*;
