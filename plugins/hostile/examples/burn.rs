//! It counts to many millions at each batch, and then answers.

hostile::detector!("burn", |row| {
    let mut sum = 0_u64;
    for step in 0..60_000_000_u64 {
        sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(step));
    }
    hostile::got(&[sum != 1 && row.value.is_finite()])
});
