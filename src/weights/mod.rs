//! Bytes on disk to named parameters. It knows no family: a name table is handed to it.

mod param;

pub use param::{Entry, Layout, Names, Param, plain, stored};
