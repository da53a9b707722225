//! Tells one hook of one document, in the calling thread.

use std::sync::Arc;

use super::document::Document;
use super::resolve::resolve;
use crate::config::hooks::{Notify, NotifyTarget, UrlHost, Webhook};
use crate::config::{FailureKind, HttpProbe};
use crate::driver::probe::limit::Limit;
use crate::driver::probe::user::Identity;
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
        let mut addresses = resolve(&webhook.url, limit)?;
        let first = attempt.saturating_sub(1) as usize % addresses.len();
        addresses.rotate_left(first);
        let mut last = String::new();
        for target in addresses {
            let fault = match http::post(target, &request, self.tls.as_ref(), limit) {
                Ok(()) => return Ok(()),
                Err(fault) => fault,
            };
            let refused = matches!(fault.kind, FailureKind::Refused | FailureKind::Unreachable);
            last = match &webhook.url.host {
                UrlHost::Address(_) => fault.words.into_owned(),
                UrlHost::Name(_) => format!("{} ({})", fault.words, target.ip()),
            };
            if !refused {
                break;
            }
        }
        Err(last)
    }
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
