//! The service's own metrics as Prometheus text, for `GET /metrics`.

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::sync::OnceLock;
use vitals_core::ids::UnixNanos;
use vitals_core::log::Log;
use vitals_core::registry::Registry;
use vitals_core::store::Store;

/// The recorder of this process, installed by the first call: what is counted before that is lost. There can be only one, however
/// many services a test starts.
pub fn recorder() -> &'static PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("metrics are recorded elsewhere; GET /metrics will be empty");
        }
        handle
    })
}

/// All metrics at `now`, with `delivered` records that the shards have still to evaluate.
#[expect(clippy::cast_precision_loss, reason = "metrics are floats")]
pub fn text(log: &dyn Log, store: &dyn Store, registry: &Registry, delivered: usize, now: UnixNanos) -> String {
    let (held, stored) = (log.stats(), store.stats());
    metrics::gauge!("vitals_log_bytes").set(held.bytes as f64);
    metrics::gauge!("vitals_log_records").set(held.records as f64);
    metrics::gauge!("vitals_log_queued").set(held.queued as f64);
    metrics::gauge!("vitals_evaluate_queued").set(delivered as f64);
    metrics::gauge!("vitals_store_samples").set(stored.samples as f64);
    metrics::gauge!("vitals_store_bytes").set(stored.bytes as f64);
    metrics::gauge!("vitals_store_pending").set(stored.pending as f64);
    metrics::gauge!("vitals_series").set(registry.series_count() as f64);
    if let Some(outbox) = store.outbox() {
        let age = outbox.since.map_or(0, |since| now.since(since).max(0));
        metrics::gauge!("vitals_store_outbox_samples").set(outbox.samples as f64);
        metrics::gauge!("vitals_store_outbox_bytes").set(outbox.bytes as f64);
        metrics::gauge!("vitals_store_outbox_age_seconds").set(age as f64 / UnixNanos::SECOND as f64);
    }
    recorder().render()
}
