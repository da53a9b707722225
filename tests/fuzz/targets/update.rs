//! The bodies of UPDATEs, with AS numbers of two octets and of four, from our AS and from another.

use herald::bgp::attribute::PathAttributes;
use herald::bgp::message::{Inbox, MAX_LEN, Message};
use herald::bgp::update::{Encoding, Treatment, Update, encode_announcements, encode_end_of_rib, encode_withdrawals};
use herald::prefix::{Family, Prefix};

/// How a session reads UPDATEs.
#[derive(Clone, Copy)]
struct Reading {
    four_octet_as: bool,
    internal: bool,
}

/// What can be decoded can be encoded, and says the same then, without fault.
pub(crate) fn run(body: &[u8]) {
    for (four_octet_as, internal) in [(false, false), (false, true), (true, false), (true, true)] {
        match Update::decode(body, four_octet_as, internal) {
            Ok(update) => {
                check_fault(&update);
                encode_again(body, &update, Reading { four_octet_as, internal });
            }
            Err(notification) => assert_eq!(notification.code, 3, "{notification}"),
        }
    }
}

fn check_fault(update: &Update) {
    let Some(fault) = &update.fault else { return };
    assert_eq!(fault.error.code, 3, "{}", fault.error);
    assert!(update.end_of_rib.is_none());
    assert!(fault.treatment != Treatment::TreatAsWithdraw || update.announced.is_empty());
}

fn encode_again(body: &[u8], update: &Update, reading: Reading) {
    // Either way of withdrawing IPv4 routes; which of them goes with which reading is of no matter.
    let Reading { four_octet_as, internal } = reading;
    let encoding = Encoding { four_octet_as, mp_ipv4: internal, max_len: MAX_LEN };
    for (attributes, prefixes) in &update.announced {
        let family = prefixes[0].family();
        let mut bytes = Vec::new();
        match encode_announcements(attributes, family, prefixes, encoding, &mut bytes) {
            Ok(()) => {
                let expected: Vec<_> = prefixes.iter().map(|prefix| (attributes.clone(), *prefix)).collect();
                assert_eq!(read(&bytes, reading), (expected, vec![], vec![]));
            }
            // AS4_PATH may come to what AS_PATH had twice over; nothing else grows.
            Err(error) => assert!(3 * body.len() + 200 > MAX_LEN && bytes.is_empty(), "{error}: {attributes:?}"),
        }
    }
    for family in Family::ALL {
        let withdrawn: Vec<_> = update.withdrawn.iter().copied().filter(|prefix| prefix.family() == family).collect();
        let mut bytes = Vec::new();
        encode_withdrawals(family, &withdrawn, encoding, &mut bytes);
        assert_eq!(read(&bytes, reading), (vec![], withdrawn, vec![]));
    }
    if let Some(family) = update.end_of_rib {
        assert!(update.announced.is_empty() && update.withdrawn.is_empty());
        let mut bytes = Vec::new();
        encode_end_of_rib(family, &mut bytes);
        assert_eq!(read(&bytes, reading), (vec![], vec![], vec![family]));
    }
}

type Routes = (Vec<(PathAttributes, Prefix)>, Vec<Prefix>, Vec<Family>);

fn read(bytes: &[u8], reading: Reading) -> Routes {
    let mut inbox = Inbox::default();
    inbox.push(bytes);
    let mut routes: Routes = Default::default();
    let mut length = 0;
    while let Some(message) = inbox.next().unwrap() {
        let Message::Update(body) = message else { panic!("{message:?}") };
        length += 19 + body.len();
        let update = Update::decode(&body, reading.four_octet_as, reading.internal).unwrap();
        assert_eq!(update.fault, None);
        for (attributes, prefixes) in update.announced {
            routes.0.extend(prefixes.into_iter().map(|prefix| (attributes.clone(), prefix)));
        }
        routes.1.extend(update.withdrawn);
        routes.2.extend(update.end_of_rib);
    }
    assert_eq!(length, bytes.len(), "nothing is left over");
    routes
}
