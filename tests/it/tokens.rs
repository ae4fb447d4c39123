//! Tokens of other issuers, over the port: keys change without a restart, and no token says where its key is.

use crate::service::{Client, eventually, local};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use vitals::config::Config;
use vitals::pipeline::Service;

/// The Ed25519 key pairs of RFC 8032, section 7.1, tests 1 and 2: (name, secret, public).
const KEYS: [(&str, &str, &str); 2] = [
    (
        "old",
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    ),
    (
        "new",
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
    ),
];

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hex"))
        .collect()
}

fn jwk((name, _, public): (&str, &str, &str)) -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": name, "x": URL_SAFE_NO_PAD.encode(bytes(public))})
}

fn key_set(keys: &[(&str, &str, &str)]) -> String {
    json!({"keys": keys.iter().map(|key| jwk(*key)).collect::<Vec<_>>()}).to_string()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

fn signed((name, secret, _): (&str, &str, &str), with: impl FnOnce(&mut Header)) -> String {
    // PKCS #8, RFC 8410.
    let mut der = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    der.extend(bytes(secret));
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some(name.to_owned());
    with(&mut header);
    let claims = json!({"sub": "ci", "exp": now() + 300});
    encode(&header, &claims, &EncodingKey::from_ed_der(&der)).expect("signed")
}

async fn status_of(service: &Service, token: &str) -> u16 {
    let request = reqwest::Client::new().get(format!("http://{}/api/v1/telemetry/agents", service.addresses().rest));
    request.bearer_auth(token).send().await.expect("an answer").status().as_u16()
}

/// Both keys, before and after the set changed from the old to the new one.
async fn rotates(service: &Service, change: impl AsyncFnOnce()) {
    let [old, new] = KEYS.map(|key| signed(key, |_| ()));
    assert_eq!((status_of(service, &old).await, status_of(service, &new).await), (200, 401));
    change().await;
    eventually(async || status_of(service, &new).await, |status| *status == 200).await;
    eventually(async || status_of(service, &old).await, |status| *status == 401).await;
}

async fn started(config: Config, data: &Path) -> Service {
    Service::start(config, data).await.expect("the service starts")
}

fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = local();
    config.auth.jwks_least_seconds = 0;
    config.auth.jwks_refresh_seconds = 1;
    change(&mut config);
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_key_file_is_read_without_a_restart() {
    let data = tempfile::tempdir().expect("a folder");
    let path = data.path().join("jwks.json");
    std::fs::write(&path, key_set(&KEYS[..1])).expect("written");
    let service = started(config(|config| config.auth.jwks_file = Some(path.clone())), data.path()).await;
    // Half a file changes nothing.
    rotates(&service, async || {
        std::fs::write(&path, "{\"keys\": [").expect("written");
        replace(&path, &key_set(&KEYS[1..]));
    })
    .await;
    service.stop().await;
}

/// As deployments do it: a new file under the old name.
fn replace(path: &Path, text: &str) {
    let draft = path.with_extension("draft");
    std::fs::write(&draft, text).expect("written");
    std::fs::rename(&draft, path).expect("renamed");
}

/// Answers every request with what `body` says at the time; counts them.
async fn web_server(body: impl Fn() -> String + Send + Sync + 'static) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let body = body();
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            let mut head = [0; 4096];
            // A client that goes away early asks again.
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    (format!("http://{address}/jwks.json"), asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_key_set_is_fetched_without_a_restart() {
    let data = tempfile::tempdir().expect("a folder");
    let current = Arc::new(AtomicUsize::new(0));
    let served = current.clone();
    let (url, _) = web_server(move || key_set(&KEYS[served.load(Ordering::SeqCst)..][..1])).await;
    let service = started(config(|config| config.auth.jwks_url = Some(url)), data.path()).await;
    rotates(&service, async || current.store(1, Ordering::SeqCst)).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_does_not_say_where_its_key_is() {
    let data = tempfile::tempdir().expect("a folder");
    let path = data.path().join("jwks.json");
    std::fs::write(&path, key_set(&KEYS[..1])).expect("written");
    let service = started(config(|config| config.auth.jwks_file = Some(path)), data.path()).await;
    let [known, foreign] = KEYS;
    let (url, asked) = web_server(move || key_set(&[foreign])).await;
    for name in ["jku", "x5u", "jwk", "x5c"] {
        let point = |header: &mut Header| match name {
            "jku" => header.jku = Some(url.clone()),
            "x5u" => header.x5u = Some(url.clone()),
            "jwk" => header.jwk = Some(serde_json::from_value(jwk(foreign)).expect("a key")),
            _ => header.x5c = Some(vec!["MIIB".to_owned()]),
        };
        assert_eq!(status_of(&service, &signed(foreign, point)).await, 401, "{name} points at its own key");
        assert_eq!(status_of(&service, &signed(known, point)).await, 200, "{name} is not looked at");
        // Under the name of a key that is known.
        let forged = signed(foreign, |header| {
            point(header);
            header.kid = Some(known.0.to_owned());
        });
        assert_eq!(status_of(&service, &forged).await, 401, "{name} with another's name");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0, "nobody asked the server that the tokens named");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_holds_from_nbf_to_exp_give_or_take_the_leeway() {
    let data = tempfile::tempdir().expect("a folder");
    let mut config = config(|config| config.auth.leeway_seconds = 30);
    config.auth.key_file = Some(data.path().join("key"));
    std::fs::write(data.path().join("key"), "0123456789abcdef0123456789abcdef").expect("written");
    let service = started(config, data.path()).await;
    let client = Client::of(&service, None, None);
    let key = EncodingKey::from_secret(b"0123456789abcdef0123456789abcdef");
    let now = i64::try_from(now()).expect("before 2554");
    for (claim, value, status) in [
        ("exp", now + 60, 200),
        // A second or two may pass before the token is looked at.
        ("exp", now - 27, 200),
        ("exp", now - 31, 401),
        ("nbf", now - 60, 200),
        ("nbf", now + 30, 200),
        ("nbf", now + 40, 401),
    ] {
        let mut claims = json!({
            "sub": "u", "email": "u@example.com", "iat": now, "exp": now + 300, "type": "access",
        });
        claims[claim] = value.into();
        let token = encode(&Header::new(Algorithm::HS256), &claims, &key).expect("signed");
        assert_eq!(status_of(&service, &token).await, status, "{claim} {}", value - now);
    }
    assert_eq!(client.get("/agents").await.0, 200);
    service.stop().await;
}
