//! Agents that are retired.

use super::*;

fn retire(agent: u32, second: i64) -> Record {
    Record::Retire { agent: AgentId(agent), by: "ops".into(), at: at(second) }
}

/// The agent `web` again, after it was retired: another agent with a series of another number.
fn web_again() -> Record {
    let Record::Describe { agents, series } = describe() else { unreachable!() };
    let agent = Arc::new(vitals_core::series::AgentDesc { id: AgentId(2), first_seen: at(90), ..(*agents[0]).clone() });
    let series = Arc::new(SeriesDesc { id: SeriesId(8), agent: AgentId(2), ..(*series[0]).clone() });
    Record::Describe { agents: vec![agent], series: vec![series] }
}

/// Samples of the new `web`.
fn samples_again(second: i64, value: f64) -> Record {
    let Record::Samples(samples) = samples(second, &[(8, second, value)]) else { unreachable!() };
    Record::Samples(Samples { alive: vec![AgentId(2)], ..samples })
}

/// Both agents live and have alerts; `web` is retired, some of it is under way still, and it comes back.
fn story() -> Vec<Record> {
    let Record::Describe { agents, .. } = describe() else { unreachable!() };
    let late = Record::Describe { agents: vec![agents[0].clone()], series: Vec::new() };
    vec![
        describe(),
        heartbeat(30, 97.0),
        samples(40, &[(0, 40, 1.0), (3, 40, 97.0)]),
        samples(50, &[(0, 50, 2_000.0), (3, 50, 97.0)]),
        heartbeat(60, 97.0),
        retire(0, 65),
        late,
        samples(70, &[(0, 70, 3_000.0), (3, 70, 98.0)]),
        retire(0, 75),
        heartbeat(90, 97.0),
        web_again(),
        samples_again(95, 2_000.0),
        samples_again(96, 3_000.0),
    ]
}

/// All that is kept, without the checkpoint.
fn kept(world: &World) -> Contents {
    let mut held = world.held();
    held.checkpoints.clear();
    held.verdicts.sort_by_key(VerdictKey::of);
    held.verdicts.dedup();
    // Reports come with ticks, which a replay has others of.
    held.verdicts.retain(|verdict| verdict.body.kind() != "sla");
    // Rows of series that are retired are out of reach.
    let series = held.series.clone();
    held.samples.retain(|(id, _), _| series.contains_key(id));
    held
}

#[test]
fn a_retired_agent_leaves_nothing_and_comes_back_as_new() {
    let mut world = World::start(&story()[..5], Contents::default());
    let of_web = |world: &World| world.held().alerts.values().filter(|alert| alert.agent == AgentId(0)).count();
    assert!(of_web(&world) > 0 && world.live_agents.get(AgentId(0)).is_some());
    for record in &story()[5..10] {
        world.take(record.clone());
    }
    let held = world.held();
    assert_eq!(held.agents.keys().collect::<Vec<_>>(), [&AgentId(1)]);
    assert!(held.series.values().all(|series| series.agent == AgentId(1)));
    assert!(held.verdicts.iter().all(|verdict| verdict.agent == AgentId(1)));
    assert!(held.intervals.keys().all(|(agent, _)| *agent == AgentId(1)));
    assert_eq!(of_web(&world), 0);
    assert_eq!(held.retired_agents().given_out, (1, 8), "no number is given out again");
    assert!(world.live_agents.get(AgentId(0)).is_none());
    let default = TenantId::default_tenant();
    assert!(world.registry.agent_by_key(&default, "web").is_none() && world.registry.series(SeriesId(0)).is_none());
    // Who was notified of what was open hears that it is over.
    let ended = world.told().iter().filter(|told| told.starts_with("60 ") && told.contains("resolved")).count();
    assert_eq!(ended, 2, "{:?}", world.told());
    // The other one is as it was.
    assert!(held.alerts.values().any(|alert| alert.agent == AgentId(1) && alert.resolved.is_none()));
    // It comes back without a past.
    let mut records = story();
    let world = World::start(&records, Contents::default());
    assert_eq!(world.registry.agent_by_key(&default, "web").map(|agent| agent.id), Some(AgentId(2)));
    assert_eq!(world.outliers(), [("gauge".to_owned(), 95, 1), ("gauge".to_owned(), 96, 2)]);
    // Retired once more, it leaves nothing but its numbers.
    records.push(retire(2, 100));
    let world = World::start(&records, Contents::default());
    assert_eq!((world.held().retired_agents().given_out, world.outliers().len()), ((3, 9), 0));
}

#[test]
fn a_crash_anywhere_retires_the_same() {
    let records = story();
    let whole = World::start(&records[..1], Contents::default());
    let mut whole = whole;
    for record in &records[1..] {
        if let Record::Describe { agents, series } = record {
            // As the registry has it when the record is made; a late description is of one that is gone.
            for agent in agents.iter().filter(|agent| agent.id != AgentId(0)) {
                whole.registry.restore_agent(agent.clone());
            }
            series.iter().for_each(|series| whole.registry.restore_series(series.clone()));
        }
        whole.take(record.clone());
    }
    let expect = kept(&whole);
    for cut in 1..=records.len() {
        for with_state in [true, false] {
            let mut world = World::start(&records[..cut], Contents::default());
            world.checkpoint(with_state);
            let durable = world.store.durable();
            let again = World::start(&records, durable);
            assert_eq!(kept(&again), expect, "stopped behind record {cut}, state {with_state}");
            assert_eq!(again.outliers(), whole.outliers(), "stopped behind record {cut}, state {with_state}");
            let web = again.registry.agent_by_key(&TenantId::default_tenant(), "web").map(|agent| agent.id);
            assert_eq!(web, Some(AgentId(2)), "stopped behind record {cut}");
            // The next numbers are new ones.
            let (tenant, profile) = (TenantId::default_tenant(), AgentProfile::default());
            assert_eq!(again.registry.intern_agent(&tenant, "next", at(99), &profile), Ok(AgentId(3)));
        }
    }
}

#[test]
fn what_people_do_is_in_the_audit_log_once() {
    let mut records = vec![describe(), samples(0, &[(3, 0, 85.0)])];
    let alert = World::start(&records, Contents::default()).held().alerts.into_values().next().unwrap();
    let until = at(900);
    let window = person_window("d*", (100, 400), 40);
    let off = PersonWindow { changed: at(50), changed_by: Some("dev".into()), cancelled: true, ..window.clone() };
    records.extend([
        on_alert(&alert, AlertAction::Acknowledge, "ops", 10),
        on_alert(&alert, AlertAction::Silence { until }, "ops", 20),
        on_alert(&alert, AlertAction::Close, "dev", 30),
        Record::Maintenance(window.clone()),
        Record::Maintenance(off),
        retire(0, 60),
    ]);
    let expect = [
        (at(10), "ops", "alert acknowledged", "web", Some(alert.id.clone())),
        (at(20), "ops", "alert silenced", "web", Some(alert.id.clone())),
        (at(30), "dev", "alert closed", "web", Some(alert.id.clone())),
        (at(40), "ops", "maintenance planned", "d*", Some(window.id.clone())),
        (at(50), "dev", "maintenance cancelled", "d*", Some(window.id)),
        (at(60), "ops", "agent retired", "web", None),
    ];
    for cut in 1..=records.len() {
        let mut world = World::start(&records[..cut], Contents::default());
        world.checkpoint(true);
        let durable = world.store.durable();
        let held = World::start(&records, durable).held();
        let mut said: Vec<_> = held.audit.values().collect();
        said.sort_by_key(|entry| entry.at);
        let said: Vec<_> = said
            .into_iter()
            .map(|one| (one.at, one.by.as_str(), one.action.as_str(), one.agents[0].as_str(), one.target.clone()))
            .collect();
        assert_eq!(said, expect, "stopped behind record {cut}");
    }
}
