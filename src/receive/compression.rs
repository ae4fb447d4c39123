//! Decompressing with a bound, so that a small body cannot become a large one.
//!
//! Memory is asked for before it is allocated: the output grows step by step, and the window of zstd, which holds the last part
//! of the output a second time, counts too.

use std::io::{self, Read};
use zstd::zstd_safe;

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
    /// There is no memory for it now.
    #[error("there is no memory to decompress the body in")]
    NoMemory,
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
/// The least that is allocated at a time.
const LEAST_STEP: usize = 4 << 10;

/// Asks for memory before it is allocated: whether so many bytes in all may be in use.
pub type MayUse<'m> = dyn FnMut(usize) -> bool + 'm;

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
    /// When they are more than `limit`, when `may_use` does not allow the memory, or when `body` is damaged or cut.
    pub fn decompress(self, body: &[u8], limit: usize, may_use: &mut MayUse<'_>) -> Result<Vec<u8>, CompressionError> {
        let invalid = |source| CompressionError::Invalid { encoding: self, source };
        if body.is_empty() && self != Self::None {
            // Zstd would take it for no frame at all; it is one that was cut off.
            return Err(invalid(io::ErrorKind::UnexpectedEof.into()));
        }
        // Metrics shrink five to ten times; a wrong guess costs a copy, not correctness.
        let first = body.len().saturating_mul(8);
        match self {
            Self::None => {
                if body.len() > limit {
                    return Err(CompressionError::TooLarge { limit });
                }
                Ok(body.to_vec())
            }
            Self::Gzip => self.read_all(flate2::read::MultiGzDecoder::new(body), first, 0, limit, may_use),
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(body).map_err(invalid)?;
                decoder.window_log_max(WINDOW_LOG).map_err(invalid)?;
                self.read_all(decoder, first, largest_window(body), limit, may_use)
            }
        }
    }

    /// Reads to the end of `decoder`, which keeps up to `window` bytes of what it gave.
    fn read_all(
        self,
        mut decoder: impl Read,
        first: usize,
        window: usize,
        limit: usize,
        may_use: &mut MayUse<'_>,
    ) -> Result<Vec<u8>, CompressionError> {
        // One more than the limit tells a body at the limit from one past it.
        let most = limit.saturating_add(1);
        let mut out = Vec::new();
        let mut room = first.max(LEAST_STEP).min(most);
        loop {
            if !may_use(room.saturating_add(window.min(room))) {
                return Err(CompressionError::NoMemory);
            }
            let step = room - out.len();
            out.reserve_exact(step);
            decoder
                .by_ref()
                .take(step as u64)
                .read_to_end(&mut out)
                .map_err(|source| CompressionError::Invalid { encoding: self, source })?;
            if out.len() > limit {
                return Err(CompressionError::TooLarge { limit });
            }
            if out.len() < room {
                return Ok(out);
            }
            room = room.saturating_mul(2).min(most);
        }
    }
}

/// The largest window that a frame in `body` asks for, in bytes, as far as its frames can be told apart; the decoder allocates that
/// much, and refuses what is more than [`WINDOW_LOG`] allows.
fn largest_window(mut body: &[u8]) -> usize {
    let mut largest = 0;
    while !body.is_empty() {
        largest = largest.max(frame_window(body).unwrap_or(1 << WINDOW_LOG));
        match zstd_safe::find_frame_compressed_size(body) {
            Ok(size) if size > 0 => body = body.get(size..).unwrap_or_default(),
            // It is damaged here, which the decoder says.
            _ => break,
        }
    }
    largest
}

/// The window of the frame at the start of `body` (RFC 8878, 3.1.1.1.2); `None` when it cannot be read.
fn frame_window(body: &[u8]) -> Option<usize> {
    let (magic, rest) = body.split_first_chunk::<4>()?;
    if matches!(magic, [0x50..=0x5f, 0x2a, 0x4d, 0x18]) {
        // A skippable frame holds nothing.
        return Some(0);
    }
    let (&descriptor, rest) = rest.split_first()?;
    if descriptor & 0x20 == 0 {
        let window = *rest.first()?;
        let base = 1_usize.checked_shl(10 + u32::from(window >> 3))?;
        return base.checked_add(base / 8 * usize::from(window & 7));
    }
    // A single segment has its content as the window.
    let content = zstd_safe::get_frame_content_size(body).ok()??;
    usize::try_from(content).ok()
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

    fn unlimited(encoding: Encoding, body: &[u8], limit: usize) -> Result<Vec<u8>, CompressionError> {
        encoding.decompress(body, limit, &mut |_| true)
    }

    #[test]
    fn memory_is_asked_for_before_it_is_used() {
        let text = vec![7_u8; 4 << 20];
        // A frame that does not say how long it is, with a window of 1 MiB.
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(20).unwrap();
        encoder.write_all(&text).unwrap();
        let windowed = encoder.finish().unwrap();
        assert_eq!(largest_window(&windowed), 1 << 20);
        assert_eq!(largest_window(&[&windowed[..], &zstd::encode_all(&text[..9], 1).unwrap()].concat()), 1 << 20);
        for (encoding, body, window) in [(Encoding::Gzip, gzip(&text), 0), (Encoding::Zstd, windowed, 1 << 20)] {
            let mut asked = Vec::new();
            let out = encoding.decompress(&body, 5 << 20, &mut |bytes| {
                asked.push(bytes);
                true
            });
            let out = out.unwrap();
            assert_eq!(out, text);
            assert!(*asked.last().unwrap() >= out.capacity() + window, "{encoding:?}: {asked:?}, {}", out.capacity());
            assert!(asked.is_sorted() && asked[0] < 1 << 20, "{encoding:?}: {asked:?}");
            // What is not allowed is not allocated.
            let mut last = 0;
            let refused = encoding.decompress(&body, 5 << 20, &mut |bytes| {
                last = bytes;
                bytes < 1 << 20
            });
            assert!(matches!(refused, Err(CompressionError::NoMemory)), "{refused:?}");
            assert!(last < 4 << 20, "{last}");
        }
        // A small frame that claims the largest window is counted by what it can fill.
        let mut asked = 0;
        let claims = [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, (27 - 10) << 3, 0x09, 0, 0][..], b"x"].concat();
        let out = Encoding::Zstd.decompress(&claims, 5 << 20, &mut |bytes| {
            asked = bytes;
            true
        });
        assert_eq!((out.unwrap(), largest_window(&claims)), (b"x".to_vec(), 1 << 27));
        assert!(asked < 64 << 10, "{asked}");
    }

    #[test]
    fn both_encodings_and_their_limits() {
        let text = vec![7_u8; 10_000];
        for (encoding, body) in
            [(Encoding::Gzip, gzip(&text)), (Encoding::Zstd, zstd::encode_all(&text[..], 1).unwrap())]
        {
            assert_eq!(unlimited(encoding, &body, 10_000).unwrap(), text);
            let bomb = unlimited(encoding, &body, 9_999).unwrap_err();
            assert!(matches!(bomb, CompressionError::TooLarge { limit: 9_999 }), "{bomb}");
            let cut = unlimited(encoding, &body[..body.len() - 3], 10_000).unwrap_err();
            assert!(matches!(cut, CompressionError::Invalid { .. }), "{cut}");
            assert!(unlimited(encoding, b"not compressed", 100).is_err());
        }
    }
}
