//! The mail root that the state knows. Another one in the configuration, or another layout, makes all mail look
//! removed: nothing is done there until a person says that it is meant.

use super::Replica;
use super::safety::{DryRun, MassDelete};
use super::scan::{Purpose, ScanOptions, ScanReport};
use super::transaction::Transaction;
use crate::disk::is_there;
use crate::error::{Error, Result};
use crate::state::{Action, MailRoot, Occasion, Pending};

/// How to take another mail root.
#[derive(Clone, Copy, Debug, Default)]
pub struct MoveOptions {
    /// Whether to do it, or to tell what would change.
    pub dry_run: DryRun,
    /// Whether it may turn out that much is not there.
    pub mass_delete: MassDelete,
}

impl Replica {
    /// The mail root that the configuration names.
    fn configured_root(&self) -> MailRoot {
        MailRoot { path: self.mail_root().to_owned(), layout: self.layout }
    }

    /// Records the mail root that the configuration names as the one of this state.
    pub(super) fn record_root(&self, tx: &Transaction<'_>) -> Result<()> {
        tx.set_mail_root(&self.configured_root())
    }

    /// The configuration must name the mail root that the state knows, and its layout.
    ///
    /// # Errors
    /// It names another one.
    pub(super) fn check_root_is_known(&self) -> Result<()> {
        let Some(known) = self.state.mail_root()? else { return Ok(()) };
        let configured = self.configured_root();
        let changes = changes(&known, &configured);
        let path_alone = known.layout == configured.layout;
        if changes.is_empty() || (path_alone && self.is_same_directory(&known)) {
            return Ok(());
        }
        let what = format!("opening {}: {}", self.home.config_file().display(), changes.join(", and "));
        Err(Error::refused(what).advise(
            "correct it there; if the mail was moved, or its folders were renamed in that way, run `mailsync doctor --moved-root`",
        ))
    }

    /// Whether the known mail root leads to the same directory as the configured one.
    fn is_same_directory(&self, known: &MailRoot) -> bool {
        let canonical = |path| self.world.disk.canonical(path).ok();
        canonical(&known.path).is_some_and(|path| Some(path) == canonical(self.mail_root()))
    }

    /// Takes the mail root, and the layout, that the configuration names: the mail was moved there. All directories are
    /// looked at anew, and what isn't there is taken for removed, unless it is much.
    ///
    /// # Errors
    /// As for [`Replica::scan`]; then nothing was changed. Of a dry run that would be refused, the report says so.
    pub fn move_root(&self, options: &MoveOptions) -> Result<ScanReport> {
        let tx = self.begin()?;
        tx.on_occasion(Occasion { action: Action::Doctor, peer: None, bundle: None });
        self.record_root(&tx)?;
        tx.forget_directories()?;
        self.take_back_interrupted_moves(&tx)?;
        let scan = ScanOptions { dry_run: options.dry_run, mass_delete: options.mass_delete, ..ScanOptions::default() };
        let report = self.scan_within(&tx, &scan, Purpose::MovedRoot)?;
        if options.dry_run == DryRun::No {
            let text = format!("moved to {}: {report}", self.mail_root().display());
            tx.record(self.now(), Action::Doctor, None, &text)?;
            tx.commit()?;
            self.materialise()?;
            self.roll_on()?;
        } else if self.state.is_rehearsing() {
            tx.commit()?;
        }
        Ok(report)
    }

    /// An interrupted command may not have moved what it was to move. Files that are where they were then are moved
    /// once the scan has seen them there.
    fn take_back_interrupted_moves(&self, tx: &Transaction<'_>) -> Result<()> {
        let (mut after, mut unmoved) = (None, Vec::new());
        loop {
            let batch = self.state.pending_batch(after, 512)?;
            let Some((last, _)) = batch.last() else { break };
            after = Some(last.key);
            for (row, pending) in batch {
                if let Pending::Move(from) = pending
                    && is_there(&*self.world.disk, &self.path(&from)?)?
                {
                    // All places are cleared first, since files may be about to swap their names.
                    tx.set_place(row.key, None)?;
                    unmoved.push((row.key, from));
                }
            }
        }
        for (key, from) in unmoved {
            tx.set_place(key, Some(&from))?;
            tx.set_pending(key, &Pending::Reconsider)?;
        }
        Ok(())
    }
}

/// How the configured mail root differs from the known one, for people.
fn changes(known: &MailRoot, configured: &MailRoot) -> Vec<String> {
    let mut changes = Vec::new();
    let mut compare = |key: &str, known: String, configured: String| {
        if known != configured {
            changes.push(format!("{key} is {configured}, and the state knows mail with {known}"));
        }
    };
    compare("mail_root", known.path.display().to_string(), configured.path.display().to_string());
    let (before, now) = (known.layout, configured.layout);
    compare("layout", before.kind.as_str().to_owned(), now.kind.as_str().to_owned());
    compare("folder_names", before.encoding.as_str().to_owned(), now.encoding.as_str().to_owned());
    compare("inbox_at_root", before.inbox_at_root.to_string(), now.inbox_at_root.to_string());
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maildir::{Layout, LayoutKind, NameEncoding};

    #[test]
    fn every_key_that_leads_to_other_directories_is_noticed() {
        let layout = Layout { kind: LayoutKind::Fs, encoding: NameEncoding::Utf8, inbox_at_root: false };
        let known = MailRoot { path: "/mail".into(), layout };
        let with = |layout| MailRoot { path: "/mail".into(), layout };
        let table = [
            (known.clone(), None),
            (MailRoot { path: "/other".into(), layout }, Some("mail_root is /other")),
            (with(Layout { kind: LayoutKind::MaildirPlusPlus, ..layout }), Some("layout is maildir++")),
            (with(Layout { encoding: NameEncoding::ModifiedUtf7, ..layout }), Some("folder_names is utf-7")),
            (with(Layout { inbox_at_root: true, ..layout }), Some("inbox_at_root is true")),
        ];
        for (configured, words) in table {
            let changes = changes(&known, &configured);
            assert_eq!(changes.len(), usize::from(words.is_some()), "{changes:?}");
            assert!(words.is_none_or(|words| changes[0].starts_with(words)), "{changes:?}");
        }
    }
}
