//! Who it is that gives an order, for the log and for whoever asks later.

use std::env;
use std::fs;

use nix::unistd::{Uid, User, getuid};

/// By name: who has logged in, also where `sudo` or `su` made root of him since; or else whose process this is.
pub(super) fn name() -> Option<String> {
    let logged_in = fs::read_to_string("/proc/self/loginuid").ok().and_then(|text| login(&text)).and_then(name_of);
    logged_in.or_else(|| env::var("SUDO_USER").ok()).or_else(|| name_of(getuid()))
}

/// The kernel's number for nobody is the highest: a process that nobody's login has led to.
fn login(text: &str) -> Option<Uid> {
    text.trim().parse().ok().filter(|uid| *uid != u32::MAX).map(Uid::from_raw)
}

fn name_of(uid: Uid) -> Option<String> {
    User::from_uid(uid).ok().flatten().map(|user| user.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_logged_in_is_known_by_number() {
        for (text, expected) in [("1000", Some(1000)), ("0\n", Some(0)), ("4294967295", None), ("", None), ("-1", None)]
        {
            assert_eq!(login(text).map(Uid::as_raw), expected, "{text}");
        }
        assert_eq!(name_of(Uid::from_raw(0)).as_deref(), Some("root"));
    }
}
