//! Lines in compressed bodies of a limited size.

use super::gzip;
use bytes::Bytes;
use flate2::read::GzDecoder;
use std::io::Read;
use vitals_core::store::StoreError;

/// One write.
#[derive(Clone, Debug)]
pub(super) struct LineBatch {
    pub(super) body: Bytes,
    pub(super) lines: usize,
}

impl LineBatch {
    /// The body of `lines`, all of which end with a newline.
    pub(super) fn of(text: &[u8], lines: usize) -> Self {
        Self { body: gzip::compress(text).into(), lines }
    }

    /// The lines.
    pub(super) fn text(&self) -> Result<String, StoreError> {
        let mut text = String::new();
        let failed = |error: std::io::Error| StoreError::Io(format!("a body cannot be read again: {error}"));
        GzDecoder::new(&*self.body).read_to_string(&mut text).map_err(failed)?;
        Ok(text)
    }

    /// Only the lines that `keep` wants.
    pub(super) fn only(&self, keep: impl Fn(&str) -> bool) -> Result<Self, StoreError> {
        let text = self.text()?;
        let kept: Vec<&str> = text.lines().filter(|line| keep(line)).collect();
        Ok(Self::from_lines(&kept))
    }

    /// The lines as two batches. There must be two at least.
    pub(super) fn halves(&self) -> Result<[Self; 2], StoreError> {
        let text = self.text()?;
        let lines: Vec<&str> = text.lines().collect();
        let (left, right) = lines.split_at(lines.len() / 2);
        Ok([Self::from_lines(left), Self::from_lines(right)])
    }

    fn from_lines(lines: &[&str]) -> Self {
        let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
        Self::of(text.as_bytes(), lines.len())
    }
}
