//! It answers a batch with more than any batch can need.

hostile::liar!("huge-output", hostile::findings((0..4_000_000).collect(), 4_000_000, 1.0));
