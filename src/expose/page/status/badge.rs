//! Pictures of a state or an uptime, for other pages to show.

use super::compute::{Component, Public};
use super::html::escaped;

/// About how wide a character is in 11 px Verdana.
const CHARACTER: usize = 7;
/// What stands around a text.
const AROUND: usize = 16;

/// The ground of the right half, dark enough for white text.
fn colour(state: Public) -> &'static str {
    match state {
        Public::Works => "#22694a",
        Public::Impaired => "#865104",
        Public::Down => "#b4242b",
        Public::Planned => "#26599b",
        Public::Unknown => "#596269",
    }
}

/// A shape for each state, in a box of 16.
fn shape(state: Public) -> &'static str {
    match state {
        Public::Works => "M3.5 8a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0Z",
        Public::Impaired => "M8 1.5 15.2 14.2H.8Z",
        Public::Down => "M8 .2 15.8 8 8 15.8.2 8ZM7 3.8h2v5.2H7ZM7 10.4h2v2H7Z",
        Public::Planned => "M1.5 1.5h13v13h-13ZM5.2 4.5h2v7h-2ZM8.8 4.5h2v7h-2Z",
        Public::Unknown => {
            "M1 8a1.7 1.7 0 1 0 3.4 0a1.7 1.7 0 1 0-3.4 0ZM6.3 8a1.7 1.7 0 1 0 3.4 0a1.7 1.7 0 1 0-3.4 0Z"
        }
    }
}

/// What the component is now.
#[must_use]
pub fn state(component: &Component) -> String {
    drawn(&component.name, component.state.word(), component.state, true)
}

/// How much of the time it was not down.
#[must_use]
pub fn uptime(component: &Component, days: u32) -> String {
    let (text, state) = match component.uptime_percentage {
        None => ("unknown".to_owned(), Public::Unknown),
        Some(percent) => {
            (super::html::percent(percent), if percent >= 99.0 { Public::Works } else { Public::Impaired })
        }
    };
    drawn(&format!("uptime {days} d"), &text, state, false)
}

fn drawn(left: &str, right: &str, state: Public, with_shape: bool) -> String {
    let width = |text: &str| text.chars().count() * CHARACTER;
    let (a, b) = (width(left), width(right));
    let mark = if with_shape { 16 } else { 0 };
    let split = a + AROUND;
    let all = split + b + AROUND + mark;
    let label = format!("{}: {}", escaped(left), escaped(right));
    let shape = if with_shape {
        format!(r#"<path transform="translate({} 4) scale(.75)" fill-rule="evenodd" d="{}"/>"#, split + 6, shape(state))
    } else {
        String::new()
    };
    let text = |x: usize, width: usize, text: &str| {
        format!(r#"<text x="{x}" y="14" textLength="{width}" lengthAdjust="spacingAndGlyphs">{}</text>"#, escaped(text))
    };
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{all}" height="20" viewBox="0 0 {all} 20" role="img" aria-label="{label}"><title>{label}</title><rect width="{all}" height="20" rx="4" fill="#23292e"/><path d="M{split} 0h{w}a4 4 0 0 1 4 4v12a4 4 0 0 1-4 4H{split}z" fill="{colour}"/><g fill="#fff" font-family="Verdana,DejaVu Sans,Geneva,sans-serif" font-size="11">{left}{shape}{right}</g></svg>"##,
        w = all - split - 4,
        colour = colour(state),
        left = text(8, a, left),
        right = text(split + 8 + mark, b, right),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_as_text() {
        let component = Component {
            name: "<script>&\"".to_owned(),
            group: String::new(),
            state: Public::Impaired,
            uptime_percentage: Some(99.916),
            daily: Vec::new(),
        };
        let picture = state(&component);
        assert!(!picture.contains("<script>") && picture.contains("&lt;script&gt;&amp;&quot;: impaired"), "{picture}");
        let picture = uptime(&component, 90);
        assert!(picture.contains("uptime 90 d: 99.92 %"), "{picture}");
        let unknown = uptime(&Component { uptime_percentage: None, ..component }, 90);
        assert!(unknown.contains("unknown") && !unknown.contains('%'), "{unknown}");
    }
}
