//! The account of acknowledged points, and its check against a service.
//!
//! One line a request, five numbers: first series, how many series, first time (nanoseconds), step (nanoseconds), how
//! many times of each series. With [`super::template::value`] that says everything that was in the request.

use super::template::{METRIC, Stamp, agent_key, value};
use crate::commands::{CommandError, progress};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

/// Most points that the service gives in one answer.
const PAGE: usize = 100_000;

/// The file that acknowledged requests are noted in.
pub struct Account {
    path: PathBuf,
    file: Mutex<(File, Option<std::io::Error>)>,
}

impl Account {
    /// Opens the file to be appended to.
    ///
    /// # Errors
    /// When it cannot be.
    pub fn open(path: &Path) -> Result<Self, CommandError> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(|source| CommandError::File { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), file: Mutex::new((file, None)) })
    }

    /// Notes one request. Written at once, so that the account survives whatever happens to this process.
    pub fn add(&self, stamp: &Stamp) {
        let mut file = self.file.lock();
        if let Err(error) = file.0.write_all(line(stamp).as_bytes()) {
            file.1.get_or_insert(error);
        }
    }

    /// Says whether everything could be noted.
    ///
    /// # Errors
    /// The first failure to write.
    pub fn flush(&self) -> Result<(), CommandError> {
        match self.file.lock().1.take() {
            None => Ok(()),
            Some(source) => Err(CommandError::File { path: self.path.clone(), source }),
        }
    }
}

fn line(stamp: &Stamp) -> String {
    format!("{} {} {} {} {}\n", stamp.first, stamp.series, stamp.start, stamp.step, stamp.rounds)
}

fn parse(line: &str) -> Option<Stamp> {
    let mut words = line.split(' ');
    let stamp = Stamp {
        first: words.next()?.parse().ok()?,
        series: words.next()?.parse().ok()?,
        start: words.next()?.parse().ok()?,
        step: words.next()?.parse().ok()?,
        rounds: words.next()?.parse().ok()?,
    };
    words.next().is_none().then_some(stamp)
}

/// The requests of an account, by the series that they share.
pub(super) type Requests = BTreeMap<(u32, u32), Vec<Stamp>>;

pub(super) fn read(path: &Path) -> Result<Requests, CommandError> {
    let wrong = |source| CommandError::File { path: path.to_owned(), source };
    let mut requests = Requests::new();
    for (at, line) in BufReader::new(File::open(path).map_err(wrong)?).lines().enumerate() {
        let line = line.map_err(wrong)?;
        let stamp = parse(&line)
            .ok_or_else(|| wrong(std::io::Error::other(format!("line {} is not five numbers: {line:?}", at + 1))))?;
        requests.entry((stamp.first, stamp.series)).or_default().push(stamp);
    }
    Ok(requests)
}

/// What the check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// Series asked for.
    pub series: u64,
    /// Points in the account.
    pub acknowledged: u64,
    /// Of those, there once with the right value.
    pub found: u64,
    /// Of those, not there.
    pub missing: u64,
    /// There more than once.
    pub duplicated: u64,
    /// There with another value.
    pub wrong: u64,
    /// There, but not in the account: sent without an answer.
    pub unacknowledged: u64,
    /// The first few faults, as sentences.
    pub examples: Vec<String>,
}

impl Findings {
    /// Whether every acknowledged point is there once, as it was sent.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.missing == 0 && self.duplicated == 0 && self.wrong == 0
    }

    fn fault(&mut self, sentence: impl FnOnce() -> String) {
        if self.examples.len() < 10 {
            self.examples.push(sentence());
        }
    }

    /// Compares one series' samples, as they came, with the times that were acknowledged.
    fn compare(&mut self, series: u32, expect: &[i64], samples: &[(i64, f64)]) {
        let mut seen: HashMap<i64, f64> = HashMap::with_capacity(samples.len());
        for &(time, found) in samples {
            if seen.insert(time, found).is_some() {
                self.duplicated += 1;
                self.fault(|| format!("series {series} has {time} more than once"));
            }
        }
        self.series += 1;
        self.acknowledged += expect.len() as u64;
        for &time in expect {
            let right = value(series, time);
            match seen.get(&time) {
                None => {
                    self.missing += 1;
                    self.fault(|| format!("series {series} lacks {time}"));
                }
                Some(found) if found.to_bits() != right.to_bits() => {
                    self.wrong += 1;
                    self.fault(|| format!("series {series} has {found} at {time}, {right} was sent"));
                }
                Some(_) => self.found += 1,
            }
        }
        let expect: HashSet<i64> = expect.iter().copied().collect();
        self.unacknowledged += seen.keys().filter(|time| !expect.contains(time)).count() as u64;
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} acknowledged points of {} series: {} found, {} missing, {} wrong, {} duplicated; {} more were stored without an answer",
            self.acknowledged, self.series, self.found, self.missing, self.wrong, self.duplicated, self.unacknowledged
        )?;
        for example in &self.examples {
            write!(f, "\n  {example}")?;
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct SeriesList {
    series: Vec<SeriesItem>,
}

#[derive(Deserialize)]
struct SeriesItem {
    series_id: u32,
    metric_name: String,
    origin: String,
    attributes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct SampleList {
    samples: Vec<SamplePoint>,
}

#[derive(Deserialize)]
struct SamplePoint {
    time: String,
    value: Option<f64>,
}

/// A REST client with a token.
struct Rest<'a> {
    client: reqwest::Client,
    base: &'a str,
    token: Option<&'a str>,
}

impl Rest<'_> {
    async fn get<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<T, CommandError> {
        let target = format!("{}/api/v1/telemetry/{path}", self.base.trim_end_matches('/'));
        let wrong = |reason: String| CommandError::Target { target: target.clone(), reason };
        let mut url = reqwest::Url::parse(&target).map_err(|error| wrong(error.to_string()))?;
        url.query_pairs_mut().extend_pairs(query);
        let mut request = self.client.get(url);
        if let Some(token) = self.token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.map_err(|error| wrong(error.to_string()))?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(|error| wrong(error.to_string()))?;
        if !status.is_success() {
            return Err(wrong(format!("{status} {}", String::from_utf8_lossy(&body))));
        }
        serde_json::from_slice(&body).map_err(|error| wrong(error.to_string()))
    }

    /// The ids of the load's series of one agent, by their number.
    async fn series(&self, agent: &str) -> Result<HashMap<u32, u32>, CommandError> {
        let list: SeriesList = self.get("series", &[("agent", agent.to_owned())]).await?;
        let ours = list.series.into_iter().filter(|item| item.metric_name == METRIC && item.origin == "otlp");
        Ok(ours.filter_map(|item| Some((item.attributes.get("series")?.parse().ok()?, item.series_id))).collect())
    }

    /// Samples with `from <= time <= to`, in as many answers as it takes.
    async fn samples(&self, id: u32, from: i64, to: i64) -> Result<Vec<(i64, f64)>, CommandError> {
        let stamp = |nanos: i64| {
            jiff::Timestamp::from_nanosecond(nanos.into()).map_or_else(|_| nanos.to_string(), |time| time.to_string())
        };
        let mut all = Vec::new();
        // Ranges still to be asked for; one that holds too much is halved.
        let mut open = vec![(from, to + 1)];
        while let Some((start, end)) = open.pop() {
            let query = [("start", stamp(start)), ("end", stamp(end)), ("limit", PAGE.to_string())];
            let list: Result<SampleList, _> = self.get(&format!("series/{id}/samples"), &query).await;
            match list {
                Ok(list) => {
                    for point in list.samples {
                        let time: jiff::Timestamp = point.time.parse().map_err(|_| CommandError::Target {
                            target: format!("series {id}"),
                            reason: format!("a sample's time is {:?}", point.time),
                        })?;
                        let time = i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX);
                        all.push((time, point.value.unwrap_or(f64::NAN)));
                    }
                }
                Err(CommandError::Target { reason, .. }) if reason.contains("more than") && end - start > 1 => {
                    let middle = start + (end - start) / 2;
                    open.extend([(start, middle), (middle, end)]);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }
}

/// Asks the service at `rest` for every point in `file`.
///
/// # Errors
/// When the file cannot be read or the service does not answer; points that are missing are no error here.
pub async fn verify(rest: &str, token: Option<&str>, file: &Path) -> Result<Findings, CommandError> {
    let requests = read(file)?;
    let rest = Rest { client: reqwest::Client::new(), base: rest, token };
    let total: u64 = requests.keys().map(|(_, series)| u64::from(*series)).sum();
    let mut findings = Findings::default();
    let mut ids: HashMap<String, HashMap<u32, u32>> = HashMap::new();
    for ((first, series), stamps) in requests {
        let mut times: Vec<i64> = stamps
            .iter()
            .flat_map(|stamp| (0..i64::from(stamp.rounds)).map(|round| stamp.start + round * stamp.step))
            .collect();
        times.sort_unstable();
        let (Some(&from), Some(&to)) = (times.first(), times.last()) else { continue };
        for n in first..first + series {
            let agent = agent_key(n);
            if !ids.contains_key(&agent) {
                ids.insert(agent.clone(), rest.series(&agent).await?);
            }
            let samples = match ids[&agent].get(&n) {
                Some(&id) => rest.samples(id, from, to).await?,
                None => Vec::new(),
            };
            findings.compare(n, &times, &samples);
            progress::show(&format!(
                "{} of {total} series checked, {} points missing",
                findings.series, findings.missing
            ));
        }
    }
    progress::clear();
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_are_written() {
        let stamp = Stamp { first: 2500, series: 1000, start: 1_800_000_000_000_000_001, step: 7, rounds: 3 };
        assert_eq!(parse(line(&stamp).trim_end()), Some(stamp));
        for wrong in ["", "1 2 3 4", "1 2 3 4 5 6", "a 2 3 4 5"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_fault_is_told_apart() {
        let mut findings = Findings::default();
        let samples = [(10, value(3, 10)), (20, value(3, 20)), (20, value(3, 20)), (30, 0.5), (50, value(3, 50))];
        findings.compare(3, &[10, 20, 30, 40], &samples);
        assert!(!findings.is_whole());
        let faults = std::mem::take(&mut findings.examples);
        assert_eq!(faults.len(), 3, "{faults:?}");
        let expect = Findings {
            series: 1,
            acknowledged: 4,
            found: 2,
            missing: 1,
            duplicated: 1,
            wrong: 1,
            unacknowledged: 1,
            examples: Vec::new(),
        };
        assert_eq!(findings, expect);
    }
}
