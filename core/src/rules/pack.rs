//! The binary form of the rules' state: LEB128 numbers and raw floats, without names.

use crate::leb128::{self, Leb128Error};

/// Why a state cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// It ends too early.
    #[error("the state ends in the middle")]
    Truncated,
    /// It was written by another format.
    #[error("the state has format {found}, known is {known}")]
    Format {
        /// The format's number in the state.
        found: u8,
        /// The one that this version writes.
        known: u8,
    },
    /// A number in it is impossible.
    #[error("the state holds an impossible {0}")]
    Impossible(&'static str),
}

/// Writes a state.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// A state of format `format`.
    #[must_use]
    pub fn new(format: u8) -> Self {
        Self { bytes: vec![format] }
    }

    /// A number, in 1 to 10 bytes.
    pub fn unsigned(&mut self, n: u64) {
        leb128::put(&mut self.bytes, n);
    }

    /// A number that is small in either direction.
    pub fn signed(&mut self, n: i64) {
        self.unsigned(((n << 1) ^ (n >> 63)).cast_unsigned());
    }

    /// A float, exactly.
    pub fn float(&mut self, x: f64) {
        self.bytes.extend_from_slice(&x.to_le_bytes());
    }

    /// A number of 16 bits, in two bytes.
    pub fn half(&mut self, n: u16) {
        self.bytes.extend_from_slice(&n.to_le_bytes());
    }

    /// A single-precision float, exactly.
    pub fn single(&mut self, x: f32) {
        self.bytes.extend_from_slice(&x.to_le_bytes());
    }

    /// What was written.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads a state.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// The state in `bytes`, which must have format `known`.
    ///
    /// # Errors
    /// When there is nothing, or another format.
    pub fn new(bytes: &'a [u8], known: u8) -> Result<Self, StateError> {
        match bytes.split_first() {
            None => Err(StateError::Truncated),
            Some((&found, rest)) if found == known => Ok(Self { rest }),
            Some((&found, _)) => Err(StateError::Format { found, known }),
        }
    }

    /// A number.
    ///
    /// # Errors
    /// When the bytes end, or the number does not.
    pub fn unsigned(&mut self) -> Result<u64, StateError> {
        leb128::take(&mut self.rest).map_err(|error| match error {
            Leb128Error::Truncated => StateError::Truncated,
            Leb128Error::TooLong => StateError::Impossible("number"),
        })
    }

    /// A number below `limit`, as an index or a count.
    ///
    /// # Errors
    /// When the bytes end, or the number is too large; `what` names it.
    pub fn below(&mut self, limit: usize, what: &'static str) -> Result<usize, StateError> {
        usize::try_from(self.unsigned()?).ok().filter(|&n| n < limit).ok_or(StateError::Impossible(what))
    }

    /// A signed number.
    ///
    /// # Errors
    /// When the bytes end, or the number does not.
    pub fn signed(&mut self) -> Result<i64, StateError> {
        let n = self.unsigned()?;
        Ok((n >> 1).cast_signed() ^ -(n & 1).cast_signed())
    }

    /// A float.
    ///
    /// # Errors
    /// When the bytes end.
    pub fn float(&mut self) -> Result<f64, StateError> {
        let (&bytes, rest) = self.rest.split_first_chunk().ok_or(StateError::Truncated)?;
        self.rest = rest;
        Ok(f64::from_le_bytes(bytes))
    }

    /// A number of 16 bits.
    ///
    /// # Errors
    /// When the bytes end.
    pub fn half(&mut self) -> Result<u16, StateError> {
        let (&bytes, rest) = self.rest.split_first_chunk().ok_or(StateError::Truncated)?;
        self.rest = rest;
        Ok(u16::from_le_bytes(bytes))
    }

    /// A finite float; `what` names it.
    ///
    /// # Errors
    /// When the bytes end, or it is not finite.
    pub fn finite(&mut self, what: &'static str) -> Result<f64, StateError> {
        Some(self.float()?).filter(|x| x.is_finite()).ok_or(StateError::Impossible(what))
    }

    /// A finite single-precision float; `what` names it.
    ///
    /// # Errors
    /// When the bytes end, or it is not finite.
    pub fn finite_single(&mut self, what: &'static str) -> Result<f32, StateError> {
        let (&bytes, rest) = self.rest.split_first_chunk().ok_or(StateError::Truncated)?;
        self.rest = rest;
        Some(f32::from_le_bytes(bytes)).filter(|x| x.is_finite()).ok_or(StateError::Impossible(what))
    }

    /// Whether everything was read.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.rest.is_empty()
    }
}

/// Most series that a state may name: a bound against damaged states, far above what one instance holds.
pub const MAX_SERIES: usize = 1 << 24;

#[cfg(test)]
mod tests {
    use super::{Reader, StateError, Writer};

    #[test]
    fn numbers_come_back() {
        let mut writer = Writer::new(7);
        let signed = [0, 1, -1, 63, -64, 64, i64::MAX, i64::MIN];
        let unsigned = [0, 127, 128, u64::MAX];
        signed.iter().for_each(|&n| writer.signed(n));
        unsigned.iter().for_each(|&n| writer.unsigned(n));
        writer.float(-0.5);
        let bytes = writer.finish();
        let mut reader = Reader::new(&bytes, 7).expect("format");
        for n in signed {
            assert_eq!(reader.signed(), Ok(n));
        }
        for n in unsigned {
            assert_eq!(reader.unsigned(), Ok(n));
        }
        assert_eq!(reader.float(), Ok(-0.5));
        assert!(reader.is_done());
        assert_eq!(reader.unsigned(), Err(StateError::Truncated));
    }

    #[test]
    fn damaged_states_are_refused() {
        assert_eq!(Reader::new(&[], 1).err(), Some(StateError::Truncated));
        assert_eq!(Reader::new(&[2], 1).err(), Some(StateError::Format { found: 2, known: 1 }));
        let endless = [1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255];
        assert_eq!(Reader::new(&endless, 1).expect("format").unsigned(), Err(StateError::Impossible("number")));
        assert_eq!(Reader::new(&[1, 5], 1).expect("format").below(5, "count"), Err(StateError::Impossible("count")));
    }
}
