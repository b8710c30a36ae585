//! Directories through which machines exchange bundles: a stick, or a folder that several machines share through
//! Syncthing or NFS.
//!
//! Other machines write and remove files there at the same time, and copying programs show half a file for a while. So
//! a file that has gone is no error, a file that ends early may be whole the next time, and no file is removed that
//! somebody may still need.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::listing::open_if_there;
use super::look::Found;
use super::outcome::{ImportOptions, ImportOutcome, Imported};
use super::refusal::Origin;
use crate::error::{ErrorKind, Result};
use crate::replica::Replica;
use crate::replica::safety::DryRun;
use crate::text::{are, plural};

/// What is told if a directory holds nothing for this replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Empty {
    /// That it is so.
    Told,
    /// Nothing.
    Expected,
}

impl Replica {
    /// Imports every bundle in a directory that is for this replica, in an order that works. It leaves alone this
    /// replica's own bundles, bundles for others, and a bundle that ends early, which is still being copied. With
    /// [`consume`](ImportOptions::consume), this replica's own bundles that nobody needs any more are removed, too.
    ///
    /// # Errors
    /// The directory can't be listed; failures of this machine, and refusals for safety. A bundle that is wrong is
    /// no error: its outcome tells.
    pub fn import_directory(&self, dir: &Path, options: &ImportOptions, each: impl FnMut(Imported)) -> Result<()> {
        self.import_looking(dir, options, Empty::Told, each)
    }

    /// The same for who looks again and again: that there is nothing for this replica is the rule, and not told.
    ///
    /// # Errors
    /// As for [`Replica::import_directory`].
    pub fn import_arrivals(&self, dir: &Path, options: &ImportOptions, each: impl FnMut(Imported)) -> Result<()> {
        self.import_looking(dir, options, Empty::Expected, each)
    }

    fn import_looking(
        &self,
        dir: &Path,
        options: &ImportOptions,
        empty: Empty,
        each: impl FnMut(Imported),
    ) -> Result<()> {
        let import = |each: &mut dyn FnMut(Imported)| self.import_all_in(dir, options, empty, each);
        self.recording_refusals(&dir.display().to_string(), options, each, import)
    }

    fn import_all_in(
        &self,
        dir: &Path,
        options: &ImportOptions,
        empty: Empty,
        mut each: impl FnMut(Imported),
    ) -> Result<()> {
        let mut found = self.look_through(dir, &mut each)?;
        self.hear_first(&mut found, options, &mut each)?;
        self.tell_found(dir, &found, options, empty)?;
        let mut waiting: Vec<PathBuf> = found.here.into_iter().map(|(_, _, path)| path).collect();
        // A file that waits is read again, and then its other bundles would be told again.
        let mut told = BTreeSet::new();
        // A bundle that waits is as new as it was when it was read first.
        let mut fresh = BTreeSet::new();
        let mut failed = found.failed;
        loop {
            let mut still_waiting = Vec::new();
            let mut progress = false;
            for path in waiting {
                // Another replica that the file was for may have consumed it by now.
                let Some(file) = open_if_there(&*self.world.disk, &path)? else { continue };
                let mut not_yet = Vec::new();
                let result = self.import_opened(&file, &path, options, Origin::Directory, |mut imported| {
                    let bundle = (imported.from.clone(), imported.number);
                    imported.fresh |= fresh.contains(&bundle);
                    if imported.fresh {
                        fresh.insert(bundle);
                    }
                    progress |= matches!(imported.outcome, ImportOutcome::Applied);
                    match imported.outcome {
                        ImportOutcome::NotYet(_) => not_yet.push(imported),
                        ImportOutcome::ForSomeoneElse(_) => {}
                        _ => {
                            if told.insert((path.clone(), imported.from.clone(), imported.number)) {
                                each(imported);
                            }
                        }
                    }
                });
                match result {
                    // One sender's mistake doesn't keep the bundles of the others from being applied.
                    Err(error) if error.kind() == ErrorKind::Refused => self.fail_in_the_end(&mut failed, error),
                    result => result?,
                }
                if !not_yet.is_empty() {
                    still_waiting.push((path, not_yet));
                }
            }
            if still_waiting.is_empty() || !progress {
                still_waiting.into_iter().flat_map(|(_, not_yet)| not_yet).for_each(&mut each);
                break;
            }
            waiting = still_waiting.into_iter().map(|(path, _)| path).collect();
        }
        if let Some(imported) = self.wanted_by_code(&found.coded)? {
            each(imported);
        }
        match failed {
            Some(error) => Err(error),
            None if options.consume && options.dry_run == DryRun::No => {
                let removed = self.remove_unneeded(&found.own)?;
                if removed > 0 && empty == Empty::Told {
                    let bundles = plural(removed, "bundle");
                    self.note(format!("removed {bundles} from this replica that nobody needs any more"));
                }
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Tells what there is besides bundles for this replica, and remembers what is no bundle.
    fn tell_found(&self, dir: &Path, found: &Found, options: &ImportOptions, empty: Empty) -> Result<()> {
        if !found.settled.is_empty() && options.dry_run == DryRun::No {
            let tx = self.begin()?;
            tx.pass_over(&found.settled)?;
            tx.commit()?;
        }
        if found.passed_over > 0 {
            self.note(format!(
                "{} in {} {} passed over: no bundles, or from replicas that are not known here or were revoked, as was said before; move them \
                 away, and this is not said again",
                plural(found.passed_over as u64, "file"),
                dir.display(),
                are(found.passed_over as u64)
            ));
        }
        // What is missing here may be in those that need a code, which is told at the end.
        let is_told = found.unreadable > 0 || self.wanted_by_code(&found.coded)?.is_some();
        if found.here.is_empty() && !is_told && empty == Empty::Told {
            let mut others = match found.elsewhere {
                0 if found.otherwise_called => {
                    String::from("; only files called *.zst and *.zst.age are looked at, and none in directories in it")
                }
                0 => String::new(),
                n => format!("; {} there {} for others", plural(n as u64, "file"), are(n as u64)),
            };
            if found.strange {
                others += ", or from replicas that are not known here";
            }
            others += &found.coded.words();
            self.note(format!("{} holds no bundle for this replica{others}", dir.display()));
        }
        Ok(())
    }
}
