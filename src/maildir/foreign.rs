//! Mail that is kept in another way than in Maildirs: it is recognised, so that a person is told what it is.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// So many things in one directory are looked at.
const MOST: usize = 200;

/// A way to keep mail that is none of mailsync's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// Many messages in one file, each behind a line that begins with `From `.
    Mbox,
    /// A directory for a folder, a file for a message, and numbers for names.
    Mh,
}

impl Foreign {
    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mbox => "an mbox",
            Self::Mh => "an MH folder",
        }
    }

    /// What to do with it.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Mbox => {
                "convert it to Maildirs first, for example with `mb2md -s FILE -d DIR`, then give the directory with these"
            }
            Self::Mh => {
                "convert it to Maildirs first, for example with mutt, which copies folders (`set mbox_type=Maildir`), then give the \
                 directory with these"
            }
        }
    }

    /// What a file or a directory is, if it is something like that. What can't be read is passed over: this is a hint.
    fn of(path: &Path) -> Option<Self> {
        if path.is_dir() {
            let is_number = |path: &PathBuf| {
                path.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit))
            };
            let is_message = |path: &PathBuf| is_number(path) && path.is_file() && Self::of(path).is_none();
            let is_mh = path.join(".mh_sequences").is_file() || things_in(path).iter().any(is_message);
            return is_mh.then_some(Self::Mh);
        }
        let mut begins = [0; 5];
        // A pipe would never end.
        let is_mbox = path.is_file()
            && File::open(path).and_then(|mut file| file.read_exact(&mut begins)).is_ok()
            && &begins == b"From ";
        is_mbox.then_some(Self::Mbox)
    }
}

/// What is at this path, in it or in a directory in it that looks like mail in another format, and where.
pub fn foreign_at(path: &Path) -> Option<(Foreign, PathBuf)> {
    let within = || {
        let things = things_in(path);
        let deeper = things.iter().filter(|thing| thing.is_dir()).flat_map(|dir| things_in(dir));
        things.iter().cloned().chain(deeper).find_map(|thing| Some((Foreign::of(&thing)?, thing)))
    };
    Foreign::of(path).map(|foreign| (foreign, path.to_owned())).or_else(within)
}

/// What is in a directory, as far as it is looked at.
fn things_in(dir: &Path) -> Vec<PathBuf> {
    let things = std::fs::read_dir(dir).into_iter().flatten();
    let mut things: Vec<PathBuf> = things.take(MOST).filter_map(|item| Some(item.ok()?.path())).collect();
    things.sort();
    things
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_in_other_formats_is_recognised() {
        let message = "From: a@example.org\n\nHello.\n";
        let mbox = format!("From a@example.org Sat Nov 28 12:00:00 2026\n{message}");
        for (case, files, expected) in [
            ("an mbox", &[("inbox", &*mbox)][..], Some((Foreign::Mbox, "inbox"))),
            ("one deeper", &[("mail/inbox", &mbox)], Some((Foreign::Mbox, "mail/inbox"))),
            ("a folder of MH", &[("1", message), ("2", message)], Some((Foreign::Mh, ""))),
            ("folders of MH", &[("inbox/1", message)], Some((Foreign::Mh, "inbox"))),
            ("an empty one of MH", &[("inbox/.mh_sequences", "")], Some((Foreign::Mh, "inbox"))),
            ("mboxes with numbers", &[("2019", &mbox), ("2020", &mbox)], Some((Foreign::Mbox, "2019"))),
            ("notes", &[("notes.txt", "hello"), ("short", "Fro")], None),
            ("nothing", &[], None),
        ] {
            let dir = tempfile::tempdir().unwrap();
            for (name, contents) in files {
                let path = dir.path().join(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, contents).unwrap();
            }
            let expected = expected.map(|(foreign, place)| (foreign, dir.path().join(place)));
            assert_eq!(foreign_at(dir.path()), expected, "{case}");
        }
        assert_eq!(foreign_at(Path::new("/nowhere/at-all")), None);
    }
}
