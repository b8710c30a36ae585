//! Whether a directory is the right one for a replica's mail root: what speaks against it, and what its file system can
//! take.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Home, World};
use crate::config::Config;
use crate::disk::{Disk, Draft, Like, is_absent, is_there, read_whole, remove_if_there};
use crate::error::{Error, Result};
use crate::maildir::{Detected, LayoutKind, OWN, Separator};
use crate::text::plural;

/// Whether something is done although something speaks against it: a directory is taken for a mail root, or a clock is believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Doubts {
    /// No: then the person is told what it is.
    #[default]
    Heed,
    /// Yes: the person has looked.
    Overrule,
}

/// The file that says whose a mail root is has at most so many bytes.
const MARK_BYTES: u64 = 64 << 10;

/// The contents of that file.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    config: PathBuf,
}

/// Something that speaks against a directory.
#[derive(Debug, PartialEq, Eq)]
enum Doubt {
    /// All that somebody has is in it.
    HoldsHome,
    /// A directory in it looks like the one that is meant.
    Around(PathBuf),
    /// It is a folder, or a part of one, of the Maildir above it.
    Below(PathBuf),
    /// Another replica has it, or one that it is in, or one that is in it.
    Anothers { root: PathBuf, config: PathBuf },
    /// The layout that was asked for leaves most of it out, or reads it as something else.
    Layout { asked: LayoutKind, fits: LayoutKind, such: u64 },
}

/// Refuses a directory that is evidently not the mail root that is meant.
///
/// # Errors
/// Refused, unless the doubts are overruled.
pub(super) fn check_doubts(
    disk: &dyn Disk,
    home: &Home,
    root: &Path,
    detected: &Detected,
    asked: Option<LayoutKind>,
    doubts: Doubts,
) -> Result<()> {
    if doubts == Doubts::Overrule {
        return Ok(());
    }
    let found = place_doubt(root, detected)
        .or_else(|| anothers(disk, home, root, detected))
        .or_else(|| asked.and_then(|asked| layout_doubt(asked, detected)));
    found.map_or(Ok(()), |doubt| Err(refusal(root, &doubt)))
}

/// Refuses a directory that holds all that the user has, or all that there is, without a look at all of that.
///
/// # Errors
/// Refused, unless the doubts are overruled.
pub(super) fn check_size(root: &Path, doubts: Doubts) -> Result<()> {
    let user = directories::BaseDirs::new().and_then(|dirs| fs::canonicalize(dirs.home_dir()).ok());
    let is_maildir = |dir: &Path| dir.join("cur").is_dir() || dir.join("new").is_dir();
    // Where each user is a virtual one, the home directory may be the Maildir.
    let holds_home = user.is_some_and(|home| home.starts_with(root) && (home != root || !is_maildir(root)));
    if doubts == Doubts::Overrule || !(holds_home || root.parent().is_none()) {
        return Ok(());
    }
    let below = |dir: &Path| fs::read_dir(dir).into_iter().flatten().filter_map(|item| Some(item.ok()?.path()));
    let dotted = |dir: &PathBuf| dir.file_name().is_some_and(|name| name.as_bytes().starts_with(b"."));
    let has_folders = |dir: &PathBuf| is_maildir(dir) && below(dir).any(|dir| dotted(&dir) && is_maildir(&dir));
    let meant = below(root).filter(|dir| !dotted(dir)).find(has_folders);
    let name = meant.as_ref().and_then(|dir| dir.file_name()).map(PathBuf::from);
    Err(refusal(root, &name.map_or(Doubt::HoldsHome, Doubt::Around)))
}

/// What speaks against a directory by where it is, and what is in it.
fn place_doubt(root: &Path, detected: &Detected) -> Option<Doubt> {
    let above = root.parent()?;
    let is_above = |sub: &str| above.join(sub).is_dir();
    let dotted = root.file_name().is_some_and(|name| name.as_bytes().starts_with(b"."));
    let part = ["cur", "new", "tmp"].iter().any(|part| root.ends_with(part));
    if (is_above("cur") && is_above("new"))
        || (is_above("cur") && (dotted || part))
        || root.join("maildirfolder").is_file()
    {
        return Some(Doubt::Below(above.to_owned()));
    }
    detected.nested.clone().filter(|_| !detected.at_root).map(Doubt::Around)
}

/// A layout that was asked for, and that is not the one of most Maildirs there.
fn layout_doubt(asked: LayoutKind, detected: &Detected) -> Option<Doubt> {
    let (fits, such, others) = match asked {
        LayoutKind::Fs => (LayoutKind::MaildirPlusPlus, detected.dotted, detected.plain),
        LayoutKind::MaildirPlusPlus => (LayoutKind::Fs, detected.plain, detected.dotted),
    };
    (such > others).then_some(Doubt::Layout { asked, fits, such })
}

/// Another replica of this machine that has this mail root, or one above it or in it.
fn anothers(disk: &dyn Disk, home: &Home, root: &Path, detected: &Detected) -> Option<Doubt> {
    let own = fs::canonicalize(home.config_file()).ok();
    let below = detected.dirs.iter().map(|dir| root.join(dir));
    root.ancestors().map(Path::to_owned).chain(below).find_map(|dir| {
        let config = marked_for(disk, &dir)?;
        let other = fs::canonicalize(&config).is_ok_and(|path| Some(path) != own);
        other.then_some(Doubt::Anothers { root: dir, config })
    })
}

/// The configuration of the replica that has this mail root. A mark may be old, or have been copied with the mail: it
/// counts if the replica itself says the same.
fn marked_for(disk: &dyn Disk, dir: &Path) -> Option<PathBuf> {
    // Above the mail root, in /tmp for example, anybody may have put anything of that name.
    let text = String::from_utf8(read_whole(disk, &dir.join(OWN), MARK_BYTES).ok()?).ok()?;
    let mark: Mark = toml::from_str(&text).ok()?;
    match Config::read(disk, &mark.config) {
        Ok(config) => fs::canonicalize(config.mail_root).is_ok_and(|root| root == dir).then_some(mark.config),
        // It is there, and somebody else's.
        Err(_) => fs::metadata(&mark.config).is_ok().then_some(mark.config),
    }
}

/// Removes what says whose mail root it is, if it is that of the replica with this configuration.
pub(super) fn unmark(disk: &dyn Disk, root: &Path, config: &Path) -> io::Result<()> {
    let path = root.join(OWN);
    let text = match read_whole(disk, &path, MARK_BYTES) {
        Ok(text) => String::from_utf8_lossy(&text).into_owned(),
        Err(error) if is_absent(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    let is_own = toml::from_str::<Mark>(&text).is_ok_and(|mark| mark.config == config);
    if is_own { remove_if_there(disk.unlink(&path)).and_then(|()| disk.sync_dir(root)) } else { Ok(()) }
}

/// Writes down whose mail root it is.
pub(super) fn mark(disk: &dyn Disk, home: &Home, root: &Path, like: &Like<'_>) -> io::Result<()> {
    let config = fs::canonicalize(home.config_file())?;
    let text = toml::to_string(&Mark { config }).map_err(io::Error::other)?;
    let intro = "# The mail root of a replica of mailsync, which is configured there. It can be removed.\n";
    let new = root.join(format!("{OWN}.new"));
    // An interrupted command may have left one.
    remove_if_there(disk.unlink(&new))?;
    let mut draft = Draft::create_like(disk, new, like)?;
    draft.write_all(format!("{intro}{text}").as_bytes())?;
    draft.replace(&root.join(OWN))
}

fn refusal(root: &Path, doubt: &Doubt) -> Error {
    let root = root.display();
    let (what, advice) = match doubt {
        Doubt::HoldsHome => (
            String::from("it holds more than mail"),
            String::from("give the directory that holds your Maildirs and nothing else"),
        ),
        Doubt::Around(inner) => (
            format!("the Maildir with folders that is meant seems to be {} in it", inner.display()),
            format!("give {root}/{}", inner.display()),
        ),
        Doubt::Below(above) => {
            (format!("it is a part of the Maildir {}", above.display()), format!("give {}", above.display()))
        }
        Doubt::Anothers { root: other, config } => (
            format!("{} is the mail root of the replica that {} configures", other.display(), config.display()),
            format!("give another directory, or use that replica, or move {} away if it is no more", config.display()),
        ),
        Doubt::Layout { asked, fits, such } => (
            format!(
                "{} below it {} laid out as {}, and not as {}",
                plural(*such, "Maildir"),
                if *such == 1 { "is" } else { "are" },
                fits.as_str(),
                asked.as_str()
            ),
            format!("use --layout {}", fits.as_str()),
        ),
    };
    Error::refused(format!("taking {root} for the mail root: {what}"))
        .advise(format!("{advice}; if it is the right one all the same, use --anyway"))
}

/// Finds out what a mail root's file system takes for the flags in a file's name, and whether it can give a file
/// another name without replacing one. `None` if nothing may be written there, and so nobody can tell.
///
/// # Errors
/// It can't take mail.
pub(super) fn probe(world: &World, root: &Path) -> Result<Option<Separator>> {
    let disk = &*world.disk;
    let dir = root.join(format!("{OWN}-trial"));
    let fail = |error: io::Error| {
        Error::io("trying what the file system can do, in", &dir, error).advise("see why, then run this again")
    };
    // An interrupted trial may have left it.
    if is_there(disk, &dir)? {
        clear(disk, &dir).map_err(fail)?;
    }
    match disk.make_dir(&dir) {
        Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) => {
            return Ok(None);
        }
        made => made.map_err(fail)?,
    }
    let found = try_names(disk, &dir).and_then(|separator| {
        let replaces = separator.map(|separator| try_rename(disk, &dir, separator)).transpose()?;
        Ok((separator, replaces))
    });
    clear(disk, &dir).map_err(fail)?;
    let (separator, replaces) = found.map_err(fail)?;
    let what = match (separator, replaces) {
        (Some(separator), Some(None)) => return Ok(Some(separator)),
        (_, Some(Some(why))) => format!("it can't give a file another name safely: {why}"),
        _ => String::from("it takes none of \":\", \";\" and \"!\" in a file's name, as Maildirs need"),
    };
    Err(Error::failed(format!("trying the file system of {}: {what}", root.display()))
        .advise("put the mail on another file system"))
}

/// Removes what a trial has made.
fn clear(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    let mut left = Vec::new();
    disk.list(dir, &mut |name, _| left.push(dir.join(name)))?;
    left.iter().try_for_each(|path| remove_if_there(disk.unlink(path)))?;
    disk.remove_dir(dir)
}

/// The first separator that a name can have, and has when it is read back.
fn try_names(disk: &dyn Disk, dir: &Path) -> io::Result<Option<Separator>> {
    for separator in Separator::ALL {
        let name = format!("1.probe,S=1{}2,S", char::from(separator.byte()));
        match disk.create(&dir.join(&name)) {
            Ok(_) => {
                let mut same = false;
                disk.list(dir, &mut |found, _| same |= found == name.as_str())?;
                if same {
                    return Ok(Some(separator));
                }
            }
            // It is about this name.
            Err(error) if crate::error::Scope::of(&error) == crate::error::Scope::Place => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Tries to rename a file. Returns what is wrong with that.
fn try_rename(disk: &dyn Disk, dir: &Path, separator: Separator) -> io::Result<Option<String>> {
    let [from, free] = ["2.probe", "3.probe"].map(|name| dir.join(name));
    let taken = dir.join(format!("1.probe,S=1{}2,S", char::from(separator.byte())));
    drop(disk.create(&from)?);
    Ok(match (disk.rename(&from, &taken), disk.rename(&from, &free)) {
        (Ok(()), _) => Some(String::from("it replaces the file that has the name")),
        (Err(error), _) if error.kind() != io::ErrorKind::AlreadyExists => Some(error.to_string()),
        (_, Err(error)) => Some(error.to_string()),
        _ => None,
    })
}
