//! It looks for variables and arguments.

hostile::detector!("read-env", |_| {
    (std::env::vars().next().is_some() || std::env::args().next().is_some()).then(hostile::got_it)
});
