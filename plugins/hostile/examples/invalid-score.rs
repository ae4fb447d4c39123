//! Its score is no number.

hostile::liar!("invalid-score", hostile::findings(vec![0], 1, f64::NAN));
