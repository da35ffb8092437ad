//! Cancel tokens.
