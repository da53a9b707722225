//! Octets: a [`Reader`] that cannot run over its end, and length prefixes that cannot be wrong.
