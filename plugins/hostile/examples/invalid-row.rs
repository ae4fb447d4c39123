//! It finds something in a row that is not there.

hostile::liar!("invalid-row", hostile::findings(vec![1_000_000], 1, 1.0));
