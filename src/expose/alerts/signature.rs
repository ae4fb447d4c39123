//! Signatures of webhooks, as Standard Webhooks has them: HMAC-SHA256 over `id.timestamp.body`.
//!
//! Source: <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Least and most bytes of a secret (the specification's).
const SIZES: std::ops::RangeInclusive<usize> = 24..=64;
/// What the text of a secret begins with.
const PREFIX: &str = "whsec_";

/// A key that sender and receiver share.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(Vec<u8>);

impl Secret {
    /// `whsec_` and base64 of 24 to 64 bytes; text without that prefix is taken as it is.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let bytes = match text.strip_prefix(PREFIX) {
            Some(coded) => {
                STANDARD.decode(coded).map_err(|error| format!("it is no base64 behind {PREFIX}: {error}"))?
            }
            None => text.as_bytes().to_vec(),
        };
        if !SIZES.contains(&bytes.len()) {
            let (least, most) = (SIZES.start(), SIZES.end());
            return Err(format!("it has {} bytes, must have {least} to {most}", bytes.len()));
        }
        Ok(Self(bytes))
    }

    /// The value of the header `webhook-signature`.
    pub(super) fn sign(&self, id: &str, seconds: i64, body: &[u8]) -> String {
        // A key of any length will do; there is no other error.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return String::new() };
        mac.update(format!("{id}.{seconds}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_as_the_specification_shows() {
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn secrets_are_long_enough() {
        for (text, expect) in [
            ("short", Some("has 5 bytes")),
            ("whsec_c2hvcnQ=", Some("has 5 bytes")),
            ("whsec_!", Some("base64")),
            ("twenty-four bytes of text", None),
        ] {
            let found = Secret::parse(text).err();
            match expect {
                None => assert_eq!(found, None),
                Some(word) => assert!(found.clone().unwrap_or_default().contains(word), "{text}: {found:?}"),
            }
        }
    }
}
