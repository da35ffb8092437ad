//! What the `throng` command does, as a library, so that tests and doc tests reach it.
//!
//! - [`cli`]: the command line, and which exit code means what;
//! - [`tour`]: short examples of the runtime that print their own source and then run;
//! - [`digest`]: file digests of whole trees, through a pipeline of goroutines.

#![forbid(unsafe_code)]

pub mod cli;
pub mod digest;
pub mod tour;
