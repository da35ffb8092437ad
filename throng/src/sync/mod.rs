//! Locks and meeting points.
