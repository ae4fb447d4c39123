//! It prints without end.

hostile::detector!("flood", |_| loop {
    println!("all work and no play makes a dull plugin");
});
