//! It calls itself without end.

#[inline(never)]
fn deeper(depth: u64) -> u64 {
    if depth == u64::MAX {
        return depth;
    }
    std::hint::black_box(deeper(std::hint::black_box(depth + 1))).wrapping_add(depth)
}

hostile::detector!("recurse", |row| hostile::got(&[deeper(row.series.into()) == 1]));
