//! Public keys: those of a JSON Web Key Set that can be used, and the one that a token was signed with.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hashbrown::HashMap;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Header};
use serde::Deserialize;

/// RFC 7518, section 3.3.
const SHORTEST_RSA_BITS: usize = 2048;

/// A public key with the one algorithm that it may be used with.
#[derive(Clone)]
pub(super) struct PublicKey {
    algorithm: Algorithm,
    key: DecodingKey,
}

/// The usable keys of a set.
#[derive(Clone, Default)]
pub(super) struct KeySet {
    pub(super) named: HashMap<String, PublicKey>,
    pub(super) unnamed: Vec<PublicKey>,
}

impl KeySet {
    /// The usable keys: public, for signatures, of a supported algorithm, strong enough, and with a name of their own.
    pub(super) fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Wire {
            keys: Vec<serde_json::Value>,
        }
        let wire: Wire = serde_json::from_slice(text)?;
        let mut set = Self::default();
        let mut twice = Vec::new();
        for value in wire.keys {
            let Some((kid, key)) = serde_json::from_value::<Jwk>(value).ok().and_then(usable) else {
                tracing::warn!("a key of the set is left out: not a public RS256, ES256 or EdDSA signing key");
                continue;
            };
            match kid {
                None => set.unnamed.push(key),
                Some(kid) => {
                    if set.named.insert(kid.clone(), key).is_some() {
                        twice.push(kid);
                    }
                }
            }
        }
        for kid in twice {
            tracing::warn!(kid, "two keys of the set have this name; neither is used");
            set.named.remove(&kid);
        }
        Ok(set)
    }

    /// The key a token names; without a name, the only key of its algorithm.
    pub(super) fn find(&self, header: &Header) -> Option<DecodingKey> {
        let key = match &header.kid {
            Some(kid) => self.named.get(kid)?,
            None => {
                let mut fitting = self.named.values().chain(&self.unnamed).filter(|key| key.algorithm == header.alg);
                let only = fitting.next()?;
                if fitting.next().is_some() {
                    return None;
                }
                only
            }
        };
        (key.algorithm == header.alg).then(|| key.key.clone())
    }
}

/// The key and its name, if it can be used.
fn usable(jwk: Jwk) -> Option<(Option<String>, PublicKey)> {
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(key) => {
            let modulus = URL_SAFE_NO_PAD.decode(&key.n).ok()?;
            let exponent = URL_SAFE_NO_PAD.decode(&key.e).ok()?;
            strong_rsa(&modulus, &exponent).then_some(Algorithm::RS256)?
        }
        AlgorithmParameters::EllipticCurve(key)
            if key.curve == EllipticCurve::P256 && is_256_bits(&key.x) && is_256_bits(&key.y) =>
        {
            Algorithm::ES256
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 && is_256_bits(&key.x) => {
            Algorithm::EdDSA
        }
        _ => return None,
    };
    let declared = match jwk.common.key_algorithm {
        None => None,
        Some(KeyAlgorithm::RS256) => Some(Algorithm::RS256),
        Some(KeyAlgorithm::ES256) => Some(Algorithm::ES256),
        Some(KeyAlgorithm::EdDSA) => Some(Algorithm::EdDSA),
        Some(_) => return None,
    };
    let signs = matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature));
    let verifies = jwk.common.key_operations.as_ref().is_none_or(|ops| ops.contains(&KeyOperations::Verify));
    if declared.is_some_and(|declared| declared != algorithm) || !signs || !verifies {
        return None;
    }
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    Some((jwk.common.key_id, PublicKey { algorithm, key }))
}

/// The verifiers take it for granted.
fn is_256_bits(coordinate: &str) -> bool {
    URL_SAFE_NO_PAD.decode(coordinate).is_ok_and(|bytes| bytes.len() == 32)
}

/// Whether an RSA key is long enough and well formed.
fn strong_rsa(modulus: &[u8], exponent: &[u8]) -> bool {
    let Some(first) = modulus.iter().position(|&byte| byte != 0) else { return false };
    let bits = (modulus.len() - first) * 8 - modulus[first].leading_zeros() as usize;
    let odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
    let one = exponent.iter().rev().skip(1).all(|&byte| byte == 0) && exponent.last() == Some(&1);
    bits >= SHORTEST_RSA_BITS && odd(modulus) && odd(exponent) && !one
}
