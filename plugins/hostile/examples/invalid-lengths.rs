//! Its columns have different lengths.

hostile::liar!("invalid-lengths", hostile::findings(vec![0, 1], 1, 1.0));
