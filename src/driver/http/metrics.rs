//! Metrics, in OpenMetrics' text format and in Prometheus' older one: what a snapshot says, and what has been counted since
//! the start. Labels are names from the configuration, and words of which there are a few: as many series as things.

mod bgp;
mod counted;

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::driver::status::Status;
use crate::wall::Timestamp;

pub(crate) use counted::Meters;

/// Each sample: its labels, and its value.
type Samples<'s, const N: usize, V> = Vec<([(&'static str, &'s str); N], V)>;

/// Everything there is to say.
pub(super) fn text(status: &Arc<Status>, meters: &Meters, open: bool) -> String {
    let mut registry = Registry::with_prefix("herald");
    meters.register(&mut registry);
    registry.register_collector(Box::new(Snapshot(status.clone())));
    let mut text = String::new();
    // Nothing fails to be written to a String.
    let _written = encode(&mut text, &registry);
    if open { text } else { classic(&text) }
}

pub(super) fn content_type(open: bool) -> &'static str {
    match open {
        true => "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n",
        false => "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n",
    }
}

/// As Prometheus read it before OpenMetrics: a counter is called what its samples are called, and there is no end.
fn classic(open: &str) -> String {
    let mut text = String::with_capacity(open.len());
    let counters: Vec<&str> =
        open.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    for line in open.lines() {
        let renamed = ["# HELP ", "# TYPE "].into_iter().find_map(|head| {
            let (name, rest) = line.strip_prefix(head)?.split_once(' ')?;
            counters.contains(&name).then(|| format!("{head}{name}_total {rest}"))
        });
        match renamed {
            Some(renamed) => text += &renamed,
            None if line == "# EOF" || line.starts_with("# UNIT ") => continue,
            None => text += line,
        }
        text.push('\n');
    }
    text
}

/// What the loop last said.
#[derive(Debug)]
struct Snapshot(Arc<Status>);

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut page = Page { encoder, status: &self.0 };
        page.daemon()?;
        page.vips()?;
        page.services()?;
        page.checks()?;
        page.judgement()?;
        page.hooks()?;
        page.peers()
    }
}

/// Metrics as they are written.
struct Page<'s, 'e> {
    encoder: DescriptorEncoder<'e>,
    status: &'s Status,
}

impl Page<'_, '_> {
    fn gauges<const N: usize, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        samples: Samples<'_, N, V>,
    ) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in samples {
            ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn gauge<V: EncodeGaugeValue>(&mut self, name: &str, help: &str, value: V) -> fmt::Result {
        let family = self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value).encode(family)
    }

    fn counters<const N: usize>(&mut self, name: &str, help: &str, samples: Samples<'_, N, u64>) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in samples {
            ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let family = self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(value).encode(family)
    }

    /// Since then, in seconds.
    fn age(&self, since: Timestamp) -> f64 {
        self.status.at.since_epoch().saturating_sub(since.since_epoch()).as_secs_f64()
    }

    fn daemon(&mut self) -> fmt::Result {
        let Status { version, started_at, config, .. } = self.status;
        self.gauges("build_info", "Version of the daemon", vec![([("version", version.as_str())], 1)])?;
        let started = started_at.since_epoch().as_secs_f64();
        self.gauge("start_time_seconds", "When the daemon started, since the epoch", started)?;
        let loaded = config.loaded_at.since_epoch().as_secs_f64();
        let help = "When the configuration in force was read, since the epoch";
        self.gauge("config_loaded_timestamp_seconds", help, loaded)?;
        let help = "1: the state file cannot be written, and a restart goes on from what was written before";
        self.gauge("state_file_failing", help, u64::from(self.status.state_file.is_some()))?;
        self.gauge("config_stale", "1: the last reload failed, and files say something else", u64::from(config.stale))?;
        let ready = u64::from(self.status.engine.wait.is_none());
        self.gauge("ready", "1: the wait for first verdicts after a start is over", ready)?;
        let samples = self.status.listen.iter().map(|line| ([("address", line.address.as_str())], u64::from(line.ok)));
        self.gauges("bgp_listening", "1: routers can connect there", samples.collect())
    }

    fn vips(&mut self) -> fmt::Result {
        let status = self.status;
        let vips = &status.engine.vips;
        let state = vips.iter().map(|vip| ([("vip", vip.address.as_str()), ("state", vip.state.as_str())], 1));
        self.gauges("vip_state", "The state that a VIP is in: always 1", state.collect())?;
        let is_announced = |state: &str| matches!(state, "announced" | "degraded" | "frozen");
        let announced = vips.iter().map(|vip| ([("vip", vip.address.as_str())], u64::from(is_announced(&vip.state))));
        self.gauges("vip_announced", "1: a VIP is announced, healthy, degraded or frozen", announced.collect())?;
        let seconds = vips.iter().map(|vip| ([("vip", vip.address.as_str())], self.age(vip.since))).collect();
        self.gauges("vip_state_seconds", "How long a VIP has been in its state", seconds)?;
        let peers = vips.iter().map(|vip| ([("vip", vip.address.as_str())], vip.peers.len() as u64)).collect();
        self.gauges("vip_peers", "Peers that have been told the route of a VIP", peers)?;
        let aggregates = &status.engine.aggregates;
        let state = aggregates.iter().map(|it| ([("aggregate", it.prefix.as_str()), ("state", it.state.as_str())], 1));
        self.gauges("aggregate_state", "The state that an aggregate is in: always 1", state.collect())?;
        let healthy = aggregates.iter().map(|it| ([("aggregate", it.prefix.as_str())], it.healthy as u64)).collect();
        self.gauges("aggregate_members_healthy", "Members of an aggregate that count", healthy)
    }

    fn services(&mut self) -> fmt::Result {
        let services = &self.status.engine.services;
        let of = |value: fn(&crate::engine::status::ServiceLine) -> u64| {
            services.iter().map(|it| ([("service", it.name.as_str())], value(it))).collect()
        };
        let state =
            services.iter().map(|it| ([("service", it.name.as_str()), ("state", it.state.as_str())], 1)).collect();
        self.gauges("service_state", "The state that a service is in: always 1", state)?;
        self.gauges("service_up", "1: enough of the backends of a service count", of(|it| u64::from(it.up)))?;
        let help = "Backends of a service that count, or their weight, as its `required` is measured";
        self.gauges("service_available", help, of(|it| it.available))?;
        self.gauges("service_required", "What must count for a service to be up", of(|it| it.required))?;
        let help = "1: sorry backends stand in for those of a service";
        self.gauges("service_on_sorry", help, of(|it| u64::from(it.on_sorry)))?;
        self.backends()
    }

    fn backends(&mut self) -> fmt::Result {
        let services = &self.status.engine.services;
        let backends = || services.iter().flat_map(|it| it.backends.iter().map(move |backend| (it, backend)));
        let labels = |service: &str, address: &str| [("service", service.to_owned()), ("backend", address.to_owned())];
        let help = "The state that a backend is in: always 1";
        let mut family = self.encoder.encode_descriptor("backend_state", help, None, MetricType::Gauge)?;
        for (service, backend) in backends() {
            let [service, address] = labels(&service.name, &backend.address);
            let labels = [service, address, ("state", backend.state.clone())];
            ConstGauge::new(1).encode(family.encode_family(&labels)?)?;
        }
        let mut family =
            self.encoder.encode_descriptor("backend_up", "1: a backend passes its checks", None, MetricType::Gauge)?;
        for (service, backend) in backends() {
            let up = u64::from(matches!(backend.state.as_str(), "up" | "degraded" | "drained"));
            ConstGauge::new(up).encode(family.encode_family(&labels(&service.name, &backend.address))?)?;
        }
        let help = "Weight that a backend has now, after what its checks and drains leave of it";
        let mut family = self.encoder.encode_descriptor("backend_weight", help, None, MetricType::Gauge)?;
        for (service, backend) in backends() {
            let weight = match backend.state.as_str() {
                "up" | "degraded" => backend.effective_weight.unwrap_or(backend.weight),
                _ => 0,
            };
            ConstGauge::new(weight).encode(family.encode_family(&labels(&service.name, &backend.address))?)?;
        }
        Ok(())
    }

    fn checks(&mut self) -> fmt::Result {
        let status = self.status;
        let pool = &status.pool;
        let checks = || {
            let backends = status.engine.services.iter().flat_map(|service| &service.backends);
            backends.flat_map(|backend| &backend.checks)
        };
        let stale = checks().filter(|check| check.stale).count() as u64;
        self.gauge("checks_stale", "Checks that have not run for so long that their verdicts are old", stale)?;
        let lag = pool.lag_p99_us as f64 / 1e6;
        let help = "How late the latest of a hundred checks started, over the last minute or so";
        self.gauge("check_lag_p99_seconds", help, lag)?;
        self.gauge("checks_queued", "Checks that wait for a worker", pool.queued as u64)?;
        let both = |network: usize, local: usize| {
            vec![([("pool", "network")], network as u64), ([("pool", "exec")], local as u64)]
        };
        self.gauges("pool_workers", "Threads that run checks", both(pool.workers, pool.exec_workers))?;
        self.gauges("pool_workers_busy", "Threads that run a check now", both(pool.busy, pool.exec_busy))?;
        let help = "Threads that would be busy if every check timed out at once";
        self.gauges("pool_workers_demand", help, both(pool.demand, pool.exec_demand))?;
        self.gauge("pool_workers_hung", "Threads that hang in the system and have been replaced", pool.hung as u64)?;
        self.counter("check_runs_overdue", "Runs of checks that outlasted their limit", pool.overdue)
    }

    fn judgement(&mut self) -> fmt::Result {
        let engine = &self.status.engine;
        self.gauge("drains", "Drains in force", engine.drains.len() as u64)?;
        let doubted = engine.guard.as_ref().filter(|guard| guard.active).map(|guard| guard.doubted as u64);
        let help = "1: what has just turned unhealthy is doubted, and stays announced";
        self.gauge("guard_active", help, u64::from(doubted.is_some()))?;
        self.gauge("guard_doubted_vips", "VIPs that are announced for that reason", doubted.unwrap_or_default())?;
        let passing = |own: &crate::engine::status::SelfCheckLine| u64::from(own.state == "passing");
        let own = engine.self_checks.iter().map(|own| ([("self_check", own.name.as_str())], passing(own))).collect();
        self.gauges("self_check_passing", "1: a self-check passes", own)?;
        if let Some(glb) = &engine.glb {
            self.gauge("glb_backends", "Backends of the forwarding tables", glb.backends as u64)?;
            self.gauge("glb_backends_healthy", "Those of them that are healthy", glb.healthy as u64)?;
            self.gauge("glb_failing", "1: the table cannot be written or loaded", u64::from(glb.state == "failing"))?;
        }
        Ok(())
    }

    fn hooks(&mut self) -> fmt::Result {
        let hooks = &self.status.hooks;
        let of = |value: fn(&crate::driver::status::HookLine) -> u64| {
            hooks.iter().map(|it| ([("hook", it.name.as_str())], value(it))).collect()
        };
        self.gauges("hook_failing", "1: a hook has failed since all was well", of(|it| u64::from(it.failing)))?;
        self.gauges("hook_queued", "Subjects that a hook is still to be told about", of(|it| it.queued as u64))?;
        self.counters("hook_delivered", "Documents that a hook has taken", of(|it| it.delivered))?;
        self.counters("hook_failed", "Documents that were given up", of(|it| it.failed))?;
        self.counters("hook_dropped", "Documents that were dropped because too much waited", of(|it| it.dropped))
    }
}
