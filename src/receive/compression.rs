//! Decompressing with a bound, so that a small body cannot become a large one.

use std::io::{self, Read};

/// A `content-encoding` that is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `identity`, or none given.
    None,
    /// `gzip`
    Gzip,
    /// `zstd`
    Zstd,
}

/// A reason for which a body could not be decompressed.
#[derive(Debug, thiserror::Error)]
pub enum CompressionError {
    /// It would pass the limit.
    #[error("the body is larger than {limit} bytes after decompression")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// It is not what its encoding says.
    #[error("the body is not valid {encoding:?}: {source}")]
    Invalid {
        /// The encoding.
        encoding: Encoding,
        /// The error of the decoder.
        source: io::Error,
    },
}

/// The largest zstd window that is accepted, as a power of two: 128 MiB, the bound of the zstd library itself. RFC 8878 asks for
/// 8 MiB at least, and encoders in use go further: Go's best levels take 16 and 32 MiB.
const WINDOW_LOG: u32 = 27;
/// Most encodings over each other.
const MOST_ENCODINGS: usize = 3;

impl Encoding {
    /// By its name in the header; `None` is one that is not understood.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Self> {
        let name = name.trim_ascii();
        if name.is_empty() || name.eq_ignore_ascii_case(b"identity") {
            Some(Self::None)
        } else if name.eq_ignore_ascii_case(b"gzip") || name.eq_ignore_ascii_case(b"x-gzip") {
            Some(Self::Gzip)
        } else if name.eq_ignore_ascii_case(b"zstd") {
            Some(Self::Zstd)
        } else {
            None
        }
    }

    /// Those of all `content-encoding` lines, in the order in which they were applied; `None` when one of them is not
    /// understood, or they are too many.
    pub fn all<'h>(lines: impl Iterator<Item = &'h [u8]>) -> Option<Vec<Self>> {
        let mut encodings = Vec::new();
        for name in lines.flat_map(|line| line.split(|byte| *byte == b',')) {
            match Self::named(name)? {
                Self::None => {}
                encoding => encodings.push(encoding),
            }
        }
        (encodings.len() <= MOST_ENCODINGS).then_some(encodings)
    }

    /// The body's bytes before compression. All members of a gzip stream and all frames of zstd are one body.
    ///
    /// # Errors
    /// When they are more than `limit`, or `body` is damaged or cut.
    pub fn decompress(self, body: &[u8], limit: usize) -> Result<Vec<u8>, CompressionError> {
        let invalid = |source| CompressionError::Invalid { encoding: self, source };
        if body.is_empty() && self != Self::None {
            // Zstd would take it for no frame at all; it is one that was cut off.
            return Err(invalid(io::ErrorKind::UnexpectedEof.into()));
        }
        // Metrics shrink five to ten times; a wrong guess costs a copy, not correctness.
        let mut out = Vec::with_capacity(body.len().saturating_mul(8).min(limit));
        let most = limit as u64 + 1;
        match self {
            Self::None => out.extend_from_slice(body.get(..limit.saturating_add(1)).unwrap_or(body)),
            Self::Gzip => {
                flate2::read::MultiGzDecoder::new(body).take(most).read_to_end(&mut out).map_err(invalid)?;
            }
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(body).map_err(invalid)?;
                decoder.window_log_max(WINDOW_LOG).map_err(invalid)?;
                decoder.take(most).read_to_end(&mut out).map_err(invalid)?;
            }
        }
        if out.len() > limit {
            return Err(CompressionError::TooLarge { limit });
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn both_encodings_and_their_limits() {
        let text = vec![7_u8; 10_000];
        for (encoding, body) in
            [(Encoding::Gzip, gzip(&text)), (Encoding::Zstd, zstd::encode_all(&text[..], 1).unwrap())]
        {
            assert_eq!(encoding.decompress(&body, 10_000).unwrap(), text);
            let bomb = encoding.decompress(&body, 9_999).unwrap_err();
            assert!(matches!(bomb, CompressionError::TooLarge { limit: 9_999 }), "{bomb}");
            let cut = encoding.decompress(&body[..body.len() - 3], 10_000).unwrap_err();
            assert!(matches!(cut, CompressionError::Invalid { .. }), "{cut}");
            assert!(encoding.decompress(b"not compressed", 100).is_err());
        }
    }
}
