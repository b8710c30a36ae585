//! `mailsync man`

use std::io;
use std::path::Path;

use clap_mangen::Man;
use mailsync::disk::{Disk, is_absent};
use mailsync::error::{Error, Result};
use mailsync::text::plural;

use super::args::Args;
use super::context::{Context, absolute};
use super::document::upkeep;
use super::document::values::path;
use super::failure::CommandResult;

/// The page for the ideas.
const IDEAS: &str = include_str!("man/mailsync.7");

/// Writes a page for each command, and one for the ideas.
pub fn run(context: &Context, dir: &Path) -> CommandResult {
    let (dir, world) = (absolute(dir)?, context.world());
    let mut line = Args::line().disable_help_subcommand(true);
    line.build();
    let mut pages = vec![(String::from("man7/mailsync.7"), IDEAS.as_bytes().to_vec())];
    add_pages(&line, &mut pages)?;
    let fail = |path: &Path, error: io::Error| {
        Error::io("writing man pages to", path, error).advise("give a directory that is there and that you may write")
    };
    for section in ["man1", "man7"].map(|section| dir.join(section)) {
        make_dir(&*world.disk, &section).map_err(|error| fail(&section, error))?;
    }
    for (name, page) in &pages {
        let path = dir.join(name);
        write(&*world.disk, &path, page).map_err(|error| fail(&path, error))?;
    }
    context.out.say(format_args!("wrote {} into {}", plural(pages.len() as u64, "man page"), dir.display()));
    Ok(context.out.document(&upkeep::Man { directory: path(&dir), pages: pages.len() as u64 }))
}

/// Makes a directory for everybody on the machine, if it isn't there.
fn make_dir(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    match disk.make_dir(dir) {
        Ok(()) => disk.set_mode(dir, 0o755),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn add_pages(command: &clap::Command, pages: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    let man = Man::new(command.clone()).manual("mailsync");
    let mut page = Vec::new();
    man.render(&mut page).map_err(|error| Error::os("making a man page", error))?;
    pages.push((format!("man1/{}", man.get_filename()), page));
    command.get_subcommands().try_for_each(|inner| add_pages(inner, pages))
}

/// Puts a page in place of an older one, if there is one.
fn write(disk: &dyn Disk, path: &Path, page: &[u8]) -> io::Result<()> {
    match disk.unlink(path) {
        Err(error) if !is_absent(&error) => return Err(error),
        _ => {}
    }
    let mut file = disk.create(path)?;
    disk.write(path, &mut file, page)?;
    // A page is for everybody on the machine.
    disk.set_mode(path, 0o644)
}
