//! `ntp`.

use std::net::UdpSocket;
use std::time::{Duration, UNIX_EPOCH};

use herald::config::{FailureKind, NtpProbe, ProbeKind};
use herald::driver::{clock, wall_clock};
use herald::health::ProbeOutcome;

use crate::datagrams::{Datagrams, closed_port};
use crate::support::{LATE, PLENTY, SHORT, fails, passes, run};

const ANY: NtpProbe = NtpProbe { max_stratum: 15, max_offset: None };
const CLOSE: NtpProbe = NtpProbe { max_stratum: 15, max_offset: Some(Duration::from_secs(60)) };

/// In NTP's form, so many seconds from now.
fn time(ahead: i64) -> [u8; 8] {
    let now = (UNIX_EPOCH + wall_clock().timestamp(clock()).since_epoch()).duration_since(UNIX_EPOCH).unwrap();
    let seconds = now.as_secs().wrapping_add(2_208_988_800).wrapping_add_signed(ahead);
    let fraction = (u64::from(now.subsec_nanos()) << 32) / 1_000_000_000;
    (seconds << 32 | fraction).to_be_bytes()
}

/// A good answer to a query, by a clock that is so many seconds ahead.
fn answer(query: &[u8], ahead: i64) -> Vec<u8> {
    assert_eq!((query.len(), query[0], &query[1..40]), (48, 0x23, &[0; 39][..]));
    let mut octets = vec![0x24, 2, 3, 0xe8, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1];
    octets.extend([time(ahead), query[40..48].try_into().unwrap(), time(ahead), time(ahead)].concat());
    octets
}

/// What is said of a server that answers well but for these changes.
fn judged(probe: NtpProbe, change: impl Fn(&mut Vec<u8>) + Send + 'static) -> ProbeOutcome {
    let server = Datagrams::v4(move |letter| {
        let mut octets = answer(letter.octets, 0);
        change(&mut octets);
        letter.answer(octets);
    });
    let timeout = if probe == ANY { SHORT } else { PLENTY };
    run(server.address, ProbeKind::Ntp(probe), timeout)
}

#[test]
fn a_good_server_passes_over_either_family() {
    for bind in ["127.0.0.1:0", "[::1]:0"] {
        let server = Datagrams::start(bind, |letter| letter.answer(answer(letter.octets, 0)));
        let outcome = run(server.address, ProbeKind::Ntp(CLOSE), PLENTY);
        assert!(outcome.passed && outcome.detail.starts_with("stratum 2, offset "), "{outcome:?}");
        // By the kernel's own time of the answer: the query is what may have waited.
        assert!(outcome.detail.ends_with(" ms"), "{outcome:?}");
    }
}

#[test]
fn an_offset_is_told_and_judged() {
    let server = Datagrams::v4(|letter| letter.answer(answer(letter.octets, -3600)));
    let outcome = run(server.address, ProbeKind::Ntp(CLOSE), PLENTY);
    fails(&outcome, "offset -3600.0 s, at most 60 s allowed");
    assert_eq!(outcome.failure, Some(FailureKind::Answer));
    passes(&run(server.address, ProbeKind::Ntp(ANY), PLENTY), "stratum 2, offset -3600.0 s");
}

#[test]
fn servers_without_time_fail_in_words() {
    let few = NtpProbe { max_stratum: 1, ..CLOSE };
    fails(&judged(few, |_| {}), "stratum 2, at most 1 allowed");
    fails(&judged(CLOSE, |octets| octets[1] = 16), "stratum 16, at most 15 allowed");
    fails(&judged(CLOSE, |octets| octets[0] |= 0xc0), "not synchronized");
    fails(&judged(CLOSE, |octets| octets[1] = 0), "not synchronized");
    fails(&judged(CLOSE, |octets| octets[0] = 0x23), "mode 3, expected 4 (server)");
    let rate = |octets: &mut Vec<u8>| {
        octets[..2].copy_from_slice(&[0xe4, 0]);
        octets[12..16].copy_from_slice(b"RATE");
    };
    fails(&judged(CLOSE, rate), "kiss-o'-death RATE");
}

/// Whoever cannot have seen our query decides nothing.
#[test]
fn what_does_not_answer_our_query_is_ignored() {
    let expected = "timed out after 200 ms while waiting for the answer; ignored 1 that were no answers to it";
    fails(&judged(ANY, |octets| octets[24] ^= 1), expected);
    fails(&judged(ANY, |octets| octets.truncate(47)), expected);
    fails(&judged(ANY, Vec::clear), expected);
    let server = Datagrams::v4(|letter| {
        let good = answer(letter.octets, 0);
        let mut spoofed = good.clone();
        spoofed[31] ^= 0x80;
        letter.answer(&spoofed);
        letter.answer(&good);
    });
    let outcome = run(server.address, ProbeKind::Ntp(CLOSE), PLENTY);
    assert!(outcome.passed, "{outcome:?}");
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    let server = Datagrams::v4(move |letter| letter.answer_by(&other, answer(letter.octets, 0)));
    let outcome = run(server.address, ProbeKind::Ntp(ANY), SHORT);
    fails(&outcome, "timed out after 200 ms while waiting for the answer");
}

#[test]
fn whatever_comes_upsets_nothing() {
    let outcome = judged(CLOSE, |octets| octets.extend([0xff; 20_000]));
    assert!(outcome.passed, "extension fields follow: {outcome:?}");
    for (byte, value) in (0..48).flat_map(|byte| [(byte, 0), (byte, 0xff)]) {
        // The times of the query decide whether it is one at all.
        if !(24..32).contains(&byte) {
            judged(CLOSE, move |octets| octets[byte] = value);
        }
    }
}

#[test]
fn a_closed_port_is_refused_and_silence_times_out() {
    for bind in ["127.0.0.1:0", "[::1]:0"] {
        let (_held, address) = closed_port(bind);
        let outcome = run(address, ProbeKind::Ntp(ANY), PLENTY);
        fails(&outcome, "port unreachable");
        assert_eq!(outcome.failure, Some(FailureKind::Refused));
        assert!(outcome.took < LATE);
    }
    let outcome = run(Datagrams::silent().address, ProbeKind::Ntp(ANY), SHORT);
    fails(&outcome, "timed out after 200 ms while waiting for the answer");
}
