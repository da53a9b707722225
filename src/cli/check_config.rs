//! `herald check-config`: is this configuration valid, and what would it do?

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use crate::config::{Config, Diagnostic, Workers};
use crate::driver::load;

/// Prints every error and exits with 1, or prints what is configured and exits with 0. Errors and warnings go to
/// stderr, the summary to stdout.
pub(crate) fn run(path: &Path) -> ExitCode {
    let (summary, findings, code) = match load::load(path) {
        Ok(config) => (summary(path, &config), warnings(&config.warnings), ExitCode::SUCCESS),
        Err(errors) => (String::new(), errors_and_count(&errors), ExitCode::FAILURE),
    };
    // A reader that has gone away does not change the verdict.
    let _ = io::stdout().lock().write_all(summary.as_bytes());
    let _ = io::stderr().lock().write_all(findings.as_bytes());
    code
}

fn errors_and_count(errors: &[Diagnostic]) -> String {
    let mut text = lines(errors.iter().map(ToString::to_string));
    let _ = writeln!(text, "{}", counted(errors.len(), "error"));
    text
}

fn warnings(warnings: &[Diagnostic]) -> String {
    let mut text = lines(warnings.iter().map(|warning| format!("{}: warning: {}", warning.position, warning.message)));
    if !warnings.is_empty() {
        let _ = writeln!(text, "{}", counted(warnings.len(), "warning"));
    }
    text
}

fn lines(lines: impl Iterator<Item = String>) -> String {
    lines.fold(String::new(), |text, line| text + &line + "\n")
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// What is configured, and how busy the checks can get.
fn summary(path: &Path, config: &Config) -> String {
    let templates = config.bgp.iter().flat_map(|bgp| &bgp.ranges).map(|range| &range.template);
    let peers: Vec<_> = config.bgp.iter().flat_map(|bgp| &bgp.peers).chain(templates).collect();
    let internal = peers.iter().filter(|peer| peer.is_internal()).count();
    let ipv4 = config.vips.keys().filter(|vip| vip.address().is_ipv4()).count();
    let uses = config.services.iter().flat_map(|service| &service.backends).map(|backend| backend.checks.len()).sum();
    let backends: usize = config.services.iter().map(|service| service.backends.len()).sum();
    let mut kinds: Vec<String> = Vec::new();
    let mut by_kind: BTreeMap<&str, usize> = BTreeMap::new();
    for check in &config.checks {
        *by_kind.entry(check.probe.kind.name()).or_default() += 1;
    }
    kinds.extend(by_kind.iter().map(|(kind, count)| format!("{count} {kind}")));
    let is_local = config.checks.iter().any(|check| check.probe.kind.is_local());
    let programs = if is_local { config.exec_worker_count() } else { 0 };
    let ipv4_aggregates = config.aggregates.keys().filter(|prefix| prefix.address().is_ipv4()).count();
    let aggregates = config.aggregates.len();
    let gobgp = config.gobgp.as_ref().map(|gobgp| format!("by its API at {}", gobgp.api));
    let tables = config.glb.as_ref().map_or(0, |glb| glb.table.tables);
    let rows = [
        ("peers", peers.len(), format!("{} external, {internal} internal", peers.len() - internal)),
        ("gobgpd", usize::from(gobgp.is_some()), gobgp.unwrap_or_default()),
        ("GLB tables", tables, config.glb.as_ref().map(|glb| glb.source.display().to_string()).unwrap_or_default()),
        ("VIPs", config.vips.len(), format!("{ipv4} IPv4, {} IPv6", config.vips.len() - ipv4)),
        ("aggregates", aggregates, format!("{ipv4_aggregates} IPv4, {} IPv6", aggregates - ipv4_aggregates)),
        ("services", config.services.len(), String::new()),
        ("backends", backends, String::new()),
        ("checks", config.checks.len(), check_note(&kinds, config.checks.len(), uses)),
        ("workers", config.worker_count(), worker_note(config.daemon.workers, config.worker_demand())),
        ("exec workers", programs, worker_note(config.daemon.exec_workers, config.exec_demand())),
    ];
    let mut text = format!("{}: the configuration is valid\n", path.display());
    // Few have any of these.
    let is_rare = |what: &str| ["aggregates", "gobgpd", "GLB tables", "exec workers"].contains(&what);
    for (what, count, note) in rows.into_iter().filter(|row| row.1 > 0 || !is_rare(row.0)) {
        let line = format!("  {what:<12}  {count:>6}  {note}");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn check_note(kinds: &[String], checks: usize, uses: usize) -> String {
    match (checks, uses.saturating_sub(checks)) {
        (0, _) => String::new(),
        (_, 0) => kinds.join(", "),
        (_, shared) => format!("{}; {shared} more uses share them", kinds.join(", ")),
    }
}

fn worker_note(workers: Workers, demand: usize) -> String {
    let how = match workers {
        Workers::Auto => "chosen automatically",
        Workers::Fixed(_) => "as configured",
    };
    format!("{how}; {demand} would be busy if every check timed out at once")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Source};

    #[test]
    fn the_summary_is_aligned_and_complete() {
        let text = "[bgp]\nlocal_as = 65001\nrouter_id = '10.0.0.1'\n\
                    [[bgp.peer]]\nname = 'tor'\naddress = '10.0.0.2'\npeer_as = 65000\n\
                    [[service]]\nname = 'web'\nvips = ['192.0.2.1', '2001:db8::1']\nport = 80\n\
                    check = [{ type = 'tcp' }, { type = 'http' }, { type = 'exec', command = ['/bin/true'] }]\n\
                    [[service.backend]]\naddress = '10.1.0.1'\n[[service.backend]]\naddress = '10.1.0.2'\n";
        let text = text.to_owned();
        let config = config::parse(&[Source { name: "f".into(), text }]).unwrap();
        let expected = "\
/etc/herald/herald.toml: the configuration is valid
  peers              1  1 external, 0 internal
  VIPs               2  1 IPv4, 1 IPv6
  services           1
  backends           2
  checks             6  2 exec, 2 http, 2 tcp
  workers            4  chosen automatically; 4 would be busy if every check timed out at once
  exec workers       2  chosen automatically; 2 would be busy if every check timed out at once
";
        assert_eq!(summary(Path::new("/etc/herald/herald.toml"), &config), expected);
    }

    #[test]
    fn errors_are_counted() {
        let errors = config::parse(&[Source { name: "f".into(), text: "x = 1\nbgp = 2\n".into() }]).unwrap_err();
        assert_eq!(
            errors_and_count(&errors),
            "f:1:1: unknown key `x` in the file\nf:2:7: `bgp` must be a table, not the integer 2\n2 errors\n"
        );
    }
}
