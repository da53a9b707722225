//! How many messages there were, by their types (RFC 4271 §4.1, RFC 2918).

/// What messages are called, by their types from 1 on.
const NAMES: [&str; 5] = ["open", "update", "notification", "keepalive", "route_refresh"];
/// Octets of a header, and where in it the length and the type are.
const HEADER: usize = 19;

/// Messages in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u64; NAMES.len()]);

impl Counts {
    /// One of this type; one that has none is not counted.
    pub fn add(&mut self, kind: u8) {
        if let Some(count) = usize::from(kind).checked_sub(1).and_then(|index| self.0.get_mut(index)) {
            *count += 1;
        }
    }

    /// All that whole messages are in these octets.
    pub fn add_all(&mut self, octets: &[u8]) {
        let mut rest = octets;
        while let Some(&[high, low, kind]) = rest.get(HEADER - 3..HEADER) {
            self.add(kind);
            let length = usize::from(u16::from_be_bytes([high, low])).max(HEADER);
            rest = rest.get(length..).unwrap_or_default();
        }
    }

    /// And those.
    pub fn add_counts(&mut self, more: Counts) {
        self.0.iter_mut().zip(more.0).for_each(|(count, more)| *count += more);
    }

    /// Each type's name and count.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        NAMES.into_iter().zip(self.0)
    }
}

/// What was said to a peer and heard from it since it was configured, over all its connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Connections that were attempted, or taken from the router.
    pub connects: u64,
    /// Messages handed to TCP.
    pub sent: Counts,
    /// Whole and well-formed messages.
    pub received: Counts,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: usize) -> Vec<u8> {
        let length = (HEADER + body) as u16;
        [&[0xff; 16][..], &length.to_be_bytes(), &[kind], &vec![0; body]].concat()
    }

    #[test]
    fn whole_messages_are_counted_whatever_they_hold() {
        let mut counts = Counts::default();
        counts.add_all(&[message(4, 0), message(2, 300), message(2, 4), message(5, 4), message(77, 1)].concat());
        counts.add(1);
        counts.add(0);
        let named: Vec<_> = counts.iter().collect();
        assert_eq!(named, [("open", 1), ("update", 2), ("notification", 0), ("keepalive", 1), ("route_refresh", 1)]);
        // It ends, whatever the octets say.
        let mut counts = Counts::default();
        counts.add_all(&[0; 100]);
        counts.add_all(&message(3, 2)[..HEADER + 1]);
        assert_eq!(counts.iter().map(|(_, count)| count).sum::<u64>(), 1);
    }
}
