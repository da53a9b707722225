//! One connection, from TCP to Established (RFC 4271 §8).
