//! Directories through which machines exchange bundles: a stick, or a folder that several machines share through
//! Syncthing or NFS.
//!
//! Other machines write and remove files there at the same time, and copying programs show half a file for a while. So
//! a file that has gone is no error, a file that ends early may be whole the next time, and no file is removed that
//! somebody may still need.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::listing::open_if_there;
use super::look::Found;
use super::outcome::{ImportOptions, ImportOutcome, Imported};
use super::refusal::Origin;
use crate::error::{Error, ErrorKind, Result};
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

/// A file of which something could not be taken.
#[derive(Debug)]
struct Held {
    path: PathBuf,
    /// The bundles that could not.
    bundles: Vec<Imported>,
    /// The refusal for safety with which its import has ended.
    refused: Option<Error>,
}

/// What is known of the files of a directory while they are imported, some of them more than once.
#[derive(Debug, Default)]
struct Reading {
    /// What was told: of a file that is read again, its other bundles would be told again.
    told: BTreeSet<(PathBuf, Option<String>, Option<u64>)>,
    /// A bundle that waits is as new as it was when it was read first.
    fresh: BTreeSet<(Option<String>, Option<u64>)>,
    /// Why a bundle was refused when it was read first: when it is read again, that refusal is an earlier one.
    refused: BTreeMap<(PathBuf, Option<u64>), Error>,
    /// Whether something was applied since the files were read last.
    progress: bool,
    /// Whether a peer's bundle was read, which tells of its clock.
    weighed: bool,
}

impl Reading {
    fn look_at(&mut self, path: &Path, mut imported: Imported) -> Imported {
        let bundle = (imported.from.clone(), imported.number);
        imported.fresh |= self.fresh.contains(&bundle);
        if imported.fresh {
            self.fresh.insert(bundle);
        }
        if let ImportOutcome::Refused(error) = &mut imported.outcome {
            let bundle = (path.to_owned(), imported.number);
            *error = self.refused.entry(bundle).or_insert_with(|| error.clone()).clone();
        }
        self.progress |= matches!(imported.outcome, ImportOutcome::Applied);
        self.weighed |= imported.outcome.tells_of_a_clock();
        imported
    }

    fn tell_once(&mut self, path: &Path, imported: Imported, each: &mut impl FnMut(Imported)) {
        let bundle = (path.to_owned(), imported.from.clone(), imported.number);
        if !matches!(imported.outcome, ImportOutcome::ForSomeoneElse(_)) && self.told.insert(bundle) {
            each(imported);
        }
    }
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
        let mut waiting: Vec<PathBuf> = std::mem::take(&mut found.here).into_iter().map(|(_, _, path)| path).collect();
        let mut reading = Reading::default();
        let mut failed = found.failed.take();
        let held = loop {
            let passed = self.pass_through(waiting, options, &mut reading, &mut each);
            let held = match passed {
                Ok(held) => held,
                // The failure is what the person should hear of in the end.
                Err((held, error)) => {
                    self.tell_held(held, options, &mut reading, &mut Some(error.clone()), &mut each)?;
                    return Err(error);
                }
            };
            if held.is_empty() || !std::mem::take(&mut reading.progress) {
                break held;
            }
            waiting = held.into_iter().map(|held| held.path).collect();
        };
        self.tell_held(held, options, &mut reading, &mut failed, &mut each)?;
        if reading.weighed {
            self.compare_clocks()?;
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

    /// Imports each of these files, and gives those of which something could not be taken: what the others have brought may
    /// change that.
    ///
    /// # Errors
    /// A failure of this machine, and what was held until then.
    fn pass_through(
        &self,
        paths: Vec<PathBuf>,
        options: &ImportOptions,
        reading: &mut Reading,
        each: &mut impl FnMut(Imported),
    ) -> std::result::Result<Vec<Held>, (Vec<Held>, Error)> {
        let mut all = Vec::new();
        for path in paths {
            // Another replica that the file was for may have consumed it by now.
            let file = match open_if_there(&*self.world.disk, &path) {
                Ok(Some(file)) => file,
                Ok(None) => continue,
                Err(error) => return Err((all, error)),
            };
            let mut held = Vec::new();
            let result = self.import_opened(&file, &path, options, Origin::Directory, |imported| {
                let imported = reading.look_at(&path, imported);
                match imported.outcome {
                    ImportOutcome::NotYet(_) | ImportOutcome::RolledBack(_) | ImportOutcome::Refused(_) => {
                        held.push(imported);
                    }
                    _ => reading.tell_once(&path, imported, each),
                }
            });
            let refused = match result {
                Ok(()) => None,
                // One sender's mistake doesn't keep the bundles of the others from being applied.
                Err(error) if error.kind() == ErrorKind::Refused => {
                    Some(held.last().and_then(|last| last.outcome.error()).cloned().unwrap_or(error))
                }
                Err(error) => return Err((all, error)),
            };
            if refused.is_some() || !held.is_empty() {
                all.push(Held { path, bundles: held, refused });
            }
        }
        Ok(all)
    }

    /// Tells what was held, as nothing that has come has changed it.
    fn tell_held(
        &self,
        all: Vec<Held>,
        options: &ImportOptions,
        reading: &mut Reading,
        failed: &mut Option<Error>,
        each: &mut impl FnMut(Imported),
    ) -> Result<()> {
        for Held { path, mut bundles, refused } in all {
            let is_seen_again = options.dry_run == DryRun::Yes
                && bundles.iter().any(|imported| matches!(imported.outcome, ImportOutcome::Refused(_)));
            // What a refused bundle would bring is seen only while it is rehearsed. Why it was refused is told as at first.
            if is_seen_again && let Some(file) = open_if_there(&*self.world.disk, &path)? {
                let again = self.import_opened(&file, &path, options, Origin::Directory, |imported| {
                    if let ImportOutcome::Refused(_) = imported.outcome
                        && let Some(n) = bundles.iter().position(|held| held.number == imported.number)
                    {
                        reading.tell_once(&path, bundles.remove(n), each);
                    }
                });
                again.or_else(|error| if error.kind() == ErrorKind::Refused { Ok(()) } else { Err(error) })?;
            }
            for imported in bundles {
                reading.tell_once(&path, imported, each);
            }
            if let Some(error) = refused {
                self.fail_in_the_end(failed, error);
            }
        }
        Ok(())
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
