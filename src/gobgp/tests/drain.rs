//! An operator drains gobgpd.

use super::*;

#[test]
fn routes_say_that_they_will_go_and_then_go() {
    let routes = [(prefix("192.0.2.1"), 1), (prefix("2001:db8::1"), 2)];
    let mut lab = Lab::up(true, &routes);
    let has = |lab: &Lab, value: &[u8]| {
        lab.server.table.values().filter(|attributes| attributes.iter().any(|attribute| attribute == value)).count()
    };
    let (graceful, local_pref) = (&[0xc0, 8, 4, 0xff, 0xff, 0, 0][..], &[0x40, 5, 4, 0, 0, 0, 0][..]);
    lab.announcer.tell(lab.now, Telling::Graceful);
    lab.run();
    lab.check();
    assert_eq!((has(&lab, graceful), has(&lab, local_pref)), (2, 2));
    assert!(lab.announcer.status().drained);
    // What is about to go is not announced first.
    lab.want(&[(prefix("192.0.2.2"), 3)]);
    lab.run();
    assert_eq!(lab.table().len(), 2);
    lab.kill();
    lab.listens = true;
    lab.wait(SECOND);
    lab.check();
    assert_eq!(lab.table().len(), 0);
    lab.announcer.tell(lab.now, Telling::Nothing);
    lab.run();
    lab.check();
    lab.announcer.tell(lab.now, Telling::Everything);
    lab.run();
    lab.check();
    assert_eq!((has(&lab, graceful), lab.table().len()), (0, 3));
    lab.announcer.tell(lab.now, Telling::Nothing);
    lab.run();
    lab.expect(&[]);
}
