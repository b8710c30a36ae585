//! Other programs that work on the same mail: whether they are there, and who runs them.

use std::path::PathBuf;

/// Where a program is, or `None`, and a line that says which test is left out for want of it.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/lib/dovecot", "/usr/libexec/dovecot"].map(PathBuf::from));
    let found = places.map(|dir| dir.join(program)).find(|file| file.is_file());
    if found.is_none() {
        let test = std::thread::current();
        println!("{}: left out, since {program} is not installed", test.name().unwrap_or("a test"));
    }
    found
}

/// Makes this test run as an ordinary user, if root runs it: Dovecot doesn't touch root's mail. Everything that the test
/// makes and starts from here on is that user's. Returns whether the binary can be run by it.
pub fn become_an_ordinary_user() -> bool {
    use rustix::fs::{Gid, Uid};
    use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};
    const NOBODY: u32 = 65534;
    // Only root may do this. Linux keeps it for each thread, and a test runs in one of its own.
    if set_thread_groups(&[]).is_ok() {
        set_thread_gid(Gid::from_raw(NOBODY)).unwrap();
        set_thread_uid(Uid::from_raw(NOBODY)).unwrap();
    }
    let reachable = std::fs::File::open(env!("CARGO_BIN_EXE_mailsync")).is_ok();
    if !reachable {
        println!("left out, since an ordinary user can't run {}", env!("CARGO_BIN_EXE_mailsync"));
    }
    reachable
}
