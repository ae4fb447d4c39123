//! What people do by REST, on the whole service: it is the same after the process is killed.

use crate::service::{Client, answer, eventually, export_http, gauge, now, start};
use serde_json::{Value, json};
use std::path::Path;

fn heartbeat() -> Value {
    json!({
        "agent_info": {"agent_id": "web-1", "agent_version": "1.0", "environment": "test"},
        "health_status": "healthy",
        "timestamp": jiff::Timestamp::now().to_string(),
        "cpu_usage_percent": 97,
    })
}

/// The data folder as a kill at this moment leaves it. The log first: what it has lost since, the store has.
fn killed(data: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a folder");
    let mut files: Vec<_> = std::fs::read_dir(data).expect("the folder").map(|entry| entry.expect("a file")).collect();
    files.sort_by_key(std::fs::DirEntry::file_name);
    for file in files.iter().filter(|file| file.file_type().expect("a type").is_file()) {
        let name = file.file_name();
        if !name.to_string_lossy().ends_with(".lock") {
            std::fs::copy(file.path(), copy.path().join(name)).expect("copied");
        }
    }
    copy
}

async fn delete(client: &Client, path: &str) -> (u16, Value) {
    answer(client.http.delete(format!("{}{path}", client.base)).bearer_auth(&client.token)).await
}

/// What is seen of the agent: since when, and its series.
async fn seen(client: &Client) -> Option<(Value, Vec<Value>)> {
    let (status, agent) = client.get("/agents/web-1").await;
    if status == 404 {
        return None;
    }
    assert_eq!(status, 200, "{agent}");
    let (_, list) = client.get("/series?agent=web-1").await;
    let series = list["series"].as_array().expect("a list").iter().map(|one| one["series_id"].clone());
    Some((agent["first_seen"].clone(), series.collect()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retired_agent_is_gone_after_a_kill_and_comes_back_as_new() {
    let data = tempfile::tempdir().expect("a folder");
    let service = start(data.path()).await;
    let (own, other) = (Client::of(&service, None, None), Client::of(&service, Some("other"), None));
    let feed = async || {
        for client in [&own, &other] {
            assert_eq!(client.post("/heartbeat", &heartbeat()).await.0, 201);
        }
        export_http(&service, &gauge("web-1", "load", &[(now(), 1.0)])).await;
    };
    feed().await;
    let many = |found: &Option<(Value, Vec<Value>)>| found.as_ref().is_some_and(|(_, series)| series.len() >= 2);
    let first = eventually(async || seen(&own).await, many).await.expect("it is there");
    let theirs = seen(&other).await.expect("the other tenant's is there");
    let (_, alerts) = own.get("/alerts?agent=web-1").await;
    assert!(!alerts["alerts"].as_array().expect("a list").is_empty());

    let (status, retired) = delete(&own, "/agents/web-1").await;
    assert_eq!((status, &retired["agent_id"], &retired["retired_by"]), (200, &json!("web-1"), &json!("test")));
    let gone = async |own: &Client, other: &Client| {
        assert_eq!(seen(own).await, None);
        assert_eq!(own.get("/agents").await.1["total"], 0);
        for list in ["alerts", "verdicts"] {
            let (_, found) = own.get(&format!("/{list}")).await;
            assert_eq!(found[list], json!([]), "{list}");
        }
        assert_eq!(seen(other).await.as_ref(), Some(&theirs), "another tenant's agent of this name is another one");
        let (_, audit) = own.get("/audit?action=agent").await;
        assert_eq!((&audit["entries"][0]["action"], &audit["entries"][1]), (&json!("agent retired"), &Value::Null));
        assert_eq!(other.get("/audit").await.1["entries"], json!([]));
    };
    gone(&own, &other).await;
    assert_eq!(delete(&own, "/agents/web-1").await.0, 404);
    {
        let copy = killed(data.path());
        let again = start(copy.path()).await;
        gone(&Client::of(&again, None, None), &Client::of(&again, Some("other"), None)).await;
        again.stop().await;
    }

    feed().await;
    let second = eventually(async || seen(&own).await, many).await.expect("it is there again");
    assert!(second.0.as_str() > first.0.as_str(), "{second:?} after {first:?}");
    assert!(second.1.iter().all(|series| !first.1.contains(series)), "{second:?} after {first:?}");
    let copy = killed(data.path());
    let again = start(copy.path()).await;
    assert_eq!(seen(&Client::of(&again, None, None)).await, Some(second));
    again.stop().await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn maintenance_and_alerts_are_as_people_left_them_after_a_kill() {
    let data = tempfile::tempdir().expect("a folder");
    let service = start(data.path()).await;
    let client = Client::of(&service, None, None);
    let at = |minutes: i64| (jiff::Timestamp::now() + jiff::SignedDuration::from_mins(minutes)).to_string();
    let body = json!({"agents": ["later-*"], "start_time": at(-1), "end_time": at(60), "reason": "move"});
    let (status, window) = client.post("/maintenance", &body).await;
    assert_eq!((status, &window["state"]), (201, &json!("active")), "{window}");
    assert_eq!(client.post("/heartbeat", &heartbeat()).await.0, 201);
    let (_, alerts) = client.get("/alerts?state=open&type=cpu_usage").await;
    let alert = alerts["alerts"][0]["alert_id"].as_str().expect("an alert").to_owned();
    for (action, body) in [("silence", json!({"duration_minutes": 5, "comment": "known"})), ("acknowledge", json!({}))]
    {
        assert_eq!(client.post(&format!("/alerts/{alert}/{action}"), &body).await.0, 200, "{action}");
    }
    let copy = killed(data.path());
    let again = start(copy.path()).await;
    let client = Client::of(&again, None, None);
    let (_, found) = client.get("/alerts?state=acknowledged&type=cpu_usage").await;
    let found = &found["alerts"][0];
    assert_eq!((&found["alert_id"], &found["silence_comment"]), (&json!(alert), &json!("known")), "{found}");
    assert_eq!(client.get("/maintenance").await.1["windows"], json!([window]));
    // An agent that is seen for the first time is covered.
    let mut beat = heartbeat();
    beat["agent_info"]["agent_id"] = json!("later-1");
    assert_eq!(client.post("/heartbeat", &beat).await.0, 201);
    let liveness = async || client.get("/agents/later-1").await.1["liveness"].clone();
    eventually(liveness, |liveness| *liveness == "maintenance").await;
    let (_, audit) = client.get("/audit").await;
    let said: Vec<&Value> = audit["entries"].as_array().expect("a list").iter().map(|one| &one["action"]).collect();
    assert_eq!(said, ["alert acknowledged", "alert silenced", "maintenance planned"]);
    again.stop().await;
    service.stop().await;
}
