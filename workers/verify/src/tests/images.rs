//! Real file systems.
