//! The addresses of a webhook's host.
//!
//! `getaddrinfo` knows no deadline. So it is called on a thread of its own, which is left to itself when the time is up; how
//! many of them there may be at a time is bounded.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};

use crate::config::{Url, UrlHost};
use crate::driver::probe::limit::{Limit, Over};
use crate::driver::probe::text::{printable, timed_out};

/// Look-ups under way, those that nobody waits for any more included.
const MOST: usize = 64;
static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);

/// Where to connect, the best address first; never empty.
///
/// # Errors
/// Why that is not known, in words.
pub(super) fn resolve(url: &Url, limit: Limit) -> Result<Vec<SocketAddr>, String> {
    let name = match &url.host {
        UrlHost::Address(address) => return Ok(vec![SocketAddr::new(*address, url.port)]),
        UrlHost::Name(name) => name.clone(),
    };
    let (tell, told) = bounded(1);
    let (asked, port) = (name.clone(), url.port);
    spawn(move || drop(tell.send((asked.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>))))?;
    loop {
        let slice = limit.slice().map_err(|over| match over {
            Over::Expired => timed_out(limit.timeout(), &format!("looking up {name}")),
            Over::Cancelled => "given up: the daemon is stopping".to_owned(),
        })?;
        match told.recv_timeout(slice.max(Duration::from_millis(1))) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Ok(addresses)) if !addresses.is_empty() => return Ok(addresses),
            Ok(Ok(_)) | Err(RecvTimeoutError::Disconnected) => return Err(format!("{name} has no address")),
            Ok(Err(error)) => {
                let words = error.to_string();
                let words = words.rsplit(": ").next().unwrap_or(&words);
                return Err(format!("cannot look up {name}: {}", printable(words.as_bytes())));
            }
        }
    }
}

fn spawn(work: impl FnOnce() + Send + 'static) -> Result<(), String> {
    /// However the thread ends.
    struct Counted;
    impl Drop for Counted {
        fn drop(&mut self) {
            UNDER_WAY.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let before = UNDER_WAY.fetch_add(1, Ordering::SeqCst);
    let counted = Counted;
    if before >= MOST {
        return Err(format!("{MOST} look-ups of names hang in the system: not beginning another"));
    }
    let named = thread::Builder::new().name("resolve".to_owned());
    let spawned = named.spawn(move || {
        work();
        drop(counted);
    });
    spawned.map(drop).map_err(|error| format!("there is no thread to look up names: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(url: &str) -> Result<Vec<SocketAddr>, String> {
        resolve(&Url::parse(url).unwrap(), Limit::new(Duration::from_secs(20)))
    }

    #[test]
    fn addresses_need_no_look_up_and_names_do() {
        assert_eq!(addresses("http://192.0.2.1:81"), Ok(vec!["192.0.2.1:81".parse().unwrap()]));
        assert_eq!(addresses("https://[2001:db8::1]"), Ok(vec!["[2001:db8::1]:443".parse().unwrap()]));
        assert!(addresses("http://localhost:7").unwrap().iter().all(|address| address.ip().is_loopback()));
        let error = addresses("http://nowhere.invalid").unwrap_err();
        assert!(error.starts_with("cannot look up nowhere.invalid: "), "{error}");
    }

    #[test]
    fn nobody_waits_longer_than_allowed() {
        let url = Url::parse("http://localhost").unwrap();
        let error = resolve(&url, Limit::new(Duration::ZERO)).unwrap_err();
        assert_eq!(error, "timed out after 0 s while looking up localhost");
    }
}
