//! It panics at rows of odd values, and finds all others.

hostile::detector!("trap-sometimes", |row| {
    assert!(row.value % 2.0 == 0.0, "an odd value");
    hostile::got(&[true])
});
