//! Running totals of the buckets of delta histograms, whose bounds may be others from point to point: an exponential
//! histogram has those that its values need.
//!
//! A bucket's total counts the values up to its bound. So each increment counts for every bound that the histogram ever
//! had: a bound that the point has not gets what the point has up to the next lower one, and a new bound begins with the
//! total of the next lower one. Both are the most that is certain, and keep the totals rising with the bounds.

use super::series_tracker::SeriesState;
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use vitals_core::rules::streams::Counted;
use vitals_core::series::{Part, SeriesDesc, Shape};
use xxhash_rust::xxh3::Xxh3;

/// Most bounds of a histogram that are kept together: twice what a point of an exponential histogram has. Further ones
/// count for themselves.
const MOST_BOUNDS: usize = 640;

/// A row of a bucket, to be looked at together with the others of its point.
#[derive(Clone, Copy)]
pub(super) struct BucketRow {
    pub(super) stream: u32,
    pub(super) bound: f64,
    pub(super) start: i64,
    pub(super) time: i64,
    /// Values up to the bound, of this point.
    pub(super) value: f64,
}

struct Member {
    bound: f64,
    series: u32,
    /// Whether it has a total.
    counted: bool,
}

/// One histogram of one set of attributes.
pub(super) struct Stream {
    pub(super) counted: Counted,
    /// By rising bounds.
    members: Vec<Member>,
}

/// All delta histograms of a shard.
#[derive(Default)]
pub(super) struct Histograms {
    pub(super) all: Vec<Stream>,
    by_identity: HashMap<u128, u32>,
    /// Each bucket's histogram and bound.
    of: HashMap<u32, (u32, f64)>,
}

impl Histograms {
    /// Takes a series in; whether it is a bucket of a delta histogram.
    pub(super) fn join(&mut self, desc: &SeriesDesc) -> bool {
        let (Part::Bucket(bound), Shape::Delta { .. }) = (desc.spec.part, desc.spec.shape) else { return false };
        if self.of.contains_key(&desc.id.0) {
            return true;
        }
        let next = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        let stream = *self.by_identity.entry(identity(desc)).or_insert(next);
        if stream == next {
            self.all.push(Stream { counted: Counted::NOTHING, members: Vec::new() });
        }
        let members = &mut self.all[stream as usize].members;
        if members.len() >= MOST_BOUNDS {
            return false;
        }
        let at = members.partition_point(|other| other.bound.total_cmp(&bound).is_lt());
        members.insert(at, Member { bound, series: desc.id.0, counted: false });
        self.of.insert(desc.id.0, (stream, bound));
        true
    }

    /// The histogram that a bucket belongs to, and its bound.
    pub(super) fn of(&self, series: u32) -> Option<(u32, f64)> {
        self.of.get(&series).copied()
    }

    /// Adds a point's rows, by rising bounds, to the totals, and tells `each` the total of each bound.
    pub(super) fn add(
        &mut self,
        stream: u32,
        rows: &[BucketRow],
        series: &mut [SeriesState],
        mut each: impl FnMut(u32, f64, &mut SeriesState),
    ) {
        let Some(stream) = self.all.get_mut(stream as usize) else { return };
        // Of this point, and of all before it.
        let (mut increment, mut before) = (0.0_f64, 0.0_f64);
        let mut rows = rows.iter().peekable();
        for member in &mut stream.members {
            let Some(state) = series.get_mut(member.series as usize) else { continue };
            let mut given = false;
            while let Some(row) = rows.next_if(|row| row.bound.total_cmp(&member.bound).is_le()) {
                // The first one counts, should there be several.
                if !given && row.value.is_finite() {
                    increment = increment.max(row.value);
                }
                given = true;
            }
            if !given && !member.counted {
                continue;
            }
            if member.counted {
                before = before.max(state.count.offset);
            }
            member.counted = true;
            state.count.offset = before + increment;
            each(member.series, state.count.offset, state);
        }
    }

    /// A series by which a histogram is known over a restart.
    pub(super) fn name(&self, stream: u32) -> Option<u32> {
        let members = &self.all.get(stream as usize)?.members;
        members.iter().filter(|member| member.counted).map(|member| member.series).min()
    }

    pub(super) fn save(&self) -> Vec<SavedHistogram> {
        let one = |stream: &Stream| {
            let counted = stream.members.iter().filter(|member| member.counted);
            let members: Vec<u32> = counted.map(|member| member.series).collect();
            (!members.is_empty()).then_some(SavedHistogram { counted: stream.counted, members })
        };
        self.all.iter().filter_map(one).collect()
    }

    /// Forgets every total, keeps who belongs together.
    pub(super) fn forget(&mut self) {
        for stream in &mut self.all {
            stream.counted = Counted::NOTHING;
            stream.members.iter_mut().for_each(|member| member.counted = false);
        }
    }

    /// Puts back what [`Histograms::save`] gave; its series have joined.
    pub(super) fn restore(&mut self, saved: &[SavedHistogram]) {
        for one in saved {
            let Some((stream, _)) = one.members.first().and_then(|&series| self.of(series)) else { continue };
            let stream = &mut self.all[stream as usize];
            stream.counted = one.counted;
            stream.members.iter_mut().for_each(|member| member.counted = one.members.contains(&member.series));
        }
    }
}

/// A [`Stream`], written down.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(super) struct SavedHistogram {
    counted: Counted,
    pub(super) members: Vec<u32>,
}

/// What all buckets of a histogram share and no other has.
fn identity(desc: &SeriesDesc) -> u128 {
    let mut hash = Xxh3::new();
    hash.update(&desc.agent.0.to_le_bytes());
    desc.spec.feed_names(&mut |bytes| hash.update(bytes));
    hash.digest128()
}
