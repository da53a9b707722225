//! The file as TOML tables, before it means anything.
