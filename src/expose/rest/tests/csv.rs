//! Lists as CSV, and compressed answers.

use super::stream::Events;
use super::*;
use std::io::Read as _;

/// The head of an answer, and its body as bytes.
async fn raw(service: &Service, token: &str, path: &str, headers: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    let request = format!(
        "GET /api/v1/telemetry/{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {token}\r\n{headers}\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let at = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    (String::from_utf8(bytes[..at].to_vec()).unwrap().to_lowercase(), bytes[at + 4..].to_vec())
}

#[tokio::test]
async fn samples_sessions_and_alerts_come_as_csv() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    service.post("heartbeat", &token, &beat("web-1")).await;
    let agent = service.registry.agent_by_key(&"default".into(), "web-1").unwrap().id;
    lived(&service, agent, &[(90, State::Up), (60, State::Silent), (30, State::Up)]);
    service.store.change(|held| {
        held.alerts.values_mut().for_each(|alert| alert.message = "=cmd|' /C calc'!A0, \"x\"".into());
    });
    let series = service.registry.series_of(agent)[0].id.0;
    let [begun, down, back] = [90, 60, 30].map(|minutes| at(-minutes * MINUTE));
    let uptime = format!(
        "agent_id,state,start,end,duration_minutes,began_at\r\nweb-1,up,{begun},{down},30,{begun}\r\n\
         web-1,silent,{down},{back},30,{down}\r\nweb-1,up,{back},,30,{back}\r\n"
    );
    for (path, expect) in [
        (format!("series/{series}/samples?end={}", at(1)), format!("time,value\r\n{},97\r\n", at(0))),
        ("uptime-status/web-1?time_range_hours=2".to_owned(), uptime),
    ] {
        for (query, headers) in
            [("&format=csv", ""), ("", "accept: text/csv\r\n"), ("&format=csv", "accept: application/json\r\n")]
        {
            let (head, body) = raw(&service, &token, &format!("{path}{query}"), headers).await;
            assert!(head.contains("content-type: text/csv; charset=utf-8"), "{path}{query}: {head}");
            assert!(head.contains("content-disposition: attachment; filename="), "{head}");
            assert_eq!(String::from_utf8(body).unwrap(), expect, "{path}{query}");
        }
        for (query, headers) in [("&format=json", "accept: text/csv\r\n"), ("", "accept: */*\r\n"), ("", "")] {
            let (head, _) = raw(&service, &token, &format!("{path}{query}"), headers).await;
            assert!(head.contains("content-type: application/json"), "{path}{query} {headers}: {head}");
        }
    }
    let (_, body) = raw(&service, &token, "alerts?format=csv", "").await;
    let text = String::from_utf8(body).unwrap();
    let line = text.lines().nth(1).unwrap();
    assert!(line.contains(",\"'=cmd|' /C calc'!A0, \"\"x\"\"\","), "a formula is text: {line}");
    assert_eq!(text.lines().next().unwrap().split(',').count(), 20);
    assert_eq!(service.get("alerts?format=xml", &token).await.status, 422);
    // The next page is in a header.
    let more = Alert { id: "later".into(), started: NOW.plus(1), ..service.first_alert() };
    service.store.change(|held| held.alerts.insert(more.id.clone(), more));
    let (head, _) = raw(&service, &token, "alerts?format=csv&limit=1", "").await;
    let next = service.get("alerts?limit=1", &token).await.body["next"].as_str().unwrap().to_owned();
    assert!(head.contains(&format!("link: <?after={next}>; rel=\"next\"")), "{head}");
}

#[tokio::test]
async fn long_answers_are_compressed_for_who_takes_it_and_streams_are_not() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    for n in 0..20 {
        service.post("heartbeat", &token, &beat(&format!("web-{n}"))).await;
    }
    let (head, plain) = raw(&service, &token, "agents", "").await;
    assert!(!head.contains("content-encoding") && head.contains("vary: accept-encoding"), "{head}");
    for accepts in ["gzip", "br, gzip;q=0.5", "*"] {
        let (head, body) = raw(&service, &token, "agents", &format!("accept-encoding: {accepts}\r\n")).await;
        assert!(head.contains("content-encoding: gzip") && body.len() < plain.len() / 4, "{accepts}: {head}");
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut text).unwrap();
        assert!(text == plain, "{accepts}");
    }
    for (path, accepts) in [("agents", "gzip;q=0"), ("agents", "br"), ("agents?limit=1", "gzip")] {
        let (head, _) = raw(&service, &token, path, &format!("accept-encoding: {accepts}\r\n")).await;
        assert!(!head.contains("content-encoding"), "{path} {accepts}: {head}");
    }
    // A stream goes out as it comes.
    let mut events = Events::open(&service, "?kind=alert", &token, "accept-encoding: gzip\r\n").await;
    let alert = service.first_alert();
    service.streams.alert_changed(&alert, "acknowledged", NOW);
    assert_eq!(events.named("alert").await["change"], "acknowledged");
}
