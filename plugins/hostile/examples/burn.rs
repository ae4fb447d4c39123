//! It counts to many millions at each row of value 1, and then answers.

hostile::detector!("burn", |row| {
    let steps = if row.value == 1.0 { 60_000_000_u64 } else { 0 };
    let mut sum = 0_u64;
    for step in 0..steps {
        sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(step));
    }
    hostile::got(&[sum != 1])
});
