//! Its columns have different lengths.

hostile::liar!("lie-lengths", hostile::findings(vec![0, 1], 1, 1.0));
