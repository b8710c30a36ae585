//! Detection: which layout a mail root has.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::keywords::FILE;
use super::{Ignored, Layout, LayoutKind, NameEncoding, utf7};
use crate::disk::{is_absent, leads_nowhere};
use crate::error::{Error, Result, Scope};
use crate::meter::{Gauge, Silent};
use crate::text::plural;

/// With this begin the names of what mailsync keeps in a mail root for itself.
pub const OWN: &str = ".mailsync";

/// The findings about a mail root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detected {
    /// The layout, as far as it can be told.
    pub layout: Layout,
    /// How many Maildirs there are.
    pub folders: usize,
    /// Whether the mail root is a Maildir itself.
    pub at_root: bool,
    /// How many Maildirs below it have names as subfolders have them under `maildir++`.
    pub dotted: u64,
    /// How many others there are.
    pub plain: u64,
    /// A directory in the mail root that is a Maildir with such subfolders, relative to the mail root.
    pub nested: Option<PathBuf>,
    /// The directories below the mail root in which there may be folders, relative to it.
    pub dirs: Vec<PathBuf>,
    /// How many Maildirs the layout leaves out.
    pub left_out: usize,
    /// Whether the mail root holds nothing at all, but for what mailsync itself has put there.
    pub empty: bool,
    /// Remarks that the user should read.
    pub notes: Vec<String>,
}

/// A program that serves the mail to others, and has its own way of laying it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// Dovecot: under both layouts the mail root itself is the INBOX, and names are written in modified UTF-7.
    Dovecot,
}

/// Looks at the directories below a mail root, without reading a folder's files. It leaves out directories that this
/// user can't read, as the scan that follows reports them, and those that are ignored. With `wanted` the kind of layout
/// is not guessed; where nothing tells, it is as `server` would lay it out. Each directory is a step of the `progress`.
///
/// # Errors
/// The disk or the machine fails: then what was not seen tells nothing.
pub fn detect_layout(
    root: &Path,
    wanted: Option<LayoutKind>,
    server: Option<Server>,
    ignored: &Ignored,
    progress: &dyn Gauge,
) -> Result<Detected> {
    let at_root = is_maildir(root)?;
    let dirs = directories_below(root, ignored, progress)?;
    let (mut dotted, mut plain) = (Vec::new(), Vec::new());
    for dir in &dirs {
        if !is_maildir(&root.join(dir))? {
            continue;
        }
        let dir = dir.clone();
        let first = dir.iter().next().unwrap_or_default();
        if dir.iter().count() == 1 && first.as_bytes().starts_with(b".") { dotted.push(dir) } else { plain.push(dir) }
    }
    let kind = wanted.unwrap_or(if plain.len() > dotted.len() { LayoutKind::Fs } else { LayoutKind::MaildirPlusPlus });
    let counts = [&dotted, &plain].map(|dirs| dirs.len() as u64);
    let nested = nested(&plain);
    let mut notes = Vec::new();
    let mut left_out = 0;
    let seen = match kind {
        LayoutKind::MaildirPlusPlus => {
            left_out = plain.len();
            if let Some(one) = plain.first() {
                notes.push(format!(
                    "the layout maildir++ leaves out {} below the mail root, such as {}; --layout fs takes in all",
                    plural(plain.len() as u64, "Maildir"),
                    one.display()
                ));
            }
            dotted
        }
        LayoutKind::Fs => [dotted, plain].concat(),
    };
    let by_default = if kind == LayoutKind::MaildirPlusPlus || server == Some(Server::Dovecot) || is_dovecots(root)? {
        NameEncoding::ModifiedUtf7
    } else {
        NameEncoding::Utf8
    };
    let encoding = encoding(&seen).unwrap_or(by_default);
    if encoding == NameEncoding::ModifiedUtf7
        && let Some(one) = seen.iter().find(|dir| !is_utf7(dir))
    {
        notes.push(format!(
            "folder names are taken as modified UTF-7, and {} is not; if they are UTF-8, say so in config.toml before the \
             first export",
            one.display()
        ));
    }
    let for_server = server == Some(Server::Dovecot) && !seen.iter().any(|dir| dir == Path::new("INBOX"));
    Ok(Detected {
        layout: Layout { kind, encoding, inbox_at_root: at_root || kind == LayoutKind::MaildirPlusPlus || for_server },
        folders: seen.len() + usize::from(at_root),
        left_out,
        at_root,
        dotted: counts[0],
        plain: counts[1],
        nested,
        dirs,
        empty: names_in(root)?
            .is_some_and(|names| names.iter().all(|name| name.as_bytes().starts_with(OWN.as_bytes()))),
        notes,
    })
}

/// The names in a directory. `None` if it may not be read.
fn names_in(dir: &Path) -> Result<Option<Vec<OsString>>> {
    let names = std::fs::read_dir(dir).and_then(|items| items.map(|item| Ok(item?.file_name())).collect());
    passing_over_places(dir, names)
}

/// Leaves out what is hindered at this place alone.
fn passing_over_places<T>(path: &Path, result: io::Result<T>) -> Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if Scope::of(&error) == Scope::Place => Ok(None),
        Err(error) => Err(Error::io("looking at", path, error).again_after("see why")),
    }
}

/// How directory names are written: the way most of the telling names are. If no name tells, modified UTF-7 is assumed
/// where Dovecot or Courier is at work, since that is their default, and UTF-8 elsewhere, since mail readers write it.
fn encoding(dirs: &[PathBuf]) -> Option<NameEncoding> {
    let shifted = dirs.iter().filter(|dir| dir.as_os_str().as_bytes().contains(&b'&') && is_utf7(dir)).count();
    let raw = dirs.iter().filter(|dir| !dir.as_os_str().as_bytes().is_ascii()).count();
    match shifted.cmp(&raw) {
        std::cmp::Ordering::Greater => Some(NameEncoding::ModifiedUtf7),
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Less => Some(NameEncoding::Utf8),
    }
}

/// Whether Dovecot keeps files of its own in the mail root, such as `dovecot-uidvalidity` and `dovecot.list.index.log`.
fn is_dovecots(root: &Path) -> Result<bool> {
    Ok(names_in(root)?.unwrap_or_default().iter().any(|name| {
        let name = name.as_bytes();
        // One of them mailsync writes, too.
        (name.starts_with(b"dovecot-") || name.starts_with(b"dovecot.")) && name != FILE.as_bytes()
    }))
}

fn is_utf7(dir: &Path) -> bool {
    dir.iter().flat_map(|part| part.as_bytes().split(|&c| c == b'.')).all(|part| utf7::decode(part).is_some())
}

/// The directories below the mail root in which there may be folders, relative to it, sorted.
fn directories_below(root: &Path, ignored: &Ignored, progress: &dyn Gauge) -> Result<Vec<PathBuf>> {
    let mut below = Vec::new();
    for dir in directories(root, ignored, progress) {
        let (path, dir) = match dir {
            Ok(dir) => (dir.clone(), Ok(dir)),
            Err((path, error)) => (path, Err(error)),
        };
        if let Some(dir) = passing_over_places(&path, dir)? {
            below.extend(dir.strip_prefix(root).map(Path::to_owned));
        }
    }
    Ok(below)
}

/// The first of these Maildirs that has one with a dot in it.
fn nested(plain: &[PathBuf]) -> Option<PathBuf> {
    let dotted = |dir: &&PathBuf| dir.file_name().is_some_and(|name| name.as_bytes().starts_with(b"."));
    let above = plain.iter().filter(dotted).filter_map(|dir| dir.parent());
    above.filter(|dir| plain.iter().any(|other| other == dir)).min().map(Path::to_owned)
}

fn is_maildir(dir: &Path) -> Result<bool> {
    for sub in ["cur", "new"] {
        let path = dir.join(sub);
        if passing_over_places(&path, std::fs::metadata(&path))?.is_some_and(|meta| meta.is_dir()) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_sub(name: &OsStr) -> bool {
    name == "cur" || name == "new" || name == "tmp"
}

/// All directories below the mail root except those in which messages lie and those that are ignored; and what can't be
/// looked at, with the reason. Sorted.
fn directories(
    root: &Path,
    ignored: &Ignored,
    progress: &dyn Gauge,
) -> Vec<std::result::Result<PathBuf, (PathBuf, io::Error)>> {
    // A walk that sorts reads every directory before it is asked whether to, and all names of messages with that.
    let walk = WalkDir::new(root).min_depth(1).follow_links(true);
    let walk = walk.into_iter().filter_entry(move |item| {
        let is_ignored = || item.path().strip_prefix(root).is_ok_and(|dir| ignored.has(dir, None));
        item.file_type().is_dir() && !is_sub(item.file_name()) && !is_ignored()
    });
    let mut found: Vec<_> = walk
        .inspect(|_| progress.advance(1))
        .map(|item| item.map(walkdir::DirEntry::into_path).map_err(|error| unseen(root, error)))
        .collect();
    found.sort_unstable_by(|one, other| path_of(one).cmp(path_of(other)));
    found
}

fn path_of(found: &std::result::Result<PathBuf, (PathBuf, io::Error)>) -> &Path {
    match found {
        Ok(path) | Err((path, _)) => path,
    }
}

/// The path that can't be looked at, and why. A link in a circle is one of a place.
fn unseen(root: &Path, error: walkdir::Error) -> (PathBuf, io::Error) {
    let path = error.path().unwrap_or(root).to_owned();
    (path, error.into_io_error().unwrap_or_else(|| rustix::io::Errno::LOOP.into()))
}

/// The `tmp/` of the mail root and of every directory below it; and what can't be looked at, with the reason.
pub fn tmp_dirs(
    root: &Path,
    ignored: &Ignored,
) -> impl Iterator<Item = std::result::Result<PathBuf, (PathBuf, io::Error)>> {
    std::iter::once(Ok(root.to_owned())).chain(directories(root, ignored, &Silent)).filter_map(|dir| {
        let tmp = match dir {
            Ok(dir) => dir.join("tmp"),
            Err(unseen) => return Some(Err(unseen)),
        };
        match std::fs::metadata(&tmp) {
            Ok(meta) => meta.is_dir().then_some(Ok(tmp)),
            Err(error) if is_absent(&error) || leads_nowhere(&error) => None,
            Err(error) => Some(Err((tmp, error))),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn root(dirs: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for dir in dirs {
            fs::create_dir_all(root.path().join(dir)).unwrap();
        }
        root
    }

    fn detect(root: &Path, wanted: Option<LayoutKind>) -> Detected {
        detect_layout(root, wanted, None, &Ignored::usual(), &crate::meter::Silent).unwrap()
    }

    fn detected(dirs: &[&str]) -> (LayoutKind, NameEncoding, bool, usize) {
        let found = detect(root(dirs).path(), None);
        (found.layout.kind, found.layout.encoding, found.layout.inbox_at_root, found.folders)
    }

    #[test]
    fn the_layout_is_that_of_most_folders() {
        use LayoutKind::{Fs, MaildirPlusPlus};
        use NameEncoding::{ModifiedUtf7, Utf8};
        assert_eq!(detected(&["cur", "new", ".Sent/cur"]), (MaildirPlusPlus, ModifiedUtf7, true, 2));
        assert_eq!(detected(&["cur"]), (MaildirPlusPlus, ModifiedUtf7, true, 1));
        assert_eq!(detected(&[".Entwürfe/new"]), (MaildirPlusPlus, Utf8, true, 1));
        assert_eq!(detected(&["INBOX/cur", "Archive/2019/new"]), (Fs, Utf8, false, 2));
        assert_eq!(detected(&["INBOX/cur", "Entw&APw-rfe/cur", "Tom & Jerry/cur"]), (Fs, ModifiedUtf7, false, 3));
        assert_eq!(detected(&["cur", "Sent/cur"]), (Fs, Utf8, true, 2));
        assert_eq!(detected(&["a/cur", "b/cur", ".mbsync/cur"]), (Fs, Utf8, false, 3));
    }

    #[test]
    fn where_dovecot_is_at_work_names_are_written_as_dovecot_does_unless_they_tell() {
        let at_work = |dirs: &[&str]| {
            let root = root(dirs);
            fs::write(root.path().join("dovecot-uidvalidity"), "").unwrap();
            detect(root.path(), Some(LayoutKind::Fs)).layout.encoding
        };
        assert_eq!(at_work(&["cur", "Sent/cur"]), NameEncoding::ModifiedUtf7);
        assert_eq!(at_work(&["cur", "Entwürfe/cur"]), NameEncoding::Utf8);
        // The names of keywords may be mailsync's.
        let root = root(&["cur", "Sent/cur"]);
        fs::write(root.path().join("dovecot-keywords"), "0 work\n").unwrap();
        assert_eq!(detect(root.path(), Some(LayoutKind::Fs)).layout.encoding, NameEncoding::Utf8);
    }

    #[test]
    fn where_nothing_tells_it_is_as_the_server_lays_it_out() {
        use NameEncoding::{ModifiedUtf7, Utf8};
        let table: [(&[&str], _, _); 5] = [
            (&[], Utf8, false),
            (&["a/cur"], Utf8, false),
            (&["INBOX/cur"], Utf8, false),
            (&["cur", "a/cur"], Utf8, true),
            (&["cur", "Entw\u{fc}rfe/cur"], Utf8, true),
        ];
        let with_dovecot =
            [(ModifiedUtf7, true), (ModifiedUtf7, true), (ModifiedUtf7, false), (ModifiedUtf7, true), (Utf8, true)];
        for ((dirs, encoding, at_root), with_dovecot) in table.into_iter().zip(with_dovecot) {
            let laid_out = |server| {
                let root = root(dirs);
                let found =
                    detect_layout(root.path(), Some(LayoutKind::Fs), server, &Ignored::usual(), &crate::meter::Silent);
                let layout = found.unwrap().layout;
                (layout.encoding, layout.inbox_at_root)
            };
            assert_eq!(laid_out(None), (encoding, at_root), "{dirs:?}");
            assert_eq!(laid_out(Some(Server::Dovecot)), with_dovecot, "{dirs:?}, with Dovecot");
        }
    }

    #[test]
    fn folders_that_the_layout_leaves_out_are_named() {
        let found = detect(root(&["cur", ".a/cur", ".b/cur", "c/cur"]).path(), None);
        assert_eq!((found.layout.kind, found.folders, found.notes.len()), (LayoutKind::MaildirPlusPlus, 3, 1));
        let found = detect(root(&["cur", ".a/cur", ".b/cur", "c/cur"]).path(), Some(LayoutKind::Fs));
        assert_eq!((found.layout.kind, found.folders, found.notes.len()), (LayoutKind::Fs, 4, 0));
    }

    #[test]
    fn what_is_ignored_is_no_folder() {
        let found = detect(
            root(&[
                "INBOX/cur",
                "lost+found/cur",
                ".stversions/INBOX/cur",
                ".snapshots/1/INBOX/cur",
                "a/.Trash-1000/new",
            ])
            .path(),
            None,
        );
        assert_eq!((found.folders, found.plain, found.dotted), (1, 1, 0));
        assert_eq!(found.dirs, ["INBOX", "a"].map(PathBuf::from));
    }

    #[test]
    fn a_maildir_with_subfolders_below_the_mail_root_is_noticed() {
        for (dirs, nested) in [
            (&["Maildir/cur", "Maildir/.Sent/cur", "notes"][..], Some("Maildir")),
            (&["a/Maildir/cur", "a/Maildir/.Sent/new", "b/cur"], Some("a/Maildir")),
            (&["cur", ".Sent/cur"], None),
            (&["INBOX/cur", "INBOX/Sent/cur", "Maildir/.Sent/cur"], None),
        ] {
            assert_eq!(detect(root(dirs).path(), None).nested, nested.map(PathBuf::from), "{dirs:?}");
        }
    }

    #[test]
    fn an_empty_root_is_told_from_one_without_mail() {
        let found = detect(root(&[]).path(), None);
        assert!(found.empty && found.folders == 0);
        let found = detect(root(&["notes/tmp"]).path(), None);
        assert!(!found.empty && found.folders == 0);
    }

    /// Whether the file system of a directory records no times of reading.
    fn is_without_times(dir: &Path) -> bool {
        let options = rustix::fs::statvfs(dir).unwrap().f_flag;
        options.intersects(rustix::fs::StatVfsMountFlags::NOATIME | rustix::fs::StatVfsMountFlags::NODIRATIME)
    }

    #[test]
    fn the_names_of_messages_are_not_read() {
        let root = root(&["new", "a/cur"]);
        fs::write(root.path().join("a/cur/1:2,"), "").unwrap();
        let access = |dir: &str| fs::metadata(root.path().join(dir)).unwrap().accessed().unwrap();
        let before = ["a", "a/cur"].map(access);
        std::thread::sleep(std::time::Duration::from_millis(20));
        detect(root.path(), None);
        let after = ["a", "a/cur"].map(access);
        // Where nobody records when a directory was read, nothing can be told.
        assert!(before[1] == after[1], "{before:?} {after:?}");
        assert!(before[0] != after[0] || is_without_times(root.path()), "{before:?} {after:?}");
    }

    #[test]
    fn every_tmp_is_found_without_looking_among_the_messages() {
        let root = root(&["tmp", "cur/tmp", ".a/tmp", "b/c/tmp/tmp", "d/cur", ".stversions/tmp"]);
        let found: Vec<_> = tmp_dirs(root.path(), &Ignored::usual())
            .map(|dir| dir.unwrap().strip_prefix(&root).unwrap().to_owned())
            .collect();
        assert_eq!(found, ["tmp", ".a/tmp", "b/c/tmp"].map(PathBuf::from));
    }
}
