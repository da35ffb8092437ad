//! Attributes and the `select!` macro of throng.
