//! VIPs that stand on addresses and on a data plane: in which order what is done.

use super::*;
use crate::announce::AddressNews;
use crate::engine::data_plane_job::{DataPlaneAction, DataPlaneJob, DataPlaneOutcome};
use crate::engine::ground::AddressAction;

/// What others see of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Routes were announced or withdrawn.
    Announced,
    Withdrawn,
    Address(AddressAction),
    DataPlane(DataPlaneJob),
}

impl Step {
    /// What an UPDATE is; nothing for an End-of-RIB.
    pub(super) fn of(message: &Message) -> Option<Step> {
        let Message::Update(body) = message else { return None };
        match body.as_slice() {
            [0, 0, 0, 0] => None,
            // Of IPv4 routes, the length of what is withdrawn comes first.
            [0, 0, ..] => body.ends_with(&[32, 192, 0, 2, 1]).then_some(Step::Announced),
            _ => Some(Step::Withdrawn),
        }
    }
}

const BIND: &str = "bind = \"lo\"\n";
const HOOK: &str = "[hooks]\ndata_plane = \"/bin/lb\"\n";

fn text(up: bool, vip: &str, hooks: &str) -> String {
    let required = if up { 1 } else { 2 };
    format!(
        "[daemon]\nshutdown_drain = \"0\"\n[bgp]\nlocal_as = 65001\nrouter_id = \"10.0.0.2\"\n\
         [[bgp.peer]]\nname = \"tor\"\naddress = \"10.0.0.1\"\npeer_as = 65000\nnext_hop_ipv6 = \"fd00::2\"\n\
         [[service]]\nname = \"web\"\nvips = [\"192.0.2.1\"]\nport = 80\nrequired = {required}\nchecks = []\n\
         [[service.backend]]\naddress = \"10.1.0.1\"\nweight = 7\n[[vip]]\naddress = \"192.0.2.1\"\n{vip}{hooks}"
    )
}

fn config(up: bool, vip: &str, hooks: &str) -> Arc<Config> {
    Arc::new(config::parse(&[Source { name: "test".into(), text: text(up, vip, hooks) }]).unwrap())
}

fn vip() -> Prefix {
    "192.0.2.1".parse().unwrap()
}

fn add(interface: &str) -> Step {
    Step::Address(AddressAction::Add { prefix: vip(), interface: interface.into() })
}

fn remove(interface: &str) -> Step {
    Step::Address(AddressAction::Remove { prefix: vip(), interface: interface.into() })
}

impl World {
    /// With a session, and nothing seen so far.
    fn on(vip: &str, hooks: &str) -> World {
        let mut world = World::new(config(true, vip, hooks));
        world.establish();
        world
    }

    fn steps(&mut self) -> Vec<Step> {
        std::mem::take(&mut self.steps)
    }

    fn address(&mut self, news: &[AddressNews]) {
        self.input(Input::Addresses(news.iter().map(|news| (vip(), news.clone())).collect()));
    }

    /// The data plane answers what it was asked last.
    fn answer(&mut self, step: &Step, result: Result<(), String>) {
        let Step::DataPlane(job) = step else { panic!("{step:?}") };
        self.input(Input::DataPlaneDone(DataPlaneOutcome { id: job.id, vip: job.vip, result, took: SECOND }));
    }

    fn turn(&mut self, up: bool, vip: &str, hooks: &str) {
        self.input(Input::Configure(config(up, vip, hooks)));
    }

    fn why(&self) -> &str {
        self.reasons.last().unwrap()
    }
}

fn action(step: &Step) -> DataPlaneAction {
    let Step::DataPlane(job) = step else { panic!("{step:?}") };
    job.action
}

#[test]
fn from_the_ground_up_and_down_again() {
    let mut world = World::on(BIND, HOOK);
    assert_eq!(world.steps(), [add("lo")], "nothing is announced before");
    world.address(&[AddressNews::Absent]);
    assert_eq!((world.steps(), world.why()), (vec![], "192.0.2.1/32: healthy; waiting for its address on lo"));
    world.address(&[AddressNews::Present]);
    let steps = world.steps();
    let [prepare] = &steps[..] else { panic!("{steps:?}") };
    let Step::DataPlane(job) = prepare else { panic!("{prepare:?}") };
    let expected = r#"{"event":"data_plane","action":"up","vip":"192.0.2.1/32","services":[{"name":"web","port":80,"#
        .to_owned()
        + r#""last_port":80,"protocol":"tcp","backends":[{"address":"10.1.0.1:80","weight":7,"state":"up"}]}]}"#;
    assert_eq!(job.json(), expected);
    world.answer(prepare, Ok(()));
    assert_eq!(world.steps(), [Step::Announced]);

    world.turn(false, BIND, HOOK);
    let steps = world.steps();
    let [Step::Withdrawn, retire] = &steps[..] else { panic!("{steps:?}") };
    assert_eq!(action(retire), DataPlaneAction::Down);
    world.run(5 * SECOND - Duration::from_millis(1));
    assert_eq!(world.steps(), [], "the address stays for a while");
    world.run(SECOND);
    assert_eq!(world.steps(), [remove("lo")]);
    world.address(&[AddressNews::Absent]);
    world.run(60 * SECOND);
    assert_eq!(world.steps(), [], "and that is all");
}

#[test]
fn a_vip_that_rises_while_its_address_goes_has_it_put_back() {
    for required in ["", "require_address = true\n"] {
        let vip = format!("{BIND}{required}");
        let mut world = World::on(&vip, "");
        world.address(&[AddressNews::Present]);
        world.turn(false, &vip, "");
        world.steps();
        world.run(6 * SECOND);
        assert_eq!(world.steps(), [remove("lo")]);
        // The driver has not answered yet.
        world.turn(true, &vip, "");
        assert_eq!(world.steps(), [add("lo")]);
        world.address(&[AddressNews::Absent, AddressNews::Present]);
        assert_eq!(world.steps(), [Step::Announced]);
    }
}

#[test]
fn an_address_that_somebody_removes() {
    let mut world = World::on(BIND, "");
    world.address(&[AddressNews::Present]);
    world.steps();
    world.address(&[AddressNews::Absent]);
    assert_eq!(world.steps(), [add("lo")], "it is put back, and stays announced");
    let vip = format!("{BIND}require_address = true\n");
    let mut world = World::on(&vip, "");
    world.address(&[AddressNews::Present]);
    world.steps();
    world.address(&[AddressNews::Absent]);
    assert_eq!((world.steps(), world.why()), (vec![Step::Withdrawn], "192.0.2.1/32: its address is not on lo"));
    world.run(60 * SECOND);
    assert_eq!(world.steps(), []);
    world.address(&[AddressNews::Present]);
    assert_eq!(world.steps(), [Step::Announced]);
}

#[test]
fn an_address_that_must_be_there_and_is_nobodys() {
    let mut world = World::on("require_address = true\n", "");
    assert_eq!(world.why(), "192.0.2.1/32: healthy; waiting for its address on this host");
    world.address(&[AddressNews::Absent]);
    assert_eq!((world.steps(), world.why()), (vec![], "192.0.2.1/32: its address is not on this host"));
    world.address(&[AddressNews::Present]);
    assert_eq!(world.steps(), [Step::Announced]);
    world.turn(false, "require_address = true\n", "");
    world.run(60 * SECOND);
    assert_eq!(world.steps(), [Step::Withdrawn], "it is not ours to remove");
}

#[test]
fn what_fails_is_tried_again() {
    let mut world = World::on(BIND, "");
    world.steps();
    world.address(&[AddressNews::Absent, AddressNews::Failed("no such interface lo9".to_owned())]);
    assert_eq!(world.why(), "192.0.2.1/32: healthy, but its address cannot be put on lo: no such interface lo9");
    world.run(Duration::from_millis(999));
    assert_eq!(world.steps(), []);
    world.run(SECOND);
    assert_eq!(world.steps(), [add("lo")]);
}

#[test]
fn a_bind_that_moves() {
    let mut world = World::on(BIND, "");
    world.steps();
    // While it is still being added.
    world.turn(true, "bind = \"dummy0\"\n", "");
    assert_eq!(world.steps(), [remove("lo"), add("dummy0")]);
    world.address(&[AddressNews::Absent, AddressNews::Present]);
    assert_eq!(world.steps(), [Step::Announced]);
    world.turn(true, BIND, "");
    assert_eq!(world.steps(), [remove("dummy0"), add("lo")], "and it stays announced");
}

#[test]
fn a_clean_stop_waits_for_the_address() {
    let mut world = World::on(BIND, HOOK);
    world.address(&[AddressNews::Present]);
    let prepare = world.steps().pop().unwrap();
    world.answer(&prepare, Ok(()));
    world.steps();
    world.input(Input::Stop("bye".to_owned()));
    let steps = world.steps();
    assert!(matches!(&steps[..], [Step::Withdrawn, retire] if action(retire) == DataPlaneAction::Down), "{steps:?}");
    assert!(!world.stopped);
    world.run(4 * SECOND);
    assert!(!world.stopped && world.steps().is_empty());
    world.run(SECOND);
    assert_eq!((world.steps(), world.stopped), (vec![remove("lo")], true));
}

#[test]
fn a_stop_without_an_address_does_not_wait() {
    let mut world = World::new(config(false, BIND, ""));
    world.establish();
    // It is told of a moment after the start: until then it may be there.
    world.address(&[AddressNews::Absent]);
    world.input(Input::Stop("bye".to_owned()));
    assert!(world.stopped && world.steps().is_empty());
}

#[test]
fn a_stop_at_once_leaves_nothing_behind_and_a_restart_all() {
    for restart in [false, true] {
        let mut world = World::on(BIND, HOOK);
        world.address(&[AddressNews::Present]);
        let prepare = world.steps().pop().unwrap();
        world.answer(&prepare, Ok(()));
        world.steps();
        world.input(if restart { Input::Leave } else { Input::StopAtOnce("bye".to_owned()) });
        let steps = world.steps();
        assert!(world.stopped);
        match &steps[..] {
            [] => assert!(restart),
            [retire, unbind] => {
                assert!(!restart && action(retire) == DataPlaneAction::Down && *unbind == remove("lo"), "{steps:?}");
            }
            _ => panic!("{steps:?}"),
        }
    }
}

#[test]
fn a_data_plane_that_fails() {
    for (policy, announced) in [("hold", false), ("announce", true)] {
        let hooks = format!("{HOOK}data_plane_policy = \"{policy}\"\n");
        let mut world = World::on("", &hooks);
        let steps = world.steps();
        world.answer(&steps[0], Err("exit status 3: no route".to_owned()));
        if announced {
            assert_eq!(world.steps(), [Step::Announced]);
        } else {
            let why = "192.0.2.1/32: healthy, but the data plane is not ready: exit status 3: no route";
            assert_eq!((world.steps(), world.why()), (vec![], why));
        }
        world.run(SECOND);
        let steps = world.steps();
        assert_eq!(action(&steps[0]), DataPlaneAction::Up, "tried again");
        world.answer(&steps[0], Ok(()));
        assert_eq!(world.steps(), if announced { vec![] } else { vec![Step::Announced] });
    }
}

#[test]
fn a_late_answer_of_an_earlier_run_means_nothing() {
    let mut world = World::on("", HOOK);
    let early = world.steps();
    world.turn(false, "", HOOK);
    world.turn(true, "", HOOK);
    let steps = world.steps();
    assert_eq!(steps.iter().map(action).collect::<Vec<_>>(), [DataPlaneAction::Down, DataPlaneAction::Up]);
    world.answer(&early[0], Ok(()));
    assert_eq!(world.steps(), []);
    world.answer(&steps[1], Ok(()));
    assert_eq!(world.steps(), [Step::Announced]);
}

#[test]
fn a_vip_that_is_configured_no_more() {
    let mut world = World::on(BIND, "");
    world.address(&[AddressNews::Present]);
    world.steps();
    let other = text(true, BIND, "").replace("192.0.2.1", "192.0.2.9").replace(BIND, "");
    world.input(Input::Configure(Arc::new(config::parse(&[Source { name: "test".into(), text: other }]).unwrap())));
    assert!(world.steps().contains(&Step::Withdrawn));
    world.run(6 * SECOND);
    assert_eq!(world.steps(), [remove("lo")]);
}
