//! What RFC 4271 asks of a speaker, row by row, with the octets: the tables that its text is, as tables.
//!
//! [`machine`] is §8.2.2: every event in every state. [`messages`] is §6: every NOTIFICATION that a bad message must cause. (What is in an UPDATE is `bgp::update`'s, and tested
//! there.)
//! The far end is written down here; nothing of Herald's codec is used to write or to read.
#![allow(missing_docs, reason = "a test has no outside")]

mod bench;
mod machine;
mod messages;
