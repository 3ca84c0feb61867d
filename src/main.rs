//! `remote`: netcat, finished.

fn main() {}
