//! The identity of a point's series: a hash of its attributes as they came, under everything above that identifies.

use super::Metric;
use vitals_core::registry::IdentityHash;
use vitals_core::series::Part;
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// The attribute fields of a point: one run of bytes, as all encoders write them, else copied together.
pub(super) struct PointRun {
    /// Bytes left in the point where the run starts and ends.
    from: usize,
    to: usize,
    scattered: bool,
}

impl PointRun {
    pub(super) fn new() -> Self {
        Self { from: 0, to: 0, scattered: false }
    }

    #[inline]
    pub(super) fn add(&mut self, point: &[u8], before: usize, after: usize, copy: &mut Vec<u8>) {
        if self.from == 0 {
            (self.from, self.to) = (before, after);
        } else if !self.scattered && self.to == before {
            self.to = after;
        } else {
            if !self.scattered {
                copy.clear();
                copy.extend_from_slice(part(point, self.from, self.to));
                self.scattered = true;
            }
            copy.extend_from_slice(part(point, before, after));
        }
    }

    #[inline]
    pub(super) fn bytes<'b>(&self, point: &'b [u8], copy: &'b [u8]) -> &'b [u8] {
        if self.scattered { copy } else { part(point, self.from, self.to) }
    }
}

/// The bytes of `point` from where `from` are left to where `to` are left.
#[inline]
pub(super) fn part(point: &[u8], from: usize, to: usize) -> &[u8] {
    point.get(point.len() - from..point.len() - to).unwrap_or_default()
}

/// Mixes which number of a point it is into the hash of its identity.
#[inline]
pub(super) fn salted(base: IdentityHash, part: Part) -> IdentityHash {
    let (tag, bits) = match part {
        Part::Value => return base,
        Part::Count => (1_u64, 0),
        Part::Sum => (2, 0),
        Part::Min => (3, 0),
        Part::Max => (4, 0),
        Part::Bucket(bound) => (5, bound.to_bits()),
        Part::Quantile(q) => (6, q.to_bits()),
    };
    // SplitMix64's finalizer, twice with different inputs.
    let mix = |mut z: u64| {
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    let low = mix(bits.wrapping_add(tag.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
    let high = mix(low ^ bits.rotate_left(32) ^ tag);
    base.wrapping_add(u128::from(high) << 64 | u128::from(low))
}

/// Hash of the attributes as they came, under everything above the point that identifies.
#[inline]
pub(super) fn identity(metric: &Metric<'_>, run: &[u8]) -> IdentityHash {
    xxh3_128_with_seed(run, metric.prefix as u64) ^ metric.prefix
}
