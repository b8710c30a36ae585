//! Detection: which layout a mail root has.

use crate::text::plural;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::{Ignored, Layout, LayoutKind, NameEncoding, utf7};
use crate::meter::Gauge;

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

/// Looks at the directories below a mail root, without reading a folder's files. It leaves out directories that can't
/// be read, as the scan that follows reports them, and those that are ignored. With `wanted` the kind of layout is not
/// guessed. Each directory is a step of the `progress`.
pub fn detect_layout(root: &Path, wanted: Option<LayoutKind>, ignored: &Ignored, progress: &dyn Gauge) -> Detected {
    let at_root = is_maildir(root);
    let below = |dir: PathBuf| dir.strip_prefix(root).map(Path::to_owned).expect("it is below the mail root");
    let dirs: Vec<_> = directories(root, ignored).inspect(|_| progress.advance(1)).map(below).collect();
    let (mut dotted, mut plain) = (Vec::new(), Vec::new());
    for dir in dirs.iter().filter(|dir| is_maildir(&root.join(dir))).cloned() {
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
    let by_default = if kind == LayoutKind::MaildirPlusPlus || is_dovecots(root) {
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
    Detected {
        layout: Layout { kind, encoding, inbox_at_root: at_root || kind == LayoutKind::MaildirPlusPlus },
        folders: seen.len() + usize::from(at_root),
        left_out,
        at_root,
        dotted: counts[0],
        plain: counts[1],
        nested,
        dirs,
        empty: std::fs::read_dir(root).is_ok_and(|items| {
            let others = |name: std::ffi::OsString| !name.as_bytes().starts_with(OWN.as_bytes());
            !items.filter_map(Result::ok).any(|item| others(item.file_name()))
        }),
        notes,
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
fn is_dovecots(root: &Path) -> bool {
    let items = std::fs::read_dir(root).into_iter().flatten().filter_map(Result::ok);
    items.map(|item| item.file_name()).any(|name| {
        let name = name.as_bytes();
        name.starts_with(b"dovecot-") || name.starts_with(b"dovecot.")
    })
}

fn is_utf7(dir: &Path) -> bool {
    dir.iter().flat_map(|part| part.as_bytes().split(|&c| c == b'.')).all(|part| utf7::decode(part).is_some())
}

/// The first of these Maildirs that has one with a dot in it.
fn nested(plain: &[PathBuf]) -> Option<PathBuf> {
    let dotted = |dir: &&PathBuf| dir.file_name().is_some_and(|name| name.as_bytes().starts_with(b"."));
    let above = plain.iter().filter(dotted).filter_map(|dir| dir.parent());
    above.filter(|dir| plain.iter().any(|other| other == dir)).min().map(Path::to_owned)
}

fn is_maildir(dir: &Path) -> bool {
    dir.join("cur").is_dir() || dir.join("new").is_dir()
}

fn is_sub(name: &OsStr) -> bool {
    name == "cur" || name == "new" || name == "tmp"
}

/// All directories below the mail root except those in which messages lie and those that are ignored.
fn directories(root: &Path, ignored: &Ignored) -> impl Iterator<Item = PathBuf> {
    let walk = WalkDir::new(root).min_depth(1).follow_links(true).sort_by_file_name();
    let walk = walk.into_iter().filter_entry(move |item| {
        let is_ignored = || item.path().strip_prefix(root).is_ok_and(|dir| ignored.has(dir, None));
        item.file_type().is_dir() && !is_sub(item.file_name()) && !is_ignored()
    });
    walk.filter_map(Result::ok).map(walkdir::DirEntry::into_path)
}

/// The `tmp/` of the mail root and of every directory below it.
pub fn tmp_dirs(root: &Path, ignored: &Ignored) -> impl Iterator<Item = PathBuf> {
    let dirs = std::iter::once(root.to_owned()).chain(directories(root, ignored));
    dirs.map(|dir| dir.join("tmp")).filter(|tmp| tmp.is_dir())
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
        detect_layout(root, wanted, &Ignored::usual(), &crate::meter::Silent)
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

    #[test]
    fn every_tmp_is_found_without_looking_among_the_messages() {
        let root = root(&["tmp", "cur/tmp", ".a/tmp", "b/c/tmp/tmp", "d/cur", ".stversions/tmp"]);
        let found: Vec<_> =
            tmp_dirs(root.path(), &Ignored::usual()).map(|dir| dir.strip_prefix(&root).unwrap().to_owned()).collect();
        assert_eq!(found, ["tmp", ".a/tmp", "b/c/tmp"].map(PathBuf::from));
    }
}
