//! It looks for variables and arguments.

hostile::detector!("read-env", |_| {
    hostile::got(&[std::env::vars().next().is_some(), std::env::args().next().is_some()])
});
