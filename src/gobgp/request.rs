//! The calls that we make. This is the only place that writes a request, and none of them withdraws more than one path: a
//! DeletePath without a path, which withdraws the routes of everybody, cannot be said in these types.

use prost::Message;

use super::grpc::{Call, Limits};
use super::message::{
    AddPathStreamRequest, DeletePathRequest, Family as ApiFamily, GetBgpRequest, ListPathRequest, Path, Timestamp,
};
use super::path::{self, Encoded};
use super::version::Api;
use crate::bgp::message::{UNICAST, afi};
use crate::prefix::{Family, Prefix};

/// Octets of paths in one call: far below what any gobgpd takes, and enough that a call more or less does not count.
pub(super) const BATCH_OCTETS: usize = 64 * 1024;
/// What 4.x sends of a list at a time.
const LIST_BATCH: u64 = 1000;

/// Asks for the AS and the router ID, and with them whether this API is served at all.
pub(super) fn get_bgp(api: Api) -> Call {
    call(api, "GetBgp", Limits::SHORT, &GetBgpRequest {})
}

/// Asks for all routes of a family, whoever has announced them.
pub(super) fn list(api: Api, family: Family) -> Call {
    let request = ListPathRequest {
        table_type: api.global_table(),
        family: Some(api_family(family)),
        enable_only_binary: true,
        batch_size: if api == Api::V4 { LIST_BATCH } else { 0 },
    };
    call(api, "ListPath", Limits::LIST, &request)
}

/// Announcements that are sent together.
#[derive(Debug)]
pub(super) struct Batch {
    request: AddPathStreamRequest,
    octets: usize,
}

impl Batch {
    pub(super) fn new(api: Api) -> Batch {
        Batch { request: AddPathStreamRequest { table_type: api.global_table(), paths: Vec::new() }, octets: 0 }
    }

    /// Adds a route. `age` is when it was announced, in seconds since 1970.
    pub(super) fn add(&mut self, prefix: &Prefix, route: Encoded, identifier: u32, age: Option<u64>) {
        let path = Path {
            age: age.map(|age| Timestamp { seconds: i64::try_from(age).unwrap_or(i64::MAX) }),
            nlri_binary: route.nlri,
            pattrs_binary: route.attributes,
            ..bare_path(prefix.family(), identifier)
        };
        self.octets += path.encoded_len() + 4;
        self.request.paths.push(path);
    }

    pub(super) fn is_full(&self) -> bool {
        self.octets >= BATCH_OCTETS
    }
}

/// How routes are announced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Adding {
    /// By AddPathStream, a stream of one message, also for one route: AddPath of early 4.x writes to a map of its own
    /// without a lock, and two of them at a time can end gobgpd; this one takes its turn like everything else.
    #[default]
    Streamed,
    /// By AddPath, one at a time, where the other is not served.
    Single,
}

/// Announces a batch, which for [`Adding::Single`] is of one route: then it is an AddPathRequest to the octet.
pub(super) fn announce(api: Api, adding: Adding, batch: &Batch) -> Call {
    let method = match adding {
        Adding::Streamed => "AddPathStream",
        Adding::Single => "AddPath",
    };
    call(api, method, Limits::SHORT, &batch.request)
}

/// Withdraws one route of ours.
pub(super) fn withdraw(api: Api, prefix: &Prefix, identifier: u32) -> Call {
    let family = prefix.family();
    let path = Path { is_withdraw: true, nlri_binary: path::encode_nlri(prefix), ..bare_path(family, identifier) };
    // Said twice: it must never be without.
    assert!(!path.nlri_binary.is_empty() && path.identifier != 0 && path.is_withdraw, "a withdrawal names its route");
    let request =
        DeletePathRequest { table_type: api.global_table(), family: Some(api_family(family)), path: Some(path) };
    call(api, "DeletePath", Limits::SHORT, &request)
}

fn bare_path(family: Family, identifier: u32) -> Path {
    Path { family: Some(api_family(family)), identifier, ..Path::default() }
}

fn api_family(family: Family) -> ApiFamily {
    ApiFamily { afi: afi(family).into(), safi: UNICAST.into() }
}

fn call(api: Api, method: &'static str, limits: Limits, request: &impl Message) -> Call {
    Call { service: api.service(), method, limits, request: request.encode_to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_withdrawal_names_its_route() {
        for text in ["192.0.2.1/32", "0.0.0.0/0", "2001:db8::1/128", "::/0"] {
            for api in [Api::V3, Api::V4] {
                let prefix: Prefix = text.parse().unwrap();
                let call = withdraw(api, &prefix, 7);
                let request = DeletePathRequest::decode(&call.request[..]).unwrap();
                assert_eq!(request.table_type, api.global_table());
                assert_eq!(request.family, Some(api_family(prefix.family())));
                let path = request.path.unwrap();
                assert_eq!((path.identifier, path.is_withdraw, path.family), (7, true, request.family));
                assert_eq!(path.nlri_binary, path::encode_nlri(&prefix));
            }
        }
    }
}
