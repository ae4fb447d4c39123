//! The status page as HTML: no script, nothing from elsewhere.

use super::compute::{Component, Day, Incident, Public, Shown};
use crate::expose::page::assets::Assets;
use crate::expose::rest::time::Time;
use std::fmt::Write as _;

/// Text as it may stand in HTML and SVG, attributes included.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// A percentage that never rounds an outage away: 99.999 is not 100.
#[must_use]
pub fn percent(percent: f64) -> String {
    if percent >= 100.0 { "100 %".to_owned() } else { format!("{:.2} %", percent.min(99.99)) }
}

/// The class whose shape and colour stand for a state.
fn class(state: Public) -> &'static str {
    match state {
        Public::Works => "healthy",
        Public::Impaired => "degraded",
        Public::Down => "critical",
        Public::Planned => "maintenance",
        Public::Unknown => "unknown",
    }
}

/// The whole page.
#[must_use]
pub fn page(shown: &Shown) -> String {
    let folder = format!("assets/{}", Assets::get().hash);
    let title = escaped(&shown.title);
    let (worst, sentence) = summary(shown);
    let mut groups: Vec<&str> = Vec::new();
    for component in &shown.components {
        if !groups.contains(&component.group.as_str()) {
            groups.push(&component.group);
        }
    }
    let mut body = String::new();
    for (at, group) in groups.iter().enumerate() {
        let heading = if group.is_empty() { "Components" } else { group };
        // Writing to a string cannot fail.
        let _ = write!(
            body,
            r#"<section class="card" aria-labelledby="g{at}"><header><h2 id="g{at}">{}</h2></header>"#,
            escaped(heading)
        );
        for component in shown.components.iter().filter(|component| component.group == **group) {
            body.push_str(&line(component, shown.days));
        }
        body.push_str("</section>");
    }
    format!(
        r##"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{sentence} - {title}</title>
<link rel="icon" href="{folder}/icon.svg">
<link rel="stylesheet" href="{folder}/tokens.css">
<link rel="stylesheet" href="{folder}/page.css">
</head>
<body class="open">
<a class="skip" href="#main">Skip to the content</a>
<header class="bar"><span class="brand">{title}</span><div class="side"><span>Updated {updated}</span><a href="status">Load anew</a></div></header>
<main id="main" tabindex="-1">
<h1 class="vh">{title}</h1>
<div class="public"><p class="verdict {worst}"><i class="s big" aria-hidden="true"></i><b class="lg">{sentence}</b></p>
<div class="stack">{incidents}{body}</div>
<p class="note foot"><span>Times are UTC. Low bars are good days, tall ones are days with trouble.</span></p></div>
</main>
<svg width="0" height="0" aria-hidden="true" class="vh"><defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect class="hb" width="6" height="6"/><rect class="hl" width="2.5" height="6"/></pattern></defs></svg>
</body>
</html>
"##,
        worst = class(worst),
        updated = time(shown.time),
        incidents = incidents(&shown.incidents),
    )
}

fn summary(shown: &Shown) -> (Public, String) {
    let of = |state: Public| shown.components.iter().filter(move |component| component.state == state);
    let worst = shown.components.iter().map(|component| component.state).max().unwrap_or(Public::Unknown);
    let named = |state: Public, verb: &str, verbs: &str| match of(state).count() {
        1 => of(state).next().map(|one| format!("{} {verb}", escaped(&one.name))).unwrap_or_default(),
        many => format!("{many} components {verbs}"),
    };
    let sentence = match worst {
        Public::Works => "Everything works".to_owned(),
        Public::Planned => named(worst, "is being worked on, as planned", "are being worked on, as planned"),
        Public::Impaired => named(worst, "is impaired", "are impaired"),
        Public::Down => named(worst, "is down", "are down"),
        Public::Unknown => "Nothing is known yet".to_owned(),
    };
    (worst, sentence)
}

fn line(component: &Component, days: u32) -> String {
    let name = escaped(&component.name);
    let up = component.uptime_percentage.map_or_else(|| "\u{2013}".to_owned(), |up| format!("{} up", percent(up)));
    let bad: Vec<&Day> = component.daily.iter().filter(|day| day.worst >= Public::Planned).collect();
    let mut rows = String::new();
    for day in bad.iter().rev() {
        let minutes = (day.down_seconds + day.impaired_seconds) / 60.0;
        let _ = write!(
            rows,
            r#"<tr><td>{}</td><td>{}</td><td class="n">{}</td></tr>"#,
            date(day.start),
            word(day.worst),
            if minutes > 0.0 { format!("{minutes:.0} min") } else { "\u{2013}".to_owned() }
        );
    }
    let table = if rows.is_empty() {
        String::new()
    } else {
        format!(
            r#"<details class="data"><summary>Days<span class="vh">: {name}, days that were not all well</span></summary><div class="scroll" tabindex="0" role="region" aria-label="{name}: days that were not all well"><table><thead><tr><th scope="col">Day</th><th scope="col">What</th><th scope="col" class="n">For</th></tr></thead><tbody>{rows}</tbody></table></div></details>"#
        )
    };
    format!(
        r#"<div class="comp"><div class="top"><h3>{name}</h3>{state}<span>{up}</span></div>{bars}<p class="ends2"><span>{days} days ago</span><span>today</span></p>{table}</div>"#,
        state = word(component.state),
        bars = bars(component, &name, &up),
    )
}

/// One bar a day: the better, the lower.
fn bars(component: &Component, name: &str, up: &str) -> String {
    let mut paths = String::new();
    for (state, top, height) in [
        (Public::Works, 24, 8),
        (Public::Unknown, 30, 2),
        (Public::Planned, 16, 16),
        (Public::Impaired, 16, 16),
        (Public::Down, 7, 25),
    ] {
        let mut path = String::new();
        for (at, _) in component.daily.iter().enumerate().filter(|(_, day)| day.worst == state) {
            let _ = write!(path, "M{} {top}h7.5v{height}h-7.5z", at * 10);
        }
        if !path.is_empty() {
            let _ = write!(paths, r#"<path class="{}" d="{path}"/>"#, class(state));
        }
    }
    let bad = component.daily.iter().filter(|day| day.worst >= Public::Impaired).count();
    format!(
        r#"<svg class="days" viewBox="0 0 {} 32" preserveAspectRatio="none" role="img" aria-label="{name}, {} days: {up}, {bad} days with trouble">{paths}</svg>"#,
        component.daily.len() * 10 - 2,
        component.daily.len(),
    )
}

fn incidents(all: &[Incident]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let mut out = String::new();
    for (heading, now) in [("Now", true), ("Last 14 days", false)] {
        let of = all.iter().filter(|incident| incident.end.is_none() == now);
        let mut list = String::new();
        for incident in of {
            let until = incident.end.map_or_else(|| "now".to_owned(), time);
            let _ = write!(
                list,
                r#"<div class="inc"><h3>{} {}</h3><p class="q">{} to {until}</p></div>"#,
                word(incident.state),
                escaped(&incident.component),
                time(incident.start)
            );
        }
        if !list.is_empty() {
            let id = if now { "now" } else { "past" };
            let _ = write!(
                out,
                r#"<section class="card" aria-labelledby="{id}"><header><h2 id="{id}">{heading}</h2></header>{list}</section>"#
            );
        }
    }
    out
}

fn word(state: Public) -> String {
    format!(r#"<span class="st {}"><i class="s" aria-hidden="true"></i>{}</span>"#, class(state), state.word())
}

fn time(time: Time) -> String {
    let text = time.to_string();
    let shown = text.get(..16).unwrap_or_default().replace('T', " ");
    format!(r#"<time datetime="{text}">{shown} UTC</time>"#)
}

fn date(time: Time) -> String {
    time.to_string().get(..10).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use vitals_core::ids::UnixNanos;

    #[test]
    fn an_outage_is_never_rounded_away() {
        assert_eq!(percent(100.0), "100 %");
        assert_eq!(percent(99.999), "99.99 %");
        assert_eq!(percent(97.316), "97.32 %");
    }

    #[test]
    fn what_is_configured_is_text() {
        let component = Component {
            name: "<img src=x>".to_owned(),
            group: "</section>".to_owned(),
            state: Public::Works,
            uptime_percentage: None,
            daily: vec![Day {
                start: Time(UnixNanos(0)),
                worst: Public::Down,
                down_seconds: 90.0,
                impaired_seconds: 0.0,
            }],
        };
        let incident =
            Incident { component: component.name.clone(), state: Public::Down, start: Time(UnixNanos(0)), end: None };
        let (title, time) = ("<b>".to_owned(), Time(UnixNanos(0)));
        let page = page(&Shown { title, time, days: 1, components: vec![component], incidents: vec![incident] });
        assert!(!page.contains("<img") && !page.contains("</section></h2>") && !page.contains("<b>:"), "{page}");
        assert!(page.contains("&lt;img src=x&gt;") && page.contains("&lt;/section&gt;"));
        assert!(page.contains("Everything works") && page.contains("1970-01-01"));
    }
}
