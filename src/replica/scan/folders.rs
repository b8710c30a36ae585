//! Folders that were made.

use super::discover::Discovery;
use super::pass::Scan;
use super::report::Purpose;
use crate::bundle::limits;
use crate::error::{Error, Result};
use crate::model::{FolderName, FolderState};
use crate::state::RootBefore;

impl Scan<'_> {
    /// A folder that is one too many is left alone.
    fn no_room_for(&mut self, name: &FolderName) {
        let dir = self.replica.dir(name);
        self.report.problems.push(
            Error::failed(format!(
                "scanning {}: with this folder more than {} would be known, and its mail is left alone",
                dir.display(),
                limits::FOLDERS
            ))
            .advise(
                "have fewer folders; `mailsync purge` forgets those that were removed and of which all peers know it, and \
                 `mailsync doctor --repair` those of which only others have told",
            ),
        );
    }

    /// Writes the registers of folders that were made.
    pub(super) fn follow_folders(&mut self, discovery: &Discovery) -> Result<()> {
        let state = &self.replica.state;
        for name in discovery.folders.keys() {
            if !state.has_room_for_folder(name) {
                self.no_room_for(name);
                continue;
            }
            let key = self.tx.folder(name)?;
            let row = state.folder_row(key)?;
            if row.on_disk {
                continue;
            }
            self.tx.set_folder_on_disk(key, true)?;
            // A folder left by an interrupted join is not a change made here, even if its register says that it was
            // removed since.
            let leftover = self.purpose == Purpose::Join(RootBefore::Empty) && row.state.is_some();
            if !leftover && !row.is_present() {
                let stamp = self.stamp()?;
                self.tx.set_folder_state(key, FolderState { stamp, present: true })?;
                self.report.folders_made += 1;
            }
        }
        Ok(())
    }
}
