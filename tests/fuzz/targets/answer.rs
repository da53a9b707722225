//! What a DNS server answers: two octets of the type asked for, and a message.

use herald::config::{DnsProbe, DnsTransport, Rcode, RecordType};
use herald::driver::probe::dns::try_message;

/// In octets: some names of some answers, of 200 characters each.
const LONGEST: usize = 4096;

/// Whatever comes, what is said of it is fit for a log, and what cannot be there is not found.
pub(crate) fn run(data: &[u8]) {
    let Some(([high, low], message)) = data.split_first_chunk::<2>() else { return };
    // The id is right: what a spoofer must guess is no work for a fuzzer.
    let id = message.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
    let wanting = |answers: &[&str], rcodes: &[u16]| DnsProbe {
        name: "www.example.net".to_owned(),
        record_type: RecordType(u16::from_be_bytes([*high, *low])),
        transport: DnsTransport::Udp,
        recursion: true,
        rcodes: rcodes.iter().copied().map(Rcode).collect(),
        answers: answers.iter().map(|answer| (*answer).to_owned()).collect(),
    };
    let any = try_message(&wanting(&[], &[0]), id, message);
    // A lone backslash is always written as two.
    let impossible = try_message(&wanting(&["\\x"], &[0]), id, message);
    let other = try_message(&wanting(&[], &[1, 3]), id, message);
    assert_eq!((any.is_some(), any.is_some()), (impossible.is_some(), other.is_some()));
    for (words, _) in any.iter().chain(&impossible).chain(&other) {
        assert!(!words.is_empty() && words.len() <= LONGEST && !words.contains(char::is_control), "{words:?}");
    }
    assert!(!impossible.is_some_and(|(_, passed)| passed), "found what cannot be there");
}
