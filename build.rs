//! Turns the board into const tables.

fn main() {}
