//! It finds the same row twice.

hostile::liar!("invalid-order", hostile::findings(vec![0, 0], 2, 1.0));
