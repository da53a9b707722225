//! Replies that clients have not taken yet: what they may hold together, and which are given up when that is more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// What all of them may have together.
const ROOM: usize = 32 << 20;
/// So many of the newest are kept whatever they have: their clients have had no time yet.
const NEWEST: usize = 3;
/// Smaller ones are not worth counting: there are not that many clients.
const SMALL: usize = 64 * 1024;

/// Which replies there is no room for besides a new one, of all that are `held`, each since then; one that many clients share
/// is one. Their clients have had the longest time.
pub(super) fn too_old<'a, I>(new: &'a Arc<[u8]>, held: I) -> Vec<Arc<[u8]>>
where
    I: Iterator<Item = (Instant, &'a Arc<[u8]>)>,
{
    if new.len() <= SMALL {
        return Vec::new();
    }
    let mut replies: BTreeMap<*const u8, (Instant, &Arc<[u8]>)> = BTreeMap::new();
    for (since, reply) in held.filter(|(_, reply)| reply.len() > SMALL && !Arc::ptr_eq(reply, new)) {
        let first = replies.entry(reply.as_ptr()).or_insert((since, reply));
        first.0 = first.0.min(since);
    }
    let mut replies: Vec<_> = replies.into_values().collect();
    replies.sort_by_key(|(since, _)| *since);
    let mut octets: usize = new.len() + replies.iter().map(|(_, reply)| reply.len()).sum::<usize>();
    let spare = (replies.len() + 1).saturating_sub(NEWEST);
    let oldest = replies.into_iter().take(spare).take_while(|(_, reply)| {
        let is_too_much = octets > ROOM;
        octets -= reply.len();
        is_too_much
    });
    oldest.map(|(_, reply)| reply.clone()).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::driver::clock;

    #[test]
    fn the_oldest_go_first() {
        let now = clock();
        let reply = |octets: usize| -> Arc<[u8]> { vec![0; octets].into() };
        let [a, b, c, d] = [ROOM / 4, ROOM / 4, ROOM / 4, SMALL].map(reply);
        let at = |second| now + Duration::from_secs(second);
        let held = [(at(2), &a), (at(4), &b), (at(1), &b), (at(3), &c), (at(0), &d), (at(9), &c)];
        let too_old = |new: &Arc<[u8]>| {
            let given_up = too_old(new, held.into_iter());
            given_up
                .iter()
                .map(|reply| [&a, &b, &c].iter().position(|known| Arc::ptr_eq(known, reply)))
                .collect::<Vec<_>>()
        };
        assert_eq!(too_old(&reply(ROOM / 4)), [], "there is room for all");
        assert_eq!(too_old(&c), [], "shared");
        assert_eq!(too_old(&reply(SMALL)), [], "not counted");
        assert_eq!(too_old(&reply(ROOM / 4 + 1)), [Some(1)]);
        // Its clients, and those of the two before it, have had no time.
        assert_eq!(too_old(&reply(2 * ROOM)), [Some(1)]);
    }
}
