//! Tells one hook of one document, in the calling thread.

use std::net::SocketAddr;
use std::sync::Arc;

use super::document::Document;
use super::resolve::resolve;
use crate::config::hooks::{Notify, NotifyTarget, UrlHost, Webhook};
use crate::config::{FailureKind, HttpProbe};
use crate::driver::probe::limit::Limit;
use crate::driver::probe::user::Identity;
use crate::driver::probe::verdict::Fault;
use crate::driver::probe::{http, tls};
use crate::driver::program;

/// A hook and what it takes to reach it.
#[derive(Debug)]
pub(super) struct Runner {
    pub(super) config: Arc<Notify>,
    /// For a webhook by https.
    pub(super) tls: Option<tls::Client>,
    /// Who a program runs as, if not as ourselves; or why nobody can be.
    pub(super) user: Result<Option<Identity>, String>,
}

impl Runner {
    /// One attempt, of this number. Returns within the hook's `timeout`, give or take a few milliseconds.
    ///
    /// # Errors
    /// Why the hook has not taken it, in words without a secret.
    pub(super) fn run(&self, document: &Document, attempt: u32) -> Result<(), String> {
        let limit = Limit::new(self.config.timeout);
        match &self.config.target {
            NotifyTarget::Program { command, .. } => run_program(command, self.user.clone()?, document, limit),
            NotifyTarget::Webhook(webhook) => self.post(webhook, document, attempt, limit),
        }
    }

    /// Of several addresses the first that takes a connection is told. One where nobody answers at all takes the whole
    /// time, so each attempt begins with another.
    fn post(&self, webhook: &Webhook, document: &Document, attempt: u32, limit: Limit) -> Result<(), String> {
        let request = request(webhook, document)?;
        if webhook.url.https && self.tls.is_none() {
            return Err("internal error: the TLS profile was not loaded".to_owned());
        }
        let addresses = resolve(&webhook.url, limit)?;
        let told = in_turn(addresses, attempt, |target| http::post(target, &request, self.tls.as_ref(), limit));
        told.map_err(|(target, fault)| match &webhook.url.host {
            UrlHost::Address(_) => fault.words.into_owned(),
            UrlHost::Name(_) => format!("{} ({})", fault.words, target.ip()),
        })
    }
}

/// Tries addresses until one takes a connection; each attempt begins with the next of them. The last one's error, if none does.
fn in_turn(
    mut addresses: Vec<SocketAddr>,
    attempt: u32,
    mut post: impl FnMut(SocketAddr) -> Result<(), Fault>,
) -> Result<(), (SocketAddr, Fault)> {
    let first = attempt.saturating_sub(1) as usize % addresses.len().max(1);
    addresses.rotate_left(first);
    let mut result = Ok(());
    for target in addresses {
        result = post(target).map_err(|fault| (target, fault));
        let is_closed = |fault: &Fault| matches!(fault.kind, FailureKind::Refused | FailureKind::Unreachable);
        if !result.as_ref().is_err_and(|(_, fault)| is_closed(fault)) {
            break;
        }
    }
    result
}

/// The program, with the document at its standard input and the facts in its environment.
pub(super) fn run_program(
    words: &[String],
    user: Option<Identity>,
    document: &Document,
    limit: Limit,
) -> Result<(), String> {
    let Some(mut command) = program::command(words, user) else { return Err("internal error: no command".to_owned()) };
    command.envs(document.environment.iter().map(|(name, value)| (name, value)));
    program::must_succeed(command, Some(format!("{}\n", document.json).as_bytes()), limit)
}

fn request(webhook: &Webhook, document: &Document) -> Result<HttpProbe, String> {
    let mut headers =
        vec![("Host".to_owned(), webhook.url.authority()), ("Content-Type".to_owned(), "application/json".to_owned())];
    if let Some(file) = &webhook.token {
        let token = file.token.as_ref().ok_or("internal error: the bearer token was not read")?;
        headers.push(("Authorization".to_owned(), format!("Bearer {}", token.expose())));
    }
    let host = match &webhook.url.host {
        UrlHost::Name(name) => Some(name.strip_suffix('.').unwrap_or(name).to_owned()),
        UrlHost::Address(_) => None,
    };
    Ok(HttpProbe {
        tls: webhook.tls.clone(),
        method: "POST".to_owned(),
        path: webhook.url.path.clone(),
        host,
        headers,
        content: document.json.as_bytes().to_vec(),
        ..HttpProbe::get()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_refuse_are_passed_over_and_those_that_hang_come_later_next_time() {
        let addresses: Vec<SocketAddr> =
            ["[::1]:1", "[::1]:2", "127.0.0.1:3"].map(|text| text.parse().unwrap()).to_vec();
        let tried = |attempt, kinds: [Option<FailureKind>; 3]| {
            let mut tried = Vec::new();
            let result = in_turn(addresses.clone(), attempt, |target| {
                tried.push(target.port());
                let kind = kinds[usize::from(target.port()) - 1];
                kind.map_or(Ok(()), |kind| Err(Fault::new(kind, "no")))
            });
            (tried, result.err().map(|(target, _)| target.port()))
        };
        let (refused, hangs) = (Some(FailureKind::Refused), Some(FailureKind::Timeout));
        assert_eq!(tried(1, [refused, Some(FailureKind::Unreachable), None]), (vec![1, 2, 3], None));
        assert_eq!(tried(1, [refused, hangs, None]), (vec![1, 2], Some(2)));
        assert_eq!(tried(2, [None, hangs, None]), (vec![2], Some(2)));
        assert_eq!(tried(3, [refused, refused, refused]), (vec![3, 1, 2], Some(2)));
        assert_eq!(tried(4, [None, hangs, hangs]), (vec![1], None));
    }
}
