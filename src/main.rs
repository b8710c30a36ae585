//! The `mailsync` command.

fn main() {}
