//! It tries to list, to read and to write files.

hostile::detector!("open-file", |_| {
    hostile::got(&[
        std::fs::read_dir("/").is_ok(),
        std::fs::read("/etc/passwd").is_ok(),
        std::fs::read("passwd").is_ok(),
        std::fs::write("/tmp/hostile", "x").is_ok(),
    ])
});
