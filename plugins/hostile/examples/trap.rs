//! It panics.

hostile::detector!("trap", |_| panic!("on purpose"));
