//! `dns`. Its servers build their messages themselves: an oracle must not share the codec.

use std::net::UdpSocket;
use std::sync::mpsc;

use herald::config::{DnsProbe, DnsTransport, FailureKind, ProbeKind, Rcode, RecordType};
use herald::driver::probe::dns::try_message;
use herald::health::ProbeOutcome;

use crate::datagrams::{Datagrams, Letter, closed_port};
use crate::support::{LATE, PLENTY, SHORT, Server, Talk, fails, millis, nobody, passes, run};

const ADDRESS: [u8; 4] = [192, 0, 2, 1];
const TIMED_OUT: &str = "timed out after 200 ms while waiting for the answer";

fn probe(record_type: RecordType, answers: &[&str]) -> DnsProbe {
    DnsProbe {
        name: "www.example.net".to_owned(),
        record_type,
        transport: DnsTransport::Udp,
        recursion: true,
        rcodes: vec![Rcode::NOERROR],
        answers: answers.iter().map(|answer| (*answer).to_owned()).collect(),
    }
}

fn a(answers: &[&str]) -> DnsProbe {
    probe(RecordType::A, answers)
}

fn tcp(answers: &[&str]) -> DnsProbe {
    DnsProbe { transport: DnsTransport::Tcp, ..a(answers) }
}

fn ask(server: &Datagrams, probe: DnsProbe) -> ProbeOutcome {
    run(server.address, ProbeKind::Dns(probe), PLENTY)
}

/// In the wire's form, uncompressed.
fn name(text: &str) -> Vec<u8> {
    let labels = text.split('.').filter(|label| !label.is_empty());
    let mut octets: Vec<u8> =
        labels.flat_map(|label| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat()).collect();
    octets.push(0);
    octets
}

/// A record of class IN; an empty owner is that of the question.
fn record(owner: &str, record_type: u16, data: &[u8]) -> Vec<u8> {
    let owner = if owner.is_empty() { vec![0xc0, 12] } else { name(owner) };
    let length = u16::try_from(data.len()).unwrap().to_be_bytes();
    [&owner[..], &record_type.to_be_bytes(), &[0, 1, 0, 0, 0, 60], &length, data].concat()
}

/// An answer to a query: these flags besides QR, and these records.
fn reply(query: &[u8], flags: u16, answers: &[Vec<u8>]) -> Vec<u8> {
    let question = &query[12..query.len() - 11];
    let count = u16::try_from(answers.len()).unwrap();
    let fields = [0x8000 | flags, 1, count, 0, 0].map(u16::to_be_bytes).concat();
    [&query[..2], &fields, question, &answers.concat()].concat()
}

fn good(query: &[u8]) -> Vec<u8> {
    reply(query, 0x180, &[record("", 1, &ADDRESS)])
}

/// A server with these records.
fn serves(answers: Vec<Vec<u8>>) -> Datagrams {
    Datagrams::v4(move |letter| letter.answer(reply(letter.octets, 0x180, &answers)))
}

#[test]
fn an_address_over_either_family() {
    for bind in ["127.0.0.1:0", "[::1]:0"] {
        let server = Datagrams::start(bind, |letter| letter.answer(good(letter.octets)));
        passes(&ask(&server, a(&[])), "NOERROR, 192.0.2.1");
        passes(&ask(&server, a(&["192.0.2.0", "192.0.2.1"])), "NOERROR, 192.0.2.1");
        let outcome = ask(&server, a(&["198.51.100.7"]));
        fails(&outcome, "answer 192.0.2.1, expected 198.51.100.7");
        assert_eq!(outcome.failure, Some(FailureKind::Answer));
    }
}

/// Each query has another id and another port, and asks for recursion or not.
#[test]
fn queries_are_not_to_be_guessed() {
    let (heard, queries) = mpsc::channel();
    let server = Datagrams::v4(move |letter| {
        heard.send((letter.octets.to_vec(), letter.from.port())).unwrap();
        letter.answer(good(letter.octets));
    });
    for recursion in [true, false, false, false] {
        passes(&ask(&server, DnsProbe { recursion, ..a(&[]) }), "NOERROR, 192.0.2.1");
    }
    let queries: Vec<_> = queries.try_iter().collect();
    let recursion: Vec<u8> = queries.iter().map(|(query, _)| query[2]).collect();
    assert_eq!(recursion, [1, 0, 0, 0]);
    assert!(queries.iter().any(|(query, port)| (query[..2] != queries[0].0[..2]) && *port != queries[0].1));
}

#[test]
fn the_rcode_must_be_one_of_those_expected() {
    let server = Datagrams::v4(|letter| letter.answer(reply(letter.octets, 0x182, &[])));
    fails(&ask(&server, a(&[])), "SERVFAIL, expected NOERROR");
    let two = vec![Rcode::NOERROR, Rcode::NXDOMAIN];
    fails(&ask(&server, DnsProbe { rcodes: two.clone(), ..a(&[]) }), "SERVFAIL, expected NOERROR or NXDOMAIN");
    let server = Datagrams::v4(|letter| letter.answer(reply(letter.octets, 0x183, &[])));
    passes(&ask(&server, DnsProbe { rcodes: two, ..a(&["192.0.2.1"]) }), "NXDOMAIN");
    let server = Datagrams::v4(|letter| letter.answer(reply(letter.octets, 0x18d, &[])));
    fails(&ask(&server, a(&[])), "RCODE13, expected NOERROR");
}

/// RFC 6891 §6.1.3: eight more bits of it are in OPT.
#[test]
fn the_rcode_may_be_an_extended_one() {
    let server = Datagrams::v4(|letter| {
        let mut octets = reply(letter.octets, 0x187, &[]);
        octets[11] = 1;
        octets.extend(b"\x00\x00\x29\x04\xd0\x01\x00\x00\x00\x00\x00");
        letter.answer(octets);
    });
    fails(&ask(&server, a(&[])), "BADCOOKIE, expected NOERROR");
}

/// Some servers do not repeat a question that they do not take.
#[test]
fn a_refusal_needs_no_question() {
    let bare = |rcode: u8| {
        let script = move |letter: &Letter<'_>| {
            letter.answer([&letter.octets[..2], &[0x81, 0x80 | rcode, 0, 0, 0, 0, 0, 0, 0, 0]].concat());
        };
        Datagrams::v4(script)
    };
    fails(&ask(&bare(5), a(&[])), "REFUSED, expected NOERROR");
    fails(&ask(&bare(1), a(&[])), "FORMERR, expected NOERROR");
    let outcome = run(bare(0).address, ProbeKind::Dns(a(&[])), SHORT);
    fails(&outcome, &format!("{TIMED_OUT}; ignored 1 with another question"));
}

/// A server that has lost its zone says the same.
#[test]
fn nothing_is_no_answer() {
    fails(&ask(&serves(vec![]), a(&[])), "no A record in the answer");
    fails(&ask(&serves(vec![]), probe(RecordType::SOA, &[])), "no SOA record in the answer");
    fails(&ask(&serves(vec![]), probe(RecordType::ANY, &[])), "no record in the answer");
    // Neither is another type, another name, or another class.
    let mut chaos = record("", 1, &ADDRESS);
    chaos[5] = 3;
    let others = vec![record("", 28, &[0; 16]), record("example.net", 1, &ADDRESS), chaos];
    fails(&ask(&serves(others), a(&[])), "no A record in the answer");
    // NODATA has the zone's SOA in another section.
    let server = Datagrams::v4(|letter| {
        let data = [name("ns.example.net"), name("admin.example.net"), vec![0; 20]].concat();
        let mut octets = reply(letter.octets, 0x180, &[record("example.net", 6, &data)]);
        octets.swap(7, 9);
        letter.answer(octets);
    });
    fails(&ask(&server, a(&[])), "no A record in the answer");
    fails(&ask(&server, probe(RecordType::SOA, &[])), "no SOA record in the answer");
}

#[test]
fn aliases_are_followed() {
    let alias = |from: &str, to: &str| record(from, 5, &name(to));
    let chain =
        vec![record("c.example.org", 1, &ADDRESS), alias("b.example.org", "C.example.ORG"), alias("", "B.Example.org")];
    passes(&ask(&serves(chain.clone()), a(&["192.0.2.1"])), "NOERROR, 192.0.2.1");
    let to_b = probe(RecordType::CNAME, &["b.example.org"]);
    passes(&ask(&serves(chain.clone()), to_b), "NOERROR, b.example.org");
    let cut = chain[1..].to_vec();
    fails(&ask(&serves(cut), a(&[])), "no A record in the answer, only a CNAME c.example.org");
    let round = vec![alias("", "b.example.org"), alias("b.example.org", "www.example.net")];
    let outcome = ask(&serves(round), a(&[]));
    assert!(outcome.detail.starts_with("no A record in the answer"), "{outcome:?}");
}

#[test]
fn records_of_every_type_are_compared_by_what_they_say() {
    let soa = [name("NS.example.net"), name("admin.example.net"), [0, 0, 0, 7].repeat(5)].concat();
    for (record_type, data, answer, words) in [
        (28, [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[1]].concat(), "2001:db8::1", "2001:db8::1"),
        (2, name("NS1.example.net"), "ns1.example.net", "ns1.example.net"),
        (12, vec![0xc0, 12], "www.example.net", "www.example.net"),
        (15, [&[0, 10][..], &name("Mail.example.net")].concat(), "10 mail.example.net", "10 mail.example.net"),
        (33, [&[0, 1, 0, 2, 1, 187][..], &[0xc0, 12]].concat(), "1 2 443 www.example.net", "1 2 443 www.example.net"),
        (6, soa.clone(), "ns.example.net", "ns.example.net admin.example.net 7 7 7 7 7"),
        (6, soa.clone(), "ns.example.net admin.example.net 7", "ns.example.net admin.example.net 7 7 7 7 7"),
        (16, b"\x05v=spf\x061 -all".to_vec(), "v=spf1 -all", "v=spf1 -all"),
        (257, b"\x00\x05Issueca.example.net".to_vec(), "0 issue ca.example.net", "0 issue ca.example.net"),
        (65, b"\x00\x01\x00".to_vec(), "\\# 3 000100", "\\# 3 000100"),
        (65280, vec![], "\\# 0", "\\# 0"),
    ] {
        let record_type_number = RecordType(record_type);
        let server = serves(vec![record("", record_type, &data)]);
        passes(&ask(&server, probe(record_type_number, &[answer])), &format!("NOERROR, {words}"));
        let wrong = ask(&server, probe(record_type_number, &["other"]));
        fails(&wrong, &format!("answer {words}, expected other"));
    }
    let server = serves(vec![record("", 6, &soa)]);
    assert!(!ask(&server, probe(RecordType::SOA, &["ns.example.net admin.example.net 70"])).passed);
    assert!(!ask(&server, probe(RecordType::SOA, &["ns.example.ne"])).passed);
    passes(&ask(&serves(vec![record("", 1, &ADDRESS)]), probe(RecordType::ANY, &[])), "NOERROR, A 192.0.2.1");
}

#[test]
fn one_of_many_answers_will_do() {
    let many: Vec<Vec<u8>> = (0..30).map(|number| record("", 1, &[198, 51, 100, number])).collect();
    passes(&ask(&serves(many.clone()), a(&["198.51.100.29"])), "NOERROR, 198.51.100.29 and 29 more");
    let expected = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"];
    fails(
        &ask(&serves(many), a(&expected)),
        "answer 198.51.100.0 and 29 more, expected 192.0.2.1 or 192.0.2.2 or 192.0.2.3 or 2 more",
    );
}

/// Of the spoofer's making: whatever does not fit is counted, and waiting goes on.
#[test]
fn a_spoofer_decides_nothing() {
    let strange = |letter: &Letter<'_>| {
        for _ in 0..2 {
            let mut octets = reply(letter.octets, 0x182, &[]);
            octets[1] ^= 1;
            letter.answer(octets);
        }
        let mut octets = reply(letter.octets, 0x182, &[]);
        octets[13] = b'x';
        letter.answer(octets);
        letter.answer(letter.octets);
        letter.answer("");
        letter.answer(&letter.octets[..11]);
    };
    let server = Datagrams::v4(strange);
    let outcome = run(server.address, ProbeKind::Dns(a(&[])), SHORT);
    fails(
        &outcome,
        &format!("{TIMED_OUT}; ignored 2 with a wrong id, 1 with another question, 3 that were no answers"),
    );
    assert_eq!(outcome.failure, Some(FailureKind::Timeout));
    let server = Datagrams::v4(move |letter| {
        strange(letter);
        letter.answer(good(letter.octets));
    });
    passes(&ask(&server, a(&[])), "NOERROR, 192.0.2.1");
    // From another port nothing reaches us at all.
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    let server = Datagrams::v4(move |letter| letter.answer_by(&other, good(letter.octets)));
    fails(&run(server.address, ProbeKind::Dns(a(&[])), SHORT), TIMED_OUT);
}

#[test]
fn the_question_is_compared_in_whole() {
    type Change = fn(&mut Vec<u8>);
    let changes: [(Change, &str); 6] = [
        (|octets| octets[13] = b'W', ""),
        (|octets| octets[30] = 28, "with another question"),
        (|octets| octets[32] = 3, "with another question"),
        (|octets| octets[5] = 2, "with another question"),
        (|octets| octets[5] = 0, "with another question"),
        (|octets| octets[2] |= 0x28, "that were no answers"),
    ];
    for (change, what) in changes {
        let server = Datagrams::v4(move |letter| {
            let mut octets = good(letter.octets);
            change(&mut octets);
            letter.answer(octets);
        });
        match what {
            "" => passes(&ask(&server, a(&[])), "NOERROR, 192.0.2.1"),
            _ => {
                let outcome = run(server.address, ProbeKind::Dns(a(&[])), SHORT);
                fails(&outcome, &format!("{TIMED_OUT}; ignored 1 {what}"));
            }
        }
    }
}

#[test]
fn what_is_cut_off_may_hold_the_answer_yet() {
    let truncated = |keep: usize| {
        Datagrams::v4(move |letter| {
            let records: Vec<Vec<u8>> = (1..9).map(|number| record("", 1, &[192, 0, 2, number])).collect();
            let octets = reply(letter.octets, 0x380, &records);
            letter.answer(&octets[..keep.min(octets.len())]);
        })
    };
    passes(&ask(&truncated(70), a(&["192.0.2.2"])), "NOERROR, 192.0.2.2 and 1 more");
    fails(&ask(&truncated(70), a(&["192.0.2.3"])), "truncated: answer 192.0.2.1 and 1 more, expected 192.0.2.3");
    fails(&ask(&truncated(33), a(&[])), "truncated: no A record in the answer");
    passes(&ask(&truncated(1000), a(&[])), "NOERROR, 192.0.2.1 and 7 more");
}

#[test]
fn a_message_that_is_none_is_told_so() {
    let judged = |change: fn(&mut Vec<u8>)| {
        let server = Datagrams::v4(move |letter| {
            let mut octets = good(letter.octets);
            change(&mut octets);
            letter.answer(octets);
        });
        ask(&server, a(&[]))
    };
    fails(&judged(|octets| octets.truncate(octets.len() - 1)), "malformed answer: it ends too early");
    fails(&judged(|octets| octets[7] = 2), "malformed answer: it ends too early");
    fails(&judged(|octets| octets[33] = 0xff), "malformed answer: a name in it is none");
    let three = |octets: &mut Vec<u8>| {
        octets.pop();
        octets[44] = 3;
    };
    fails(&judged(three), "malformed answer: a record of type A in it is none");
    // What follows the message is not part of it.
    passes(&judged(|octets| octets.extend([0xff; 9])), "NOERROR, 192.0.2.1");
}

#[test]
fn a_late_answer_counts_and_silence_does_not() {
    let server = Datagrams::v4(|letter| {
        if letter.pause(millis(500)) {
            letter.answer(good(letter.octets));
        }
    });
    passes(&ask(&server, a(&[])), "NOERROR, 192.0.2.1");
    let outcome = run(Datagrams::silent().address, ProbeKind::Dns(a(&[])), SHORT);
    fails(&outcome, TIMED_OUT);
    assert!(outcome.took >= SHORT);
}

#[test]
fn nobody_there_is_refused_at_once() {
    for bind in ["127.0.0.1:0", "[::1]:0"] {
        let (_held, address) = closed_port(bind);
        let outcome = run(address, ProbeKind::Dns(a(&[])), PLENTY);
        fails(&outcome, "port unreachable");
        assert_eq!(outcome.failure, Some(FailureKind::Refused));
        assert!(outcome.took < LATE);
    }
    let (_held, address) = nobody();
    fails(&run(address, ProbeKind::Dns(tcp(&[])), PLENTY), "connection refused");
}

/// Reads a query over TCP, and what it must be answered with.
fn heard(talk: &mut Talk) -> Vec<u8> {
    use std::io::Read;
    let mut length = [0; 2];
    if talk.stream.read_exact(&mut length).is_err() {
        return Vec::new();
    }
    let mut query = vec![0; u16::from_be_bytes(length).into()];
    talk.stream.read_exact(&mut query).unwrap();
    query
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&u16::try_from(message.len()).unwrap().to_be_bytes()[..], message].concat()
}

#[test]
fn tcp_takes_the_answer_as_it_comes() {
    for bind in ["127.0.0.1:0", "[::1]:0"] {
        let server = Server::start(bind, |talk| {
            let query = heard(talk);
            for octet in framed(&good(&query)) {
                talk.say([octet]);
            }
            // More than was asked for.
            talk.say(vec![0xff; 100_000]);
            talk.linger();
        });
        passes(&run(server.address, ProbeKind::Dns(tcp(&["192.0.2.1"])), PLENTY), "NOERROR, 192.0.2.1");
    }
}

#[test]
fn tcp_takes_the_largest_message() {
    let server = Server::v4(|talk| {
        let query = heard(talk);
        let records: Vec<Vec<u8>> = (0..4000u16).map(|n| record("", 1, &[10, 0, (n >> 8) as u8, n as u8])).collect();
        talk.say(framed(&reply(&query, 0x180, &records)));
    });
    passes(&run(server.address, ProbeKind::Dns(tcp(&["10.0.15.159"])), PLENTY), "NOERROR, 10.0.15.159 and 3999 more");
}

#[test]
fn tcp_ignores_what_is_no_answer() {
    let server = Server::v4(|talk| {
        let query = heard(talk);
        let mut wrong = good(&query);
        wrong[0] ^= 1;
        talk.say([framed(&[]), framed(&wrong), framed(&good(&query))].concat());
    });
    passes(&run(server.address, ProbeKind::Dns(tcp(&[])), PLENTY), "NOERROR, 192.0.2.1");
}

#[test]
fn tcp_that_ends_early_is_told_so() {
    let judged = |answer: fn(&[u8]) -> Vec<u8>| {
        let server = Server::v4(move |talk| {
            let query = heard(talk);
            if !query.is_empty() {
                talk.say(answer(&query));
            }
        });
        run(server.address, ProbeKind::Dns(tcp(&[])), PLENTY)
    };
    let closed = "connection closed while waiting for the answer";
    let cut = judged(|query| framed(&good(query))[..20].to_vec());
    fails(&cut, closed);
    assert_eq!(cut.failure, Some(FailureKind::Closed));
    fails(&judged(|_| Vec::new()), closed);
    fails(&judged(|_| b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()), closed);
    let wrong = judged(|query| {
        let mut octets = good(query);
        octets[0] ^= 1;
        framed(&octets)
    });
    fails(&wrong, &format!("{closed}; ignored 1 with a wrong id"));
}

#[test]
fn tcp_that_says_nothing_times_out() {
    let server = Server::v4(Talk::linger);
    fails(&run(server.address, ProbeKind::Dns(tcp(&[])), SHORT), TIMED_OUT);
    let server = Server::v4(|talk| {
        let query = heard(talk);
        talk.say(&framed(&good(&query))[..10]);
        talk.linger();
    });
    fails(&run(server.address, ProbeKind::Dns(tcp(&[])), SHORT), TIMED_OUT);
}

/// As ours is, with the id 0x1234.
fn query(record_type: u16) -> Vec<u8> {
    let header = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\x01";
    [&header[..], &name("www.example.net"), &record_type.to_be_bytes(), &[0, 1], &[0; 11]].concat()
}

/// Every octet made any other, every cut: nothing that comes upsets anything.
#[test]
fn whatever_comes_upsets_nothing() {
    let soa = [name("ns.example.net"), vec![0xc0, 12], vec![9; 20]].concat();
    for (record_type, data) in [
        (1, ADDRESS.to_vec()),
        (5, vec![0xc0, 12]),
        (6, soa),
        (15, vec![0, 10, 1, b'm', 0xc0, 12]),
        (16, b"\x03abc\x00\x02\xff\\".to_vec()),
        (257, b"\x00\x05issuex".to_vec()),
        (65, vec![1, 2, 3]),
    ] {
        let alias = record("", 5, &name("b.example.org"));
        let answers = [alias, record("b.example.org", record_type, &data), record("", record_type, &data)];
        let whole = reply(&query(record_type), 0x180, &answers);
        let probe = probe(RecordType(record_type), &["x"]);
        assert!(try_message(&probe, 0x1234, &whole).is_some());
        let look = |octets: &[u8]| {
            if let Some((words, passed)) = try_message(&probe, 0x1234, octets) {
                assert!(!passed, "{words}");
                assert!(words.len() < 2000 && !words.contains(char::is_control), "{words:?}");
            }
        };
        for end in 0..whole.len() {
            look(&whole[..end]);
        }
        for byte in 0..whole.len() {
            for value in 0..=255 {
                let mut octets = whole.clone();
                octets[byte] = value;
                look(&octets);
            }
        }
    }
}

/// A message that is all pointers costs no more than another.
#[test]
fn the_dearest_message_is_read_in_no_time() {
    let mut octets = reply(&query(1), 0x180, &[]);
    // A record of another type with a long way of pointers in it, and then names that go all that way.
    let start = octets.len() + 12;
    let way: Vec<u8> = (0..8000u16).flat_map(|n| (0xc000 | (start as u16 - 14 + 2 * n)).to_be_bytes()).collect();
    octets.extend(record("", 99, &way));
    let last = (0xc000u16 | (start as u16 + 250)).to_be_bytes();
    let mut count = 1u16;
    while octets.len() < 65_000 {
        octets.extend([&last[..], &[0, 1, 0, 1, 0, 0, 0, 0, 0, 4], &ADDRESS].concat());
        count += 1;
    }
    octets[6..8].copy_from_slice(&count.to_be_bytes());
    let begun = herald::driver::clock();
    let found = try_message(&a(&[]), 0x1234, &octets);
    assert!(begun.elapsed() < LATE, "{:?} for {found:?}", begun.elapsed());
}
