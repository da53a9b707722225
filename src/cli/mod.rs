//! One file per command.

mod check_config;
