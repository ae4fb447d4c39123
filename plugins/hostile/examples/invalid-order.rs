//! It finds the same row twice.

hostile::liar!("lie-order", hostile::findings(vec![0, 0], 2, 1.0));
