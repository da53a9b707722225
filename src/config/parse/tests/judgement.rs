//! When a service is up, how a VIP is announced by what state, and when Herald doubts itself.

use std::time::Duration;

use super::*;
use crate::config::{
    Damping, Dependency, FailStatic, Hold, Measure, OnFailure, Population, Quorum, RungAction, VipPolicy,
};

use crate::prefix::Prefix;

const SECOND: Duration = Duration::from_secs(1);

fn required(text: &str) -> Quorum {
    config(&with("port", &format!("required = {text}"))).services[0].required
}

fn vip(lines: &str) -> crate::config::Vip {
    config(&format!("{BASE}{lines}\n")).vips.values().next().unwrap().clone()
}

#[test]
fn forms_of_a_quorum() {
    use Required::{Backends, Percent};
    let quorum = |up, down, measure| Quorum { up, down, measure };
    for (text, expected) in [
        ("2", Quorum::from(Backends(2))),
        ("'50%'", Quorum::from(Percent(50))),
        ("{ up = '60%', down = '40%' }", quorum(Percent(60), Percent(40), Measure::Backends)),
        ("{ up = 3 }", Quorum::from(Backends(3))),
        ("{ up = 3, down = '10%' }", quorum(Backends(3), Percent(10), Measure::Backends)),
        ("{ weight = 30 }", quorum(Backends(30), Backends(30), Measure::Weight)),
        ("{ weight = { up = 30, down = 20 } }", quorum(Backends(30), Backends(20), Measure::Weight)),
        ("{ weight = { up = '60%' } }", quorum(Percent(60), Percent(60), Measure::Weight)),
    ] {
        assert_eq!(required(text), expected, "{text}");
    }
    for (text, expected) in [
        ("{ down = 1 }", "14:12: `required` needs `up`"),
        ("{ up = 1, down = 2 }", "14:29: `down` must not be above `up`: a service would come up only to go down"),
        (
            "{ up = '40%', down = '60%' }",
            "14:33: `down` must not be above `up`: a service would come up only to go down",
        ),
        ("{ up = 1, wieght = 1 }", "14:22: unknown key `wieght` in `required`; did you mean `weight`?"),
        ("{ up = '101%' }", "14:19: `up` must be a number of backends or a share from \"0%\" to \"100%\", not `101%`"),
        ("{ weight = 'x' }", "14:23: `weight` must be a number of weight or a share from \"0%\" to \"100%\", not `x`"),
        (
            "{ up = 1, weight = 1 }",
            "14:14: `up` is of backends, and `weight` of weight: `weight` takes both marks itself",
        ),
        ("true", "14:12: `required` must be an integer, not true"),
    ] {
        expect_errors(&with("port", &format!("required = {text}")), &[expected]);
    }
    let sorry = |lines: &str| changed("address = \"10.1.0.1\"\n", &format!("address = \"10.1.0.1\"\n{lines}\n"));
    expect_errors(
        &sorry("sorry = true"),
        &["10:1: every backend is `sorry`, and there is none that they could stand in for"],
    );
    let both = sorry("[[service.backend]]\naddress = '10.1.0.2'\nsorry = true");
    assert_eq!(
        config(&both).services[0].backends.iter().map(|backend| backend.sorry).collect::<Vec<_>>(),
        [false, true]
    );
    let too_much = with("port", "required = { weight = 2 }");
    assert_eq!(
        warnings(&too_much),
        ["f:10:1: service `web` requires a weight of 2, but only 1 of it can count: it is always down"]
    );
}

#[test]
fn holds_damping_and_policy() {
    let plain = vip("");
    assert_eq!(
        (plain.policy, plain.hold_up, plain.hold_down, plain.damping),
        (VipPolicy::All, Hold::default(), Hold::default(), None)
    );
    let all = vip(
        "vip_policy = 'any'\nhold_up = '5s'\nhold_down = { initial = '1s', max = '8s', reset_after = '1m' }\ndamping = true",
    );
    assert_eq!(
        (all.policy, all.hold_up, all.damping),
        (VipPolicy::Any, Hold::constant(5 * SECOND), Some(Damping::default()))
    );
    assert_eq!(all.hold_down, Hold { initial: SECOND, max: 8 * SECOND, reset_after: 60 * SECOND });
    assert_eq!([0, 1, 2, 3, 4, 5, 99].map(|falls| all.hold_down.after(falls).as_secs()), [1, 1, 2, 4, 8, 8, 8]);
    assert_eq!(vip("damping = { reuse = 1000 }").damping, Some(Damping { reuse: 1000, ..Damping::default() }));
    assert_eq!(vip("damping = false").damping, None);
    for (lines, expected) in [
        ("vip_policy = 'most'", "19:14: `vip_policy` must be \"all\" or \"any\", not `most`"),
        ("hold_up = { max = '1s' }", "19:11: `hold_up` or `hold_down` needs `initial`"),
        ("hold_up = { initial = '2s', max = '1s' }", "19:35: `max` must be from 2s to 86400s, not `1s`"),
        ("hold_down = '2d'", "19:13: `hold_down` must be from 0s to 86400s, not `2d`"),
        ("damping = { suppress = 700 }", "19:11: `reuse` (750) must be below `suppress` (700)"),
        ("damping = { half_life = '0s' }", "19:25: `half_life` must be from 1s to 86400s, not `0s`"),
        (
            "damping = { half_life = '1h', max_suppress = '1m' }",
            "19:11: `max_suppress` is so short beside `half_life` that no penalty ever gets to `suppress` (RFC 2439 4.2): make it longer, or `suppress` smaller",
        ),
    ] {
        expect_errors(&format!("{BASE}{lines}\n"), &[expected]);
    }
}

#[test]
fn ladders() {
    let ladder = vip(
        "med = 1\n[[vip.step]]\nbelow = '25%'\nwithdraw = true\n[[vip.step]]\nbelow = '75%'\nmed = 5\ncommunities = ['65000:1']",
    )
    .ladder;
    assert_eq!(ladder.iter().map(|rung| rung.below).collect::<Vec<_>>(), [75, 25], "from the top");
    let RungAction::Announce(attributes) = &ladder[0].action else { panic!("{ladder:?}") };
    assert_eq!((attributes.med, attributes.communities.len()), (Some(5), 1));
    assert_eq!(ladder[1].action, RungAction::Withdraw);
    for (lines, expected) in [
        ("med = 1", "19:1: [[vip.step]] needs `below`"),
        ("below = '0%'\nmed = 1", "20:9: `below` must be a share from \"1%\" to \"100%\", not `0%`"),
        ("below = 5\nmed = 1", "20:9: `below` must be a share such as \"50%\", not the integer 5"),
        ("below = '5%'", "19:1: a step needs `withdraw = true`, or what the route shall have then, such as `med`"),
        ("below = '5%'\nwithdraw = true\nmed = 1", "22:1: `med` does nothing in a step that withdraws"),
        (
            "below = '5%'\nmed = 1\n[[vip.step]]\nbelow = '5%'\nmed = 2",
            "23:9: a step below 5% is there, already at f:20:9",
        ),
    ] {
        expect_errors(&format!("{BASE}[[vip.step]]\n{lines}\n"), &[expected]);
    }
    let hidden = format!("{BASE}[[vip.step]]\nbelow = '50%'\nwithdraw = true\n[[vip.step]]\nbelow = '20%'\nmed = 1\n");
    assert_eq!(warnings(&hidden), ["f:23:9: the step below 20% is never reached: that below 50% withdraws first"]);
}

#[test]
fn dependencies() {
    let two = BASE.replace("[\"192.0.2.1\"]", "[\"192.0.2.1\", \"192.0.2.2\"]")
        + "depends_on = ['192.0.2.2', 'other']\n[[service]]\nname = 'other'\nvips = ['192.0.2.3']\nport = 1\nchecks = []\n";
    let vips = config(&two).vips;
    let other: Prefix = "192.0.2.2".parse().unwrap();
    assert_eq!(vips.values().next().unwrap().depends_on, [Dependency::Service(1), Dependency::Vip(other)]);
    let depends = |on: &str, more: &str| two.replace("['192.0.2.2', 'other']", on) + &more.replace('|', "\n");
    expect_errors(&depends("['192.0.2.1']", ""), &["19:15: VIP `192.0.2.1/32` cannot depend on itself"]);
    expect_errors(&depends("['web']", ""), &["19:15: service `web` is on VIP `192.0.2.1/32` anyway"]);
    expect_errors(
        &depends("['others']", ""),
        &["19:15: `depends_on`: there is neither a VIP nor a service `others`; did you mean `other`?"],
    );
    expect_errors(&depends("['other', 'other']", ""), &["19:24: `other` is listed twice"]);
    expect_errors(
        &depends("['192.0.2.3']", "[[vip]]|address = '192.0.2.3'|depends_on = ['192.0.2.1']|"),
        &["19:14: a VIP must not depend on itself: `192.0.2.1` on `192.0.2.3` on `192.0.2.1`"],
    );
}

#[test]
fn what_all_vips_share() {
    let base = BASE.replace("[\"192.0.2.1\"]", "[\"192.0.2.1\", \"192.0.2.2\"]");
    let all = config(&format!(
        "{base}hold_up = '1s'\n[vip_defaults]\nmed = 7\nhold_up = '9s'\non_down = 'degrade'\ndegraded = {{ med = 8 }}\n"
    ));
    let vips: Vec<_> = all.vips.values().collect();
    assert_eq!(
        vips.iter().map(|vip| (vip.hold_up.initial.as_secs(), vip.attributes.med)).collect::<Vec<_>>(),
        [(1, Some(7)), (9, Some(7))]
    );
    assert!(vips.iter().all(|vip| matches!(&vip.on_down, OnDown::Degrade(attributes) if attributes.med == Some(8))));
    // One that is withdrawn does not need what the others have.
    let text = format!("{BASE}on_down = 'withdraw'\n[vip_defaults]\non_down = 'degrade'\ndegraded = {{ med = 8 }}\n");
    assert_eq!(
        (config(&text).vips.values().next().unwrap().on_down.clone(), warnings(&text)),
        (OnDown::Withdraw, vec![])
    );
    expect_errors(
        &format!("{BASE}[vip_defaults]\naddress = '192.0.2.1'\n"),
        &["20:1: unknown key `address` in [vip_defaults]"],
    );
    expect_errors(
        &format!("{BASE}[vip_defaults]\nhold_upp = '1s'\n"),
        &["20:1: unknown key `hold_upp` in [vip_defaults]; did you mean `hold_up`?"],
    );
}

#[test]
fn the_guard() {
    let with_guard = |lines: &str| format!("{BASE}[fail_static]\n{lines}\n");
    let read = config(&with_guard("share = '30%'")).fail_static.unwrap();
    assert_eq!(
        read,
        FailStatic { of: Population::Vips, share: 30, minimum: 2, window: 10 * SECOND, limit: Some(600 * SECOND) }
    );
    let degrades =
        config(&with_guard("share = '0%'\npolicy = 'degrade'\ndegraded = { med = 9 }\nlimit = '0s'\nof = 'backends'"));
    assert_eq!(degrades.vips.values().next().unwrap().doubtful.as_ref().unwrap().med, Some(9));
    let guard = degrades.fail_static.unwrap();
    assert_eq!((guard.of, guard.limit, guard.share), (Population::Backends, None, 0));
    for (lines, expected) in [
        ("", "19:1: [fail_static] needs `share`"),
        ("share = '100%'", "20:9: `share` must be a share from \"0%\" to \"99%\", not `100%`"),
        ("share = '5%'\nof = 'services'", "21:6: `of` must be \"vips\" or \"backends\", not `services`"),
        ("share = '5%'\nminimum = 0", "21:11: `minimum` must be from 1 to 4294967295, not 0"),
        (
            "share = '5%'\npolicy = 'degrade'",
            "19:1: `policy = \"degrade\"` needs `degraded` with the attributes to announce then",
        ),
        ("share = '5%'\ndegraded = { med = 1 }", "21:1: `degraded` does nothing without `policy = \"degrade\"`"),
    ] {
        expect_errors(&with_guard(lines), &[expected]);
    }
}

#[test]
fn self_checks() {
    let with_check = |lines: &str| format!("{BASE}[[self_check]]\n{lines}\n");
    let fine = "name = 'up'\naddress = '10.0.0.2'\nport = 53\ncheck = [{ type = 'tcp' }]\non_failure = 'hold'";
    let read = config(&with_check(fine));
    assert_eq!((read.self_checks[0].on_failure, read.self_checks[0].checks.len()), (OnFailure::Hold, 1));
    let probe = &read.checks[read.self_checks[0].checks[0]].probe;
    assert_eq!(probe.target, "10.0.0.2:53".parse().unwrap());
    assert!(read.services.iter().flat_map(|service| &service.backends).all(|backend| backend.checks.len() == 1));
    let file = with_check("name = 'f'\ncheck = [{ type = 'file', path = '/ok' }]\non_failure = 'withdraw'");
    assert_eq!(config(&file).self_checks.len(), 1, "what dials nothing needs no address");
    for (from, to, expected) in [
        ("name = 'up'\n", "", "19:1: [[self_check]] needs `name`"),
        ("on_failure = 'hold'", "", "19:1: [[self_check]] needs `on_failure`"),
        ("'hold'", "'freeze'", "24:14: `on_failure` must be \"hold\" or \"withdraw\", not `freeze`"),
        ("address = '10.0.0.2'\n", "", "19:1: check `tcp` needs an `address` to dial"),
        ("port = 53\n", "", "19:1: check `tcp` needs a `port` to dial"),
        ("check = [{ type = 'tcp' }]", "", "19:1: a self-check needs `checks` or `check`"),
        (
            "type = 'tcp'",
            "type = 'tcp', advisory = true",
            "19:1: a self-check needs a check that counts: all of its checks are advisory",
        ),
        (
            "type = 'tcp'",
            "type = 'tcp', target = 'vip'",
            "19:1: check `tcp` needs no `target = \"vip\"`: there is no VIP here",
        ),
    ] {
        assert!(fine.contains(from));
        expect_errors(&with_check(&fine.replace(from, to)), &[expected]);
    }
    let twice = format!("{}[[self_check]]\n{fine}\n", with_check(fine));
    expect_errors(&twice, &["26:8: self-check `up` is there, already at f:20:8"]);
}
