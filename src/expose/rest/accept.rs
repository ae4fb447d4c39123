//! `Accept`: which media type a client wants most.

/// How much a client that sent this `Accept` wants a media type, in thousandths. Without the header, and for what matches no
/// range in it, nothing.
pub fn weight(header: &str, media: &str) -> u32 {
    let kind = media.split('/').next().unwrap_or_default();
    let specificity = |range: &str| match range.split_once('/') {
        _ if range == media => 3,
        Some((of, "*")) if of == kind => 2,
        Some(("*", "*")) => 1,
        _ => 0,
    };
    weighted(header)
        .map(|(range, weight)| (specificity(range), weight))
        .filter(|(fits, _)| *fits > 0)
        .max()
        .map_or(0, |one| one.1)
}

/// What a header names, with the weights in thousandths.
fn weighted(header: &str) -> impl Iterator<Item = (&str, u32)> {
    header.split(',').filter_map(|one| {
        let mut parts = one.split(';').map(str::trim);
        let name = parts.next().filter(|name| !name.is_empty())?;
        let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let weight = quality.map_or(Some(1.0), |text| text.parse::<f64>().ok()).unwrap_or(0.0).clamp(0.0, 1.0);
        // Between 0 and 1000.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let thousandths = (weight * 1000.0) as u32;
        Some((name, thousandths))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_range_counts() {
        for (header, json, csv) in [
            ("", 0, 0),
            ("text/csv", 0, 1000),
            ("*/*", 1000, 1000),
            ("text/*;q=0.5, */*;q=0.1", 100, 500),
            ("text/csv;q=0.2, text/*", 0, 200),
            ("application/json, text/csv;q=0.9", 1000, 900),
            ("text/csv;header=present;q=0.7", 0, 700),
            ("text/csv;q=x", 0, 0),
        ] {
            assert_eq!((weight(header, "application/json"), weight(header, "text/csv")), (json, csv), "{header:?}");
        }
    }
}
