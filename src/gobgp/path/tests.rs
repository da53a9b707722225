use super::*;
use crate::config::{Community, ExportFilter, ExtendedCommunity, LargeCommunity, Origin, PrefixPattern};
use crate::rng::Rng;

fn live() -> LiveParameters {
    LiveParameters::default()
}

fn route(live: LiveParameters, text: &str, vip: Attributes) -> (Prefix, Arc<PathAttributes>) {
    let prefix = text.parse().unwrap();
    match Exporter::new(live, Asn(65000)).route(&prefix, &Arc::new(vip)) {
        Exported::Route(route) => (prefix, route),
        other => panic!("{other:?}"),
    }
}

fn extended(text: &str) -> Vec<ExtendedCommunity> {
    vec![text.parse().unwrap()]
}

fn rich() -> Attributes {
    Attributes {
        origin: Some(Origin::Incomplete),
        as_path_prepend: Some(2),
        med: Some(50),
        local_pref: Some(200),
        communities: vec![Community(65000 << 16 | 1234)],
        large_communities: vec![LargeCommunity(65000, 1, 2)],
        extended_communities: extended("rt:65000:2"),
    }
}

/// The octets that gobgpd 3.10 and 4.8 were seen to take.
#[test]
fn golden_octets() {
    let (prefix, made) = route(live(), "192.0.2.80", rich());
    let encoded = encode(&prefix, &made).unwrap();
    assert_eq!(encoded.nlri, [0x20, 0xc0, 0, 2, 0x50]);
    let pieces: [&[u8]; 8] = [
        &[0x40, 1, 1, 2],
        &[0x40, 2, 10, 2, 2, 0, 0, 0xfd, 0xe8, 0, 0, 0xfd, 0xe8],
        &[0x40, 3, 4, 0, 0, 0, 0],
        &[0x80, 4, 4, 0, 0, 0, 50],
        &[0x40, 5, 4, 0, 0, 0, 200],
        &[0xc0, 8, 4, 0xfd, 0xe8, 4, 0xd2],
        &[0xc0, 16, 8, 0, 2, 0xfd, 0xe8, 0, 0, 0, 2],
        &[0xc0, 32, 12, 0, 0, 0xfd, 0xe8, 0, 0, 0, 1, 0, 0, 0, 2],
    ];
    assert_eq!(encoded.attributes, pieces);
    let (prefix, made) = route(live(), "2001:db8::80", Attributes::default());
    let encoded = encode(&prefix, &made).unwrap();
    let mut reach = vec![0x80, 14, 38, 0, 2, 1, 16];
    reach.extend([0; 17]);
    reach.extend([128, 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80]);
    assert_eq!(encoded.attributes, [reach, vec![0x40, 1, 1, 0], vec![0x40, 2, 0]]);
}

#[test]
fn the_vips_word_goes_before_ours_and_communities_join() {
    let mut ours = live();
    ours.next_hop_ipv4 = NextHop4::Address([192, 0, 2, 7].into());
    ours.next_hop_ipv6 = NextHop6::Address("2001:db8::7".parse().unwrap());
    ours.attributes = Attributes {
        med: Some(1),
        local_pref: Some(2),
        communities: vec![Community(1)],
        extended_communities: extended("generic:0x43000000:0x1"),
        ..Attributes::default()
    };
    ours.export =
        ExportFilter::from_lists(None, vec![PrefixPattern::from("198.51.100.0/24".parse::<Prefix>().unwrap())]);
    let (_, made) = route(ours.clone(), "192.0.2.80", Attributes { med: Some(50), ..Attributes::default() });
    assert_eq!((made.med, made.local_pref, made.as_path.len()), (Some(50), Some(2), 0));
    assert_eq!(made.next_hop, NextHop::Ipv4([192, 0, 2, 7].into()));
    assert_eq!(made.extended_communities.len(), 1, "what stays within the AS is gobgpd's to see to");
    let (_, made) = route(ours.clone(), "2001:db8::80", rich());
    assert_eq!(made.communities, [Community(1), Community(65000 << 16 | 1234)]);
    assert_eq!(made.next_hop, NextHop::Ipv6("2001:db8::7".parse().unwrap()));
    let hidden = Exporter::new(ours, Asn(1)).route(&"198.51.100.9".parse().unwrap(), &Arc::default());
    assert_eq!(hidden, Exported::Filtered);
    let (_, made) = route(live(), "192.0.2.1", Attributes { as_path_prepend: Some(255), ..Attributes::default() });
    assert_eq!(made.as_path, [Segment::Sequence(vec![Asn(65000); 255])]);
}

#[test]
fn what_is_listed_is_known_again() {
    for text in ["192.0.2.80/32", "0.0.0.0/0", "2001:db8::/32", "2001:db8::80/128"] {
        for vip in [rich(), Attributes::default()] {
            let (prefix, made) = route(live(), text, vip);
            let Encoded { nlri, mut attributes } = encode(&prefix, &made).unwrap();
            let listed = Listed::read(prefix.family(), &nlri, &attributes).unwrap();
            assert_eq!(listed.prefix, prefix);
            assert!(listed.is(&made));
            assert_eq!(listed.attributes().as_ref(), Some(&*made));
            assert!(!listed.is(&PathAttributes { med: Some(51), ..PathAttributes::clone(&made) }));
            // In another order, and with an empty path left out, it is the same.
            attributes.reverse();
            attributes.retain(|attribute| attribute[..] != [0x40, 2, 0]);
            let listed = Listed::read(prefix.family(), &nlri, &attributes).unwrap();
            assert!(listed.is(&made));
            assert_eq!(listed.attributes().as_ref(), Some(&*made));
            // With something more it is not.
            attributes.push(vec![0xc0, 99, 1, 0]);
            assert!(!Listed::read(prefix.family(), &nlri, &attributes).unwrap().is(&made));
        }
    }
}

#[test]
fn only_local_paths_under_our_identifier_are_ours() {
    let path = |identifier, neighbor_ip: &str| message::Path {
        identifier,
        neighbor_ip: neighbor_ip.to_owned(),
        nlri_binary: vec![32, 192, 0, 2, 1],
        ..message::Path::default()
    };
    let is_own = |path: &message::Path| own(path, Family::Ipv4, 7).is_some();
    assert!(is_own(&path(7, "")) && is_own(&path(7, "<nil>")));
    assert!(!is_own(&path(0, "")) && !is_own(&path(8, "")) && !is_own(&path(7, "10.0.0.1")));
    for nlri in [&[][..], &[33, 1, 2, 3, 4, 5], &[32, 1], &[0, 0]] {
        assert!(!is_own(&message::Path { nlri_binary: nlri.to_vec(), ..path(7, "") }), "{nlri:?}");
    }
}

#[test]
fn nothing_that_is_listed_does_harm() {
    let mut rng = Rng::new(1);
    let (prefix, made) = route(live(), "2001:db8::80", rich());
    let encoded = encode(&prefix, &made).unwrap();
    for _ in 0..20_000 {
        let mut attributes = encoded.attributes.clone();
        let which = rng.below(attributes.len() as u64) as usize;
        let at = rng.below(attributes[which].len() as u64) as usize;
        attributes[which][at] = rng.bits() as u8;
        attributes[which].truncate(1 + rng.below(80) as usize);
        for family in Family::ALL {
            if let Some(listed) = Listed::read(family, &encoded.nlri, &attributes) {
                listed.is(&made);
                listed.attributes().map(|attributes| describe(&attributes));
            }
        }
    }
    let endless = vec![vec![0; 60_000]; 1000];
    assert!(Listed::read(Family::Ipv6, &encoded.nlri, &endless).unwrap().octets.len() <= ATTRIBUTES_MAX);
}

#[test]
fn what_fits_no_message_is_not_made() {
    let mut exporter = Exporter::new(live(), Asn(1));
    let prefix = "192.0.2.1".parse().unwrap();
    let with =
        |count| Arc::new(Attributes { communities: (0..count).map(Community).collect(), ..Attributes::default() });
    assert!(matches!(exporter.route(&prefix, &with(900)), Exported::Route(_)));
    assert_eq!(exporter.route(&prefix, &with(1100)), Exported::TooLarge);
    for count in 0..3 * SWEEP_ABOVE as u32 {
        exporter.route(&prefix, &Arc::new(Attributes { med: Some(count), ..Attributes::default() }));
    }
    assert!(exporter.memo[0].len() <= SWEEP_ABOVE + 1);
}
