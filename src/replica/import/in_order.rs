//! Bundles that are only looked at, in the order in which an import would take them. Nothing is written.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::foreseen::Foreseen;
use super::gate::{Reception, Sender};
use crate::bundle::{Behind, Manifest, each_manifest};
use crate::error::Result;
use crate::model::{Standing, shows_standing};
use crate::replica::Replica;
use crate::replica::safety::ClockAhead;

/// A file of bundles, by what the first of them says.
type First = (Box<Manifest>, Sender);

impl Replica {
    /// Foresees what a bundle would leave here, about which the gate has given this answer.
    ///
    /// # Errors
    /// The state can't be read.
    pub fn foresee(
        &self,
        foreseen: &mut Foreseen,
        manifest: &Manifest,
        sender: &Sender,
        reception: &Reception,
    ) -> Result<()> {
        let head = manifest.head();
        match reception {
            Reception::Apply => {
                let mut knowledge = self.state.knowledge()?;
                knowledge.join(&foreseen.knowledge);
                let believed = self.caps(&knowledge)?.believe(&head, &knowledge);
                foreseen.knowledge.join(&believed.head.tip);
                foreseen.horizon.join(&believed.head.horizon);
                foreseen.taken.insert((head.incarnation, head.number));
            }
            Reception::NothingNew | Reception::NotYet(_) => {}
            Reception::Outlived | Reception::ClockAhead(_) | Reception::Refused(_) | Reception::RolledBack(..) => {
                return Ok(());
            }
        }
        let own = manifest.tip.get(head.incarnation);
        if matches!(reception, Reception::Apply)
            && (manifest.base.get(head.incarnation) < own || manifest.counts.messages == 0)
        {
            foreseen.proven.join(&std::iter::once((head.incarnation, own)).collect());
        }
        let id = self.present_id(&manifest.sender.id)?;
        let standing = foreseen.standings.get(&id).cloned().unwrap_or_else(|| sender.standing());
        let highest = self.state.heard_number(&id, head.incarnation)?;
        if shows_standing(&standing, highest, &head) {
            let newest = Some((head.incarnation, head.number));
            foreseen.standings.insert(id, Standing { newest, shown: Some(head.tip) });
        }
        Ok(())
    }

    /// The files of a directory in the order in which an import would take them, as far as what they begin with shows it:
    /// each sender's in the order of their numbers, and behind those that they need. Those that can't be read come last.
    ///
    /// # Errors
    /// The state can't be read.
    pub fn in_order(&self, paths: Vec<PathBuf>) -> Result<Vec<PathBuf>> {
        let (mut waiting, mut others) = (BTreeMap::new(), Vec::new());
        for path in paths {
            match self.first_of(&path)? {
                Some((manifest, sender)) => {
                    let by_number = (self.present_id(&manifest.sender.id)?, manifest.number, path);
                    waiting.insert(by_number, (manifest, sender));
                }
                None => others.push(path),
            }
        }
        let (mut ordered, mut foreseen) = (Vec::new(), Foreseen::default());
        loop {
            let (mut still_waiting, before) = (BTreeMap::new(), ordered.len());
            for (key, (manifest, sender)) in waiting {
                let reception = self.receive_behind(&foreseen, &manifest, &sender, ClockAhead::Refuse)?;
                self.foresee(&mut foreseen, &manifest, &sender, &reception)?;
                if matches!(reception, Reception::NotYet(_) | Reception::ClockAhead(_) | Reception::RolledBack(..)) {
                    still_waiting.insert(key, (manifest, sender));
                } else {
                    ordered.push(key.2);
                }
            }
            waiting = still_waiting;
            if ordered.len() == before {
                break;
            }
        }
        ordered.extend(waiting.into_keys().map(|(_, _, path)| path));
        ordered.append(&mut others);
        Ok(ordered)
    }

    /// The beginning of the first bundle in a file, if it can be read and its signature holds. Whatever is wrong with the
    /// file is told when all of it is read.
    fn first_of(&self, path: &Path) -> Result<Option<First>> {
        let Ok(file) = File::open(path) else { return Ok(None) };
        if !file.metadata().is_ok_and(|meta| meta.is_file()) {
            return Ok(None);
        }
        let mut first: Option<Result<First>> = None;
        // What is wrong behind its beginning is told later.
        let _ = each_manifest(BufReader::new(file), &self.keys(), Behind::Left, |beginning| {
            // What it wants can be long, and doesn't matter here.
            let manifest = Box::new(Manifest { wants: Vec::new(), ..beginning.manifest().clone() });
            first = self
                .sender_of(&manifest)
                .map(|sender| {
                    let is_signed = |key| beginning.is_signed_by(&key);
                    let signed = sender.key(self, &manifest, beginning.signer()).is_ok_and(is_signed);
                    signed.then_some((manifest, sender))
                })
                .transpose();
            ControlFlow::Break(())
        });
        first.transpose()
    }
}
