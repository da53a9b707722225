//! Messages in a stream: a flag, a length of four octets, and the message.

use super::Failure;

const HEADER_LEN: usize = 5;

/// Appends a message with its header.
pub(super) fn frame(message: &[u8], out: &mut Vec<u8>) {
    out.push(0);
    out.extend(u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(message);
}

/// What has come of a stream and is no whole message yet.
#[derive(Debug)]
pub(super) struct Inbox {
    octets: Vec<u8>,
    longest: usize,
}

impl Inbox {
    /// No message may be longer than this.
    pub(super) fn new(longest: usize) -> Inbox {
        Inbox { octets: Vec::new(), longest }
    }

    /// Takes octets, and returns the messages that are whole with them. Room is made for what has come, not for what a
    /// length promises.
    pub(super) fn push(&mut self, octets: &[u8]) -> Result<Vec<Vec<u8>>, Failure> {
        self.octets.extend_from_slice(octets);
        let mut messages = Vec::new();
        let mut rest = &self.octets[..];
        while let Some((header, tail)) = rest.split_first_chunk::<HEADER_LEN>() {
            let [flag, length @ ..] = *header;
            let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
            if flag != 0 {
                return Err(Failure::NotGrpc("a compressed message, which we did not ask for".to_owned()));
            }
            if length > self.longest {
                return Err(Failure::TooLong(length));
            }
            let Some((message, tail)) = tail.split_at_checked(length) else { break };
            messages.push(message.to_vec());
            rest = tail;
        }
        let taken = self.octets.len() - rest.len();
        self.octets.drain(..taken);
        Ok(messages)
    }

    /// Whether nothing is left of a message.
    pub(super) fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_it_is_cut() {
        let messages: [&[u8]; 4] = [b"", b"one", &[7; 300], b"x"];
        let mut stream = Vec::new();
        for message in messages {
            frame(message, &mut stream);
        }
        for size in 1..=stream.len() {
            let mut inbox = Inbox::new(300);
            let read: Vec<_> = stream.chunks(size).flat_map(|piece| inbox.push(piece).unwrap()).collect();
            assert_eq!(read, messages);
            assert!(inbox.is_empty());
        }
        assert_eq!(Inbox::new(299).push(&stream), Err(Failure::TooLong(300)));
        assert!(matches!(Inbox::new(9).push(&[1, 0, 0, 0, 0]), Err(Failure::NotGrpc(_))));
        assert_eq!(Inbox::new(1 << 20).push(&[0, 0xff, 0xff, 0xff, 0xff]), Err(Failure::TooLong(0xffff_ffff)));
    }
}
