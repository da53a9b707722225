//! `ntp`: a client's query (RFC 5905), and how good the server's time is. One a run, and it is not repeated, whatever the
//! server says: RATE is a failure like any other.
//!
//! ```text
//!  0                   1                   2                   3
//! +---------------+---------------+---------------+---------------+
//! |LI |vers.| mode|    stratum    |     poll      |   precision   |
//! |                          root delay                           |
//! |                        root dispersion                        |
//! |               reference id, or the kiss-o'-death              |
//! |              reference time, of eight octets                  |
//! |   originate time: what the query had as its transmit time     |
//! |              receive time: when the query came                |
//! |                       transmit time                           |
//! +---------------------------------------------------------------+
//! ```
//!
//! Times are 32 bits of seconds and 32 of a fraction, since 1900 or, some day, a later era: only differences matter. Our
//! query has none of ours, but a number that nobody can guess (as draft-ietf-ntp-data-minimization proposes).

use std::io::{self, IoSliceMut};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};

use super::datagram::{self, Datagram};
use super::text::{duration, printable};
use super::{Fault, Run, Verdict};
use crate::config::{FailureKind, NtpProbe};
use crate::driver::{clock, wall_clock};

const DOING: &str = "waiting for the answer";
/// The header; what may follow is not for us.
const LEN: usize = 48;
/// No leap warning, version 4, mode 3 (client).
const CLIENT: u8 = 4 << 3 | 3;
const SERVER: u8 = 4;
/// "The clock is not synchronized".
const ALARM: u8 = 3;
/// From 1900 to 1970, in seconds.
const TO_UNIX: u64 = 2_208_988_800;

pub(super) fn run(at: &Run<'_>, probe: &NtpProbe) -> Verdict {
    let mut ignored = 0_usize;
    exchange(at, probe, &mut ignored).unwrap_or_else(|fault| match ignored {
        0 => Err(fault),
        _ if fault.kind == FailureKind::Internal => Err(fault),
        _ => Err(Fault::new(fault.kind, format!("{}; ignored {ignored} that were no answers to it", fault.words))),
    })
}

fn exchange(at: &Run<'_>, probe: &NtpProbe, ignored: &mut usize) -> Result<Verdict, Fault> {
    let fault = |error| datagram::failure(&error, at.limit, DOING);
    let socket = Datagram::connect(at).map_err(fault)?;
    socket.stamp().map_err(fault)?;
    let nonce = datagram::random().map_err(fault)?;
    let sent = now();
    socket.send(&query(nonce)).map_err(fault)?;
    let mut buffer = [0; LEN];
    loop {
        let (count, received) =
            socket.next(None, |socket| receive(socket, &mut buffer)).map_err(fault)?.unwrap_or_default();
        match Answer::read(buffer.get(..count).unwrap_or_default(), nonce) {
            Some(answer) => return Ok(judge(probe, &answer, Time::of(sent), Time::of(received))),
            None => *ignored += 1,
        }
    }
}

/// Since 1970.
fn now() -> Duration {
    wall_clock().timestamp(clock()).since_epoch()
}

/// A datagram's length, of which no more than the buffer holds is kept, and when it came: as the kernel says, which has
/// not waited for a processor.
fn receive(socket: &socket2::Socket, buffer: &mut [u8; LEN]) -> io::Result<(usize, Duration)> {
    let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
    let mut slices = [IoSliceMut::new(buffer)];
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::MSG_DONTWAIT)?;
    let time = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::ScmTimestampns(time) => Some(Duration::from(time)),
        _ => None,
    });
    Ok((message.bytes, time.unwrap_or_else(now)))
}

impl Datagram {
    /// From now on the kernel notes when datagrams come.
    fn stamp(&self) -> io::Result<()> {
        Ok(setsockopt(self, sockopt::ReceiveTimestampns, &true)?)
    }
}

fn query(nonce: [u8; 8]) -> [u8; LEN] {
    let mut octets = [0; LEN];
    octets[0] = CLIENT;
    octets[LEN - 8..].copy_from_slice(&nonce);
    octets
}

/// A time or the difference of two, in units of 2^-32 seconds, modulo 2^32 seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Time(u64);

impl Time {
    /// From the time since 1970.
    fn of(since_epoch: Duration) -> Time {
        Time(since_epoch.as_secs().wrapping_add(TO_UNIX) << 32 | fraction(since_epoch))
    }

    /// How much later it is than the other, in the half of an era around that.
    fn since(self, other: Time) -> i128 {
        i128::from(self.0.wrapping_sub(other.0).cast_signed())
    }
}

/// Of a second.
fn fraction(duration: Duration) -> u64 {
    (u64::from(duration.subsec_nanos()) << 32) / 1_000_000_000
}

/// What is of use to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Answer {
    leap: u8,
    mode: u8,
    stratum: u8,
    reference: [u8; 4],
    received: Time,
    sent: Time,
}

impl Answer {
    /// `None` unless it is an answer to the query with this number.
    fn read(octets: &[u8], nonce: [u8; 8]) -> Option<Answer> {
        let (head, rest) = octets.split_first_chunk::<12>()?;
        let (reference, rest) = rest.split_first_chunk::<4>()?;
        let (_, rest) = rest.split_first_chunk::<8>()?;
        let (originate, rest) = rest.split_first_chunk::<8>()?;
        let (received, rest) = rest.split_first_chunk::<8>()?;
        let (sent, _) = rest.split_first_chunk::<8>()?;
        let [first, stratum, ..] = *head;
        let time = |octets: &[u8; 8]| Time(u64::from_be_bytes(*octets));
        (*originate == nonce).then(|| Answer {
            leap: first >> 6,
            mode: first & 7,
            stratum,
            reference: *reference,
            received: time(received),
            sent: time(sent),
        })
    }

    /// RFC 5905 §7.4: a server that will not say the time says why.
    fn kiss(&self) -> Option<String> {
        let is_code = self.reference.iter().all(u8::is_ascii_alphanumeric);
        (self.stratum == 0 && is_code).then(|| printable(&self.reference))
    }
}

fn judge(probe: &NtpProbe, answer: &Answer, sent: Time, received: Time) -> Verdict {
    if answer.mode != SERVER {
        return Err(format!("mode {}, expected {SERVER} (server)", answer.mode).into());
    }
    if let Some(code) = answer.kiss() {
        return Err(format!("kiss-o'-death {code}").into());
    }
    if answer.leap == ALARM || answer.stratum == 0 || answer.sent == Time(0) || answer.received == Time(0) {
        return Err("not synchronized".into());
    }
    if answer.stratum > probe.max_stratum {
        return Err(format!("stratum {}, at most {} allowed", answer.stratum, probe.max_stratum).into());
    }
    // RFC 5905 §8: half of the way there and back is there.
    let offset = (answer.received.since(sent) + answer.sent.since(received)) / 2;
    let allowed = |allowed: Duration| i128::from(allowed.as_secs()) << 32 | i128::from(fraction(allowed));
    match probe.max_offset {
        Some(most) if offset.abs() > allowed(most) => {
            Err(format!("offset {}, at most {} allowed", spell(offset), duration(most)).into())
        }
        _ => Ok(format!("stratum {}, offset {}", answer.stratum, spell(offset)).into()),
    }
}

/// Such as "-1.3 ms", or "86400.0 s".
fn spell(offset: i128) -> String {
    let (tenths, unit) = match offset.abs() {
        // Further away nobody counts milliseconds.
        far if far >= 10 << 32 => (rounded(far * 10), "s"),
        near => (rounded(near * 10_000), "ms"),
    };
    let sign = if offset < 0 && tenths > 0 { "-" } else { "" };
    format!("{sign}{}.{} {unit}", tenths / 10, tenths % 10)
}

fn rounded(number: i128) -> i128 {
    (number + (1 << 31)) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
    const PROBE: NtpProbe = NtpProbe { max_stratum: 15, max_offset: Some(Duration::from_millis(100)) };

    fn answer(received: Duration, sent: Duration) -> Answer {
        let (received, sent) = (Time::of(received), Time::of(sent));
        Answer { leap: 0, mode: SERVER, stratum: 2, reference: [10, 0, 0, 1], received, sent }
    }

    fn words(verdict: Verdict) -> String {
        verdict.map_or_else(|fault| format!("failed: {}", fault.words), |pass| pass.words.into_owned())
    }

    #[test]
    fn the_query_says_nothing_about_us() {
        let query = query(NONCE);
        assert_eq!((query[0], &query[1..40], &query[40..]), (0x23, &[0; 39][..], &NONCE[..]));
    }

    /// Of an isolated server of stratum 10.
    #[test]
    fn an_answer_is_read() {
        let mut octets = vec![0x24, 10, 3, 0xe7, 0, 0, 0, 0, 0, 0, 0, 1, 127, 127, 1, 1, 0xee, 0xb3, 1, 2, 0, 0, 0, 0];
        octets.extend(NONCE);
        octets.extend([0xee, 0xb3, 1, 3, 0x80, 0, 0, 0, 0xee, 0xb3, 1, 3, 0xc0, 0, 0, 0]);
        let answer = Answer::read(&octets, NONCE).unwrap();
        assert_eq!((answer.leap, answer.mode, answer.stratum, answer.reference), (0, 4, 10, [127, 127, 1, 1]));
        assert_eq!((answer.received, answer.sent), (Time(0xeeb3_0103_8000_0000), Time(0xeeb3_0103_c000_0000)));
        assert_eq!(Answer::read(&octets, [0; 8]), None);
        assert!((0..LEN).all(|end| Answer::read(&octets[..end], NONCE).is_none()));
    }

    #[test]
    fn the_offset_is_that_of_rfc_5905() {
        let (seconds, millis) = (Duration::from_secs, Duration::from_millis);
        let begin = seconds(1_795_000_000);
        let judged = |received: Duration, sent: Duration, back: Duration| {
            words(judge(&PROBE, &answer(received, sent), Time::of(begin), Time::of(back)))
        };
        // 20 ms each way, and 10 ms in between.
        assert_eq!(judged(begin + millis(20), begin + millis(30), begin + millis(50)), "stratum 2, offset 0.0 ms");
        assert_eq!(judged(begin + millis(120), begin + millis(130), begin + millis(50)), "stratum 2, offset 100.0 ms");
        let late = judged(begin + millis(121), begin + millis(131), begin + millis(50));
        assert_eq!(late, "failed: offset 101.0 ms, at most 100 ms allowed");
        assert_eq!(judged(begin - millis(31), begin - millis(21), begin + millis(52)), "stratum 2, offset -52.0 ms");
        let day = judged(begin - seconds(86_400), begin - seconds(86_400), begin);
        assert_eq!(day, "failed: offset -86400.0 s, at most 100 ms allowed");
    }

    /// 2036-02-07 06:28:16 UTC, when the seconds begin anew.
    #[test]
    fn eras_do_not_matter() {
        let end = Duration::from_secs((1 << 32) - TO_UNIX);
        let tenth = Duration::from_millis(100);
        let answer = answer(end + tenth, end + tenth);
        assert!(answer.received.0 < 1 << 32);
        let verdict = judge(&PROBE, &answer, Time::of(end - tenth / 2), Time::of(end + tenth * 3));
        assert_eq!(words(verdict), "stratum 2, offset -25.0 ms");
    }

    #[test]
    fn who_has_no_time_says_so_in_many_ways() {
        let good = answer(Duration::from_secs(1), Duration::from_secs(1));
        let (probe, at) = (NtpProbe { max_stratum: 3, max_offset: None }, Time::of(Duration::from_secs(1)));
        for (answer, expected) in [
            (Answer { stratum: 3, ..good }, "stratum 3, offset 0.0 ms"),
            (Answer { stratum: 4, ..good }, "failed: stratum 4, at most 3 allowed"),
            (Answer { stratum: 16, ..good }, "failed: stratum 16, at most 3 allowed"),
            (Answer { stratum: 0, leap: 3, reference: *b"RATE", ..good }, "failed: kiss-o'-death RATE"),
            (Answer { stratum: 0, leap: 3, reference: [0; 4], ..good }, "failed: not synchronized"),
            (Answer { leap: 3, ..good }, "failed: not synchronized"),
            (Answer { sent: Time(0), ..good }, "failed: not synchronized"),
            (Answer { mode: 5, ..good }, "failed: mode 5, expected 4 (server)"),
        ] {
            assert_eq!(words(judge(&probe, &answer, at, at)), expected);
        }
    }
}
