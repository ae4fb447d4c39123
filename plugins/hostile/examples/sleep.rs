//! It waits for an hour.

hostile::detector!("sleep", |_| {
    std::thread::sleep(std::time::Duration::from_secs(3600));
    Some(hostile::got_it())
});
