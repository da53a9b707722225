//! The protobuf messages of gobgpd's API, with only the fields that are needed. Numbers are the same in 3.x and 4.x.
//!
//! Requests are made in [`request`](super::request) alone, which cannot make a withdrawal of everything.

use prost::Message;

/// `Family`.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Family {
    #[prost(int32, tag = "1")]
    pub(super) afi: i32,
    #[prost(int32, tag = "2")]
    pub(super) safi: i32,
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Timestamp {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
}

/// `Path`, in its binary form.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Path {
    #[prost(message, optional, tag = "3")]
    pub(super) age: Option<Timestamp>,
    #[prost(bool, tag = "5")]
    pub(super) is_withdraw: bool,
    #[prost(message, optional, tag = "9")]
    pub(super) family: Option<Family>,
    /// Empty, or `<nil>` in 3.x, for what did not come from a peer.
    #[prost(string, tag = "15")]
    pub(super) neighbor_ip: String,
    #[prost(uint32, tag = "18")]
    pub(super) identifier: u32,
    #[prost(bytes = "vec", tag = "20")]
    pub(super) nlri_binary: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "21")]
    pub(super) pattrs_binary: Vec<Vec<u8>>,
}

/// `GetBgpRequest`.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct GetBgpRequest {}

/// `GetBgpResponse`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct GetBgpResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) global: Option<Global>,
}

/// `Global`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Global {
    #[prost(uint32, tag = "1")]
    pub(super) asn: u32,
    #[prost(string, tag = "2")]
    pub(super) router_id: String,
}

/// `AddPathStreamRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct AddPathStreamRequest {
    #[prost(int32, tag = "1")]
    pub(super) table_type: i32,
    #[prost(message, repeated, tag = "3")]
    pub(super) paths: Vec<Path>,
}

/// `DeletePathRequest`. Without a path it withdraws what everybody has announced.
#[derive(Clone, PartialEq, Message)]
pub(super) struct DeletePathRequest {
    #[prost(int32, tag = "1")]
    pub(super) table_type: i32,
    #[prost(message, optional, tag = "3")]
    pub(super) family: Option<Family>,
    #[prost(message, optional, tag = "4")]
    pub(super) path: Option<Path>,
}

/// `ListPathRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ListPathRequest {
    #[prost(int32, tag = "1")]
    pub(super) table_type: i32,
    #[prost(message, optional, tag = "3")]
    pub(super) family: Option<Family>,
    #[prost(bool, tag = "9")]
    pub(super) enable_only_binary: bool,
    /// Of 4.x: so many destinations are sent at a time, not all after the last has been found.
    #[prost(uint64, tag = "10")]
    pub(super) batch_size: u64,
}

/// `ListPathResponse`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ListPathResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) destination: Option<Destination>,
}

/// `Destination`. Its paths are read one by one: a hundred thousand empty ones are then no more than a list of them.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Destination {
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(super) paths: Vec<Vec<u8>>,
}
