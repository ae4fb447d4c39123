use super::key_set::KeySet;
use super::key_sources::FILE_CHECK;
use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use parking_lot::RwLock;
use serde_json::{Value, json};
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vitals_core::caller::Scope;
use vitals_core::ids::TenantId;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn now() -> i64 {
    i64::try_from(jsonwebtoken::get_current_timestamp()).unwrap()
}

fn good() -> Value {
    json!({"sub": "u1", "email": "u1@example.com", "iat": now(), "exp": now() + 60, "type": "access"})
}

fn signed(claims: &Value) -> String {
    let token = encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(SECRET)).unwrap();
    format!("Bearer {token}")
}

fn with(key: &str, value: Value) -> Value {
    let mut claims = good();
    claims[key] = value;
    claims
}

fn without(key: &str) -> Value {
    let mut claims = good();
    claims.as_object_mut().unwrap().remove(key);
    claims
}

#[test]
fn every_claim_is_checked() {
    let auth = Auth::from_secret(SECRET).unwrap();
    let check = |claims: Value, expect: Result<(), Denied>| {
        assert_eq!(auth.caller(Some(&signed(&claims))).map(|_| ()), expect, "{claims}");
    };
    check(good(), Ok(()));
    for required in ["sub", "email", "iat", "exp", "type"] {
        check(without(required), Err(Denied::Claims));
    }
    check(with("sub", json!("")), Err(Denied::Claims));
    check(with("sub", json!(7)), Err(Denied::Claims));
    check(with("exp", json!("soon")), Err(Denied::Claims));
    check(with("type", json!("refresh")), Err(Denied::NotAccess));
    check(with("exp", json!(now() - 60)), Err(Denied::Expired));
    // Five seconds of leeway; a second may pass within this test.
    check(with("exp", json!(now() - 4)), Ok(()));
    check(with("exp", json!(now() - 6)), Err(Denied::Expired));
    check(with("exp", json!(-1)), Err(Denied::Claims));
    check(with("nbf", json!(now() + 60)), Err(Denied::NotYet));
    check(with("nbf", json!(now() + 5)), Ok(()));
    check(with("nbf", json!(now() + 7)), Err(Denied::NotYet));
    check(with("nbf", json!("now")), Err(Denied::Claims));
    check(with("tenant", json!("")), Err(Denied::Claims));
    check(with("agents", json!("web-*")), Err(Denied::Claims));
    check(json!([1, 2]), Err(Denied::Claims));
}

#[test]
fn what_a_token_allows() {
    let auth = Auth::from_secret(SECRET).unwrap();
    let plain = auth.caller(Some(&signed(&good()))).unwrap();
    assert_eq!(plain.tenant, TenantId::default_tenant());
    assert!(plain.may(Scope::Read) && plain.may(Scope::Write) && !plain.may(Scope::Admin));
    assert!(plain.may_touch("anything"));
    let request = TokenRequest {
        subject: "ops".into(),
        email: "ops@example.com".into(),
        tenant: Some("acme".into()),
        agents: Some(vec!["web-*".into()]),
        ttl: Duration::from_secs(60),
        scope: Some("telemetry:read something:else".into()),
    };
    let token = auth.issue(request).unwrap();
    let caller = auth.caller(Some(&format!("bearer {token}"))).unwrap();
    assert_eq!(caller.tenant, TenantId::from("acme"));
    assert_eq!(caller.subject.as_deref(), Some("ops"));
    assert!(caller.may_touch("web-1") && !caller.may_touch("db-1"));
    assert_eq!(caller.scopes, [Scope::Read]);
}

#[test]
fn headers_that_are_no_token() {
    let auth = Auth::from_secret(SECRET).unwrap();
    let token = signed(&good());
    for (header, expect) in [
        (None, Denied::Missing),
        (Some(""), Denied::NotBearer),
        (Some("Bearer"), Denied::NotBearer),
        (Some("Basic dTpw"), Denied::NotBearer),
        (Some("Bearer a.b"), Denied::Invalid),
        (Some("Bearer a.b.c.d"), Denied::Invalid),
    ] {
        assert_eq!(auth.caller(header), Err(expect), "{header:?}");
    }
    let other = Auth::from_secret(b"another secret, another secret, x").unwrap();
    assert_eq!(other.caller(Some(&token)), Err(Denied::Invalid));
    let unsigned = format!(
        "Bearer {}.{}.",
        URL_SAFE_NO_PAD.encode(br#"{"alg":"none"}"#),
        URL_SAFE_NO_PAD.encode(good().to_string())
    );
    assert_eq!(auth.caller(Some(&unsigned)), Err(Denied::Invalid));
    let mut critical = Header::new(Algorithm::HS256);
    critical.crit = Some(vec!["x".into()]);
    let token = encode(&critical, &good(), &EncodingKey::from_secret(SECRET)).unwrap();
    assert_eq!(auth.caller(Some(&format!("Bearer {token}"))), Err(Denied::Invalid));
}

#[test]
fn the_first_start_makes_a_secret() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let first = Auth::load_with(&AuthConfig::default(), &data, None).unwrap();
    let again = Auth::load_with(&AuthConfig::default(), &data, None).unwrap();
    let request = TokenRequest {
        subject: "a".into(),
        email: "a@example.com".into(),
        tenant: None,
        agents: None,
        ttl: Duration::from_secs(60),
        scope: None,
    };
    let token = first.issue(request).unwrap();
    assert!(again.caller(Some(&format!("Bearer {token}"))).is_ok());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(data.join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    assert_eq!(fs::read_dir(&data).unwrap().count(), 1, "the draft is gone");
}

#[test]
fn configurations_that_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let load = |config: AuthConfig, variable: Option<&str>| {
        Auth::load_with(&config, dir.path(), variable.map(str::to_owned)).map(|_| ())
    };
    assert!(matches!(load(AuthConfig::default(), Some("short")), Err(AuthError::ShortSecret { length: 5, .. })));
    let leeway = AuthConfig { leeway_seconds: 31, ..AuthConfig::default() };
    assert!(matches!(load(leeway, None), Err(AuthError::Leeway(31))));
    let open = AuthConfig { jwks_url: Some("http://example.com/keys".into()), ..AuthConfig::default() };
    assert!(matches!(load(open, None), Err(AuthError::OpenUrl(_))));
    let path = dir.path().join("keys.json");
    fs::write(&path, "{}").unwrap();
    let set = AuthConfig { jwks_file: Some(path), ..AuthConfig::default() };
    assert!(matches!(load(set, None), Err(AuthError::KeySet { .. })));
}

/// A verifier with the keys of one group of vectors.
fn of_keys(keys: &[Value]) -> Auth {
    let secret = keys
        .iter()
        .find(|key| key["kty"] == "oct" && key["alg"] == "HS256")
        .and_then(|key| Secret::new(&URL_SAFE_NO_PAD.decode(key["k"].as_str().unwrap()).unwrap(), "vectors").ok());
    let set = KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap();
    let (wanted, asked) = crossbeam_channel::bounded(1);
    std::mem::forget(asked);
    let url = Some(KeyUrl { keys: Arc::new(RwLock::new(set)), wanted });
    Auth { secret, file: None, url, issuer: None, audience: None, leeway: 0 }
}

/// The payloads are no claims, so a good signature is one that gets as far as the claims.
#[test]
fn wycheproof() {
    let mut judged = 0;
    for text in [
        include_str!("../../tests/data/jws/json_web_signature_test.json"),
        include_str!("../../tests/data/jws/json_web_key_test.json"),
    ] {
        let file: Value = serde_json::from_str(text).unwrap();
        for group in file["testGroups"].as_array().unwrap() {
            let key = group.get("public").unwrap_or(&group["private"]);
            let keys = key["keys"].as_array().cloned().unwrap_or_else(|| vec![key.clone()]);
            let supported = |alg: &Value| matches!(alg.as_str(), Some("HS256" | "RS256" | "ES256" | "EdDSA"));
            let auth = of_keys(&keys);
            for test in group["tests"].as_array().unwrap() {
                let Some(token) = test["jws"].as_str() else { continue };
                let got = auth.claims(token).map(|_| ());
                let name = format!("{} {}", test["tcId"], test["comment"]);
                if matches!(test["tcId"].as_u64(), Some(372 | 373)) {
                    // Labelled valid, though with a `?` amid the base64url, which RFC 7515 does not allow.
                    assert_eq!(got, Err(Denied::Invalid), "{name}");
                } else if test["result"] == "valid" {
                    if keys.iter().all(|key| supported(&key["alg"])) {
                        assert_eq!(got, Err(Denied::Claims), "{name}");
                        judged += 1;
                    }
                } else if !tolerated(test) {
                    assert_eq!(got, Err(Denied::Invalid), "{name}");
                    judged += 1;
                }
            }
        }
    }
    assert!(judged > 200, "{judged}");
}

/// Vectors that ask for more than a set of keys from a trusted place needs.
fn tolerated(test: &Value) -> bool {
    let comment = test["comment"].as_str().unwrap_or_default();
    // One secret of our own, never in a set, so no symmetric key can be taken for a public one.
    comment == "rejectsValid" || comment == "rejectsDuplicateKid"
        // The ROCA fingerprint of a modulus is not looked for: its keys come from the operator's issuer.
        || comment == "rejectsKeyWithRocaVulnerability"
        // Letter for letter the token that other vectors call valid; the padding they speak of is not there.
        || comment == "invalidBase64Padding"
        || comment == "invalidBase64PaddingInPayload"
}

/// The key pair of RFC 8037, appendix A.
#[test]
fn a_token_of_another_issuer() {
    let private = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
    let mut der = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    der.extend(private);
    let key = EncodingKey::from_ed_der(&der);
    let public = json!({
        "kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    });
    let mut auth = of_keys(&[public]);
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some("k1".into());
    let token = |header: &Header, claims: Value| format!("Bearer {}", encode(header, &claims, &key).unwrap());
    let claims = json!({"sub": "ci", "exp": now() + 60, "iss": "https://issuer", "aud": ["vitals", "other"]});
    assert_eq!(auth.caller(Some(&token(&header, claims.clone()))).unwrap().subject.as_deref(), Some("ci"));
    let mut refresh = claims.clone();
    refresh["type"] = json!("refresh");
    assert_eq!(auth.caller(Some(&token(&header, refresh))), Err(Denied::NotAccess));
    auth.issuer = Some("https://issuer".into());
    auth.audience = Some("vitals".into());
    assert!(auth.caller(Some(&token(&header, claims.clone()))).is_ok());
    auth.audience = Some("elsewhere".into());
    assert_eq!(auth.caller(Some(&token(&header, claims.clone()))), Err(Denied::Invalid));
    header.kid = Some("k2".into());
    assert_eq!(auth.caller(Some(&token(&header, claims.clone()))), Err(Denied::Invalid));
    // A public key is no secret: HS256 with its bytes is refused.
    let forged = EncodingKey::from_secret(b"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("k1".into());
    let token = encode(&header, &claims, &forged).unwrap();
    assert_eq!(auth.caller(Some(&format!("Bearer {token}"))), Err(Denied::Invalid));
}

#[test]
fn keys_that_are_left_out() {
    for key in [
        json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHUR"}),
        json!({"kty": "OKP", "crv": "Ed448", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
        json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}),
        json!({"kty": "RSA", "n": "", "e": "AQAB"}),
        json!({"kty": "RSA", "n": "AA", "e": "AQAB"}),
        json!({"kty": "oct", "alg": "HS256", "k": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}),
        json!({"kty": "???"}),
        json!(7),
    ] {
        let set = KeySet::parse(json!({ "keys": [key] }).to_string().as_bytes()).unwrap();
        assert!(set.named.is_empty() && set.unnamed.is_empty(), "{key}");
    }
}

#[test]
fn keys_of_other_issuers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.json");
    let vectors: Value =
        serde_json::from_str(include_str!("../../tests/data/jws/json_web_signature_test.json")).unwrap();
    let group = vectors["testGroups"].as_array().unwrap().iter().find(|g| g["comment"] == "es256").unwrap();
    fs::write(&path, r#"{"keys": []}"#).unwrap();
    let config = AuthConfig { jwks_file: Some(path.clone()), ..AuthConfig::default() };
    let auth = Auth::load_with(&config, dir.path(), None).unwrap();
    let token = group["tests"][0]["jws"].as_str().unwrap();
    assert_eq!(auth.claims(token).map(|_| ()), Err(Denied::Invalid), "the key is not there yet");
    assert!(matches!(
        auth.issue(TokenRequest {
            subject: "a".into(),
            email: "a".into(),
            tenant: None,
            agents: None,
            ttl: Duration::ZERO,
            scope: None
        }),
        Err(AuthError::NoSecret)
    ));
    fs::write(&path, json!({ "keys": [group["public"]] }).to_string()).unwrap();
    auth.file.as_ref().unwrap().seen.lock().0 = Instant::now() - 2 * FILE_CHECK;
    auth.file.as_ref().unwrap().seen.lock().1 = None;
    assert_eq!(auth.claims(token).map(|_| ()), Err(Denied::Claims), "the changed file was read");
}
