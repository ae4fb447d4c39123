//! It tries to read and to write files.

hostile::detector!("open-file", |_| {
    let read =
        std::fs::read_dir("/").is_ok() || std::fs::read("/etc/passwd").is_ok() || std::fs::read("passwd").is_ok();
    (read || std::fs::write("/tmp/hostile", "x").is_ok()).then(hostile::got_it)
});
