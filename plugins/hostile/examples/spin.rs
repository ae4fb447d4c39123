//! It never comes back.

hostile::detector!("spin", |_| loop {
    std::hint::spin_loop();
});
