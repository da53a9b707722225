//! The keys of checks that speak TLS.

use std::time::Duration;

use super::http::host;
use super::material::Material;
use super::timing::DAY;
use crate::config::parse::findings::Findings;
use crate::config::parse::table::{Section, optional};
use crate::config::{ClientIdentity, FileRole, TlsProfile};

/// The keys that ask for TLS or say how it is spoken.
const KEYS: [&str; 6] = ["verify", "ca_file", "server_name", "client_certificate", "client_key", "min_validity"];

/// `tls = true`, with what belongs to it; `Some(None)` without.
pub(super) fn asked_for(
    table: &Section,
    material: &mut Material,
    findings: &mut Findings,
) -> Option<Option<TlsProfile>> {
    let asked = table.get("tls").map_or(Some(false), |item| item.boolean(findings))?;
    if asked {
        return profile(table, material, findings).map(Some);
    }
    for item in KEYS.iter().filter_map(|key| table.get(key)) {
        findings.error(item.key_place, format!("`{}` does nothing without `tls = true`", item.name));
    }
    Some(None)
}

/// `tls`: nothing but the handshake. The name may be called `host` here, too.
pub(super) fn handshake(table: &Section, material: &mut Material, findings: &mut Findings) -> Option<TlsProfile> {
    if let (Some(item), true) = (table.get("host"), table.has("server_name")) {
        findings.error(item.key_place, "`host` and `server_name` are the same for a check of type tls");
        return None;
    }
    let name = optional(table.get("host").map(|item| host(&item, findings)))?;
    let profile = profile(table, material, findings)?;
    Some(TlsProfile { server_name: profile.server_name.or(name.map(str::to_owned)), ..profile })
}

/// How TLS is spoken.
pub(super) fn profile(table: &Section, material: &mut Material, findings: &mut Findings) -> Option<TlsProfile> {
    let verify = table.get("verify").map_or(Some(true), |item| item.boolean(findings));
    let ca_file =
        optional(table.get("ca_file").map(|item| material.name_file(FileRole::CertificateAuthority, &item, findings)));
    let server_name = optional(table.get("server_name").map(|item| host(&item, findings)));
    if let (Some(false), Some(item)) = (verify, table.get("ca_file")) {
        findings.error(item.key_place, "`ca_file` does nothing with `verify = false`");
    }
    let certificate = table.get("client_certificate");
    let key = table.get("client_key");
    for (one, other, missing) in [(certificate, key, "client_key"), (key, certificate, "client_certificate")] {
        if let (Some(item), None) = (one, other) {
            findings.error(item.key_place, format!("`{}` needs `{missing}`", item.name));
        }
    }
    let certificate =
        optional(certificate.map(|item| material.name_file(FileRole::ClientCertificate, &item, findings)));
    let key = optional(key.map(|item| material.name_file(FileRole::ClientKey, &item, findings)));
    let longest = DAY * 3650;
    let min_validity =
        optional(table.get("min_validity").map(|item| item.duration(Duration::from_secs(1)..=longest, findings)));
    let identity = certificate?.zip(key?).map(|(certificate, key)| ClientIdentity { certificate, key });
    Some(TlsProfile {
        verify: verify?,
        ca_file: ca_file?,
        server_name: server_name?.map(str::to_owned),
        identity,
        min_validity: min_validity?,
    })
}
