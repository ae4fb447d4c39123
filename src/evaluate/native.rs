//! The embedded plugins' rules without WebAssembly: what benches and tests compare the plugins with.

use super::tenant_plugins::{AgentView, Derived, DerivedSeries, Findings, SlaView, TenantPlugins};
use std::sync::Arc;
use vitals_core::columns::Columns;
use vitals_core::ids::{AgentId, SeriesId, UnixNanos};
use vitals_core::rules::health::{self, HealthConfig};
use vitals_core::rules::iqr::{self, Detector, IqrConfig, Outlier};
use vitals_core::rules::rate::{RateConfig, Rates, unit_of_rate};
use vitals_core::rules::seasonal::{self, Incident, SeasonalConfig, SeasonalDetector};
use vitals_core::rules::sla::{self, SlaConfig, Windows};
use vitals_core::series::{Part, SeriesDesc, Shape};
use vitals_core::verdict::{AgentHealth, Evidence, OutlierVerdict, SlaVerdict};

/// The rules with their defaults. Series ids serve as series numbers.
pub struct NativePlugins {
    detector: Detector,
    seasonal: SeasonalDetector,
    rates: Rates,
    /// By series id: the name and unit of its rate, for counters.
    names: Vec<Option<(String, String)>>,
    health: HealthConfig,
    sla: SlaConfig,
}

impl Default for NativePlugins {
    fn default() -> Self {
        Self {
            detector: Detector::new(IqrConfig::default()),
            seasonal: SeasonalDetector::new(SeasonalConfig::default()),
            rates: Rates::new(RateConfig::default()),
            names: Vec::new(),
            health: HealthConfig::default(),
            sla: SlaConfig::default(),
        }
    }
}

fn evidence(plugin: &str) -> Arc<Evidence> {
    Arc::new(Evidence {
        plugin: plugin.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        digest: String::new(),
        config: String::new(),
    })
}

impl TenantPlugins for NativePlugins {
    fn open(&mut self, series: &Arc<SeriesDesc>) {
        let at = series.id.0 as usize;
        if at >= self.names.len() {
            self.names.resize(at + 1, None);
        }
        let spec = &series.spec;
        let is_counter = matches!(spec.shape, Shape::Cumulative { monotonic: true } | Shape::Delta { monotonic: true });
        let (suffix, unit) = match spec.part {
            Part::Value => ("rate", spec.unit.as_str()),
            Part::Count => ("count.rate", "1"),
            Part::Sum => ("sum.rate", spec.unit.as_str()),
            _ => return,
        };
        if is_counter {
            self.names[at] = Some((format!("{}.{suffix}", spec.metric), unit_of_rate(unit)));
        }
    }

    fn close(&mut self, series: &[SeriesId]) {
        for id in series {
            self.detector.close(id.0);
            self.seasonal.close(id.0);
            self.rates.close(id.0);
            if let Some(name) = self.names.get_mut(id.0 as usize) {
                *name = None;
            }
        }
    }

    fn derive(&mut self, batch: &Columns) -> Vec<Derived> {
        let (mut series, mut rows) = (Vec::<DerivedSeries>::new(), Vec::new());
        for (id, time, value) in batch.rows() {
            let Some(Some((metric, unit))) = self.names.get(id.0 as usize) else { continue };
            let Some(rate) = self.rates.step(id.0, time.0, value) else { continue };
            // Rows of one series stand together.
            if series.last().is_none_or(|last| last.from != id) {
                series.push(DerivedSeries { from: id, metric: metric.clone(), unit: unit.clone() });
            }
            rows.push((u32::try_from(series.len() - 1).unwrap_or(u32::MAX), time, rate));
        }
        if rows.is_empty() {
            return Vec::new();
        }
        vec![Derived { evidence: evidence("rate"), series, rows }]
    }

    fn detect(&mut self, batch: &Columns) -> Vec<Findings> {
        let (mut outliers, mut incidents) = (Vec::new(), Vec::new());
        for (row, (series, UnixNanos(time), value)) in batch.rows().enumerate() {
            if let Some(Outlier { lower, upper, score, window }) = self.detector.judge(series.0, time, value) {
                outliers.push((row, OutlierVerdict { series, value, lower, upper, score, window }));
            }
            if let Some(Incident { lower, upper, score, values }) = self.seasonal.judge(series.0, time, value) {
                incidents.push((row, OutlierVerdict { series, value, lower, upper, score, window: values }));
            }
        }
        let found = [(iqr::PLUGIN, outliers), (seasonal::PLUGIN, incidents)].into_iter();
        let found = found.filter(|(_, rows)| !rows.is_empty());
        found.map(|(plugin, rows)| Findings { evidence: evidence(plugin), rows }).collect()
    }

    fn assess(&mut self, views: &[AgentView]) -> Vec<(Arc<Evidence>, usize, AgentHealth)> {
        let by = evidence("health-score");
        let score = |view: &AgentView| health::score(&self.health, &view.measurements, view.uptime_percent);
        views.iter().enumerate().map(|(row, view)| (by.clone(), row, score(view))).collect()
    }

    fn report(&mut self, views: &[SlaView]) -> Vec<(Arc<Evidence>, AgentId, SlaVerdict)> {
        let by = evidence("sla");
        let report = |view: &SlaView| {
            let windows = Windows {
                period: view.period,
                hour: view.hour,
                six_hours: view.six_hours,
                three_days: view.three_days,
            };
            sla::evaluate(&self.sla, view.target, &windows)
        };
        views.iter().map(|view| (by.clone(), view.agent, report(view))).collect()
    }

    fn snapshot(&mut self) -> Vec<u8> {
        let states = [self.detector.snapshot(), self.rates.snapshot(), self.seasonal.snapshot()];
        // Vectors of bytes: there is nothing that cannot be written.
        postcard::to_stdvec(&states).unwrap_or_default()
    }

    fn restore(&mut self, state: &[u8]) {
        let Ok([detector, rates, seasonal]) = postcard::from_bytes::<[Vec<u8>; 3]>(state) else { return };
        if let Ok(detector) = Detector::restore(IqrConfig::default(), &detector) {
            self.detector = detector;
        }
        if let Ok(rates) = Rates::restore(RateConfig::default(), &rates) {
            self.rates = rates;
        }
        if let Ok(seasonal) = SeasonalDetector::restore(SeasonalConfig::default(), &seasonal) {
            self.seasonal = seasonal;
        }
    }
}
