//! What workers do: one blocking run of a check, a file per kind.
