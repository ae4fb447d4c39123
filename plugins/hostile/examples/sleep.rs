//! It waits for as many seconds as a row's value says.

hostile::detector!("sleep", |row| {
    std::thread::sleep(std::time::Duration::from_secs_f64(row.value));
    hostile::got(&[true])
});
