//! LEB128: an unsigned number in 1 to 10 bytes, seven bits a byte, the lowest first. Protobuf's varint is the same.

/// Why bytes hold no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Leb128Error {
    /// The bytes end inside the number.
    #[error("the bytes end inside a number")]
    Truncated,
    /// The number has more than 64 bits.
    #[error("a number has more than 64 bits")]
    TooLong,
}

/// Appends `number` to `out`, in as few bytes as it needs.
#[inline]
pub fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// Takes a number from the front of `input`. Encodings that are longer than necessary are read, up to 10 bytes.
///
/// # Errors
/// When the bytes end before the number does, or it does not fit into 64 bits.
#[inline]
pub fn take(input: &mut &[u8]) -> Result<u64, Leb128Error> {
    let mut number = 0_u64;
    for at in 0..10 {
        let Some((&byte, rest)) = input.split_first() else {
            return Err(Leb128Error::Truncated);
        };
        *input = rest;
        number |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            // The tenth byte holds the 64th bit alone.
            return if at == 9 && byte > 1 { Err(Leb128Error::TooLong) } else { Ok(number) };
        }
    }
    Err(Leb128Error::TooLong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_number_comes_back_and_leaves_what_follows(number in any::<u64>(), shift in 0_u32..64, follows in any::<u8>()) {
            let number = number >> shift;
            let mut bytes = Vec::new();
            put(&mut bytes, number);
            let bits = (u64::BITS - (number | 1).leading_zeros()) as usize;
            prop_assert_eq!(bytes.len(), bits.div_ceil(7));
            bytes.push(follows);
            let mut input = bytes.as_slice();
            prop_assert_eq!(take(&mut input), Ok(number));
            prop_assert_eq!(input, [follows]);
        }
    }

    #[test]
    fn each_encoding_is_the_standards() {
        for (bytes, expect) in [
            (&[0x00][..], Ok(0)),
            (&[0x7f], Ok(127)),
            (&[0x80, 0x01], Ok(128)),
            (&[0xe5, 0x8e, 0x26], Ok(624_485)),
            (&[0x80, 0x00], Ok(0)),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], Ok(u64::MAX)),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], Err(Leb128Error::TooLong)),
            (&[0x80; 11], Err(Leb128Error::TooLong)),
            (&[0x80], Err(Leb128Error::Truncated)),
            (&[], Err(Leb128Error::Truncated)),
        ] {
            assert_eq!(take(&mut &*bytes), expect, "{bytes:02x?}");
        }
    }
}
