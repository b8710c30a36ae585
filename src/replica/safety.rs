//! Protection from mistakes: the dry run, and the guards over what removes or adds much. The guards are pure: whoever
//! counts gives them what there was before the command began, so that nothing that comes with it can make a loss look
//! small.

use crate::config::Limits;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Amount;
use crate::text::{bytes, local_time, plural, printable, quoted};

/// Whether a scan or an import may remove much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MassDelete {
    /// It is refused.
    #[default]
    Refuse,
    /// The person said that it is meant.
    Allow,
}

/// Whether stamps are taken whose clocks are far ahead of this machine's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClockAhead {
    /// They are refused.
    #[default]
    Refuse,
    /// A person has looked, and it is meant.
    Accept,
}

/// Whether an import may add much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MassAdd {
    /// It is refused.
    #[default]
    Refuse,
    /// The person said that it is meant.
    Allow,
}

/// Whether a command only tells what it would do, instead of doing it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DryRun {
    /// Nothing is changed.
    Yes,
    /// It does what it says.
    #[default]
    No,
}

/// How many of those that were there a command takes away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Loss {
    pub gone: u64,
    /// How many there were before the command began, or an earlier one that is counted together with it.
    pub held: u64,
    /// How many of those that are gone went before the command.
    pub before: u64,
    /// How many of those that are gone are elsewhere, as far as that makes a difference.
    pub moved: u64,
}

/// A refusal before the command, from which on what is done is counted together with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Earlier {
    /// The name of the replica whose bundle was refused.
    pub by: String,
    /// When it was: milliseconds since 1970 UTC.
    pub raised: u64,
}

impl Earlier {
    /// What is said of how much the command itself does, of all that is counted.
    fn words(&self, own: &str, before: &str) -> String {
        let (by, raised) = (printable(&self.by), local_time(self.raised));
        format!(
            ": {own} by this command and {before} before it, counted from before an import that was refused, of a bundle \
             of {by} at {raised}"
        )
    }

    /// What is said of its end.
    fn end(&self) -> String {
        let (by, end) = (printable(&self.by), local_time(counts_until(self.raised)));
        format!(
            "; imports are counted together like that until {end}, a day after that refusal, or until {by} is forgotten or \
             revoked (`mailsync peer remove {by}`, `mailsync peer revoke {by}`)"
        )
    }
}

/// Something that an import did since a person had allowed it: much was removed, or moved elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    /// Whether anything was removed.
    pub removed: bool,
    /// When the first thing was moved out of a folder, if any was: milliseconds since 1970 UTC, by the clock of whoever moved it.
    pub moved: Option<u64>,
}

impl Done {
    /// What a person is told who has not meant it: the way back, for what a command of this beginning (milliseconds since 1970
    /// UTC) has done with bundles of this peer.
    pub fn way_back(self, began: u64, peer: &str) -> String {
        // What came into the trash in the same second, before that, is looked at by whoever restores it.
        let (since, peer) = (local_time(began), printable(peer));
        let mut ways = Vec::new();
        if self.removed {
            ways.push(format!("`mailsync trash restore --since \"{since}\"` brings back what was removed"));
        }
        if let Some(moved) = self.moved {
            let since = local_time(moved);
            ways.push(format!(
                "`mailsync undo --by {peer} --since \"{since}\"` takes back what {peer} has moved since then"
            ));
        }
        format!(
            "much was removed or moved elsewhere, as was allowed; if it was a mistake, {}: here, and everywhere with the next bundles \
             from here",
            ways.join(", and ")
        )
    }
}

/// What is said of an earlier refusal, and of its end, if there was any.
fn of_earlier(earlier: Option<&Earlier>, own: &str, before: &str) -> (String, String) {
    earlier.map_or_else(Default::default, |earlier| (earlier.words(own, before), earlier.end()))
}

/// So long after something was refused by itself last, in milliseconds, it is counted together with what comes: or else what was
/// refused would only have to be tried again and again, each time measured against what is left.
const REFUSAL_COUNTS: u64 = 24 * 60 * 60 * 1000;

/// Whether what was refused at one time still counts at another one, in milliseconds since 1970 UTC. If the clock was
/// put back meanwhile, nobody knows how long ago that was: then it does, as if it had just been refused.
pub(super) fn still_counts(refused: u64, now: u64) -> bool {
    now.saturating_sub(refused) < REFUSAL_COUNTS
}

/// Until when what was refused counts.
pub(super) fn counts_until(refused: u64) -> u64 {
    refused.saturating_add(REFUSAL_COUNTS)
}

/// What a command takes away. Of a folder that was renamed nothing is lost.
#[derive(Clone, Debug, Default)]
pub(super) struct Losses {
    /// Entries that are removed or moved elsewhere, for each folder that loses any, by its name.
    pub by_folder: Vec<(String, Loss)>,
    /// Entries of all folders together that are removed.
    pub all: Loss,
    /// Folders.
    pub folders: Loss,
    /// The refusal from which on it is counted, if it isn't from the beginning of the command.
    pub earlier: Option<Earlier>,
}

/// The options by which a person says that it is meant.
pub(super) const ALLOW_DELETE: &str = "--allow-mass-delete";
pub(super) const ALLOW_ADD: &str = "--allow-mass-add";

/// The command that gets back what vanished.
pub(super) const RESTORE: &str = "mailsync restore";

/// What a loss is by, and so with which command a person says that it is meant. What vanished here and what other
/// replicas say are confirmed apart: who has seen the one has not seen the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum By {
    /// Files that are gone.
    #[default]
    Scan,
    /// The same, or other contents in the same files.
    DeepScan,
    /// The same, found by a repair.
    Repair,
    /// What is not in a mail root that is another one.
    MovedRoot,
    /// What other replicas say.
    Import,
    /// The same, in the answer of a peer that was called: there is no file of it.
    Call,
}

impl By {
    fn doing(self) -> &'static str {
        match self {
            Self::Import | Self::Call => "importing",
            _ => "scanning",
        }
    }

    fn leave(self) -> &'static str {
        match self {
            Self::Import | Self::Call | Self::MovedRoot => "would be removed or moved elsewhere",
            _ => "would be removed",
        }
    }

    /// The command by which a person says that what vanished here is to be gone.
    pub fn confirmation(self) -> &'static str {
        match self {
            Self::Scan | Self::Import | Self::Call => "mailsync scan --allow-mass-delete",
            Self::DeepScan => "mailsync scan --deep --allow-mass-delete",
            Self::Repair => "mailsync doctor --repair --allow-mass-delete",
            Self::MovedRoot => "mailsync doctor --moved-root --allow-mass-delete",
        }
    }

    /// The command that shows what would be removed, and removes nothing.
    pub fn look(self) -> &'static str {
        match self {
            Self::Scan => "mailsync scan --dry-run -v",
            Self::DeepScan => "mailsync scan --deep --dry-run -v",
            Self::Repair => "mailsync doctor --repair --dry-run -v",
            Self::MovedRoot => "mailsync doctor --moved-root --dry-run -v",
            Self::Import => "mailsync import --dry-run -v",
            Self::Call => "mailsync import --dry-run -v FILE",
        }
    }

    /// What to do about this loss: of a folder, or of several.
    fn advice(self, folder: Option<&str>, loss: &Loss) -> String {
        match self {
            Self::Import | Self::Call => {
                let what = folder.map_or_else(|| String::from("--all"), quoted);
                let mut ways = Vec::new();
                if loss.moved < loss.gone {
                    ways.push(format!("`{RESTORE} {what} --since TIME` where it was removed"));
                }
                if loss.moved > 0 {
                    ways.push(String::from(
                        "`mailsync undo --by NAME --since TIME` where it was moved, NAME being that machine's own",
                    ));
                }
                format!(
                    "if it is not meant, run {}, with a time before that: its next bundles take it back; {}",
                    ways.join(", or "),
                    allow(ALLOW_DELETE)
                )
            }
            Self::MovedRoot => format!(
                "see that config.toml names the right directory and layout; if that mail is really to be gone, run `{}`",
                self.confirmation()
            ),
            _ => {
                let what = folder.map_or_else(|| String::from("--all"), quoted);
                format!(
                    "if it went by mistake, mount the disk that holds it, or run `{RESTORE} {what}`, which gets it back; if it is \
                     really to be gone, run `{}`",
                    self.confirmation()
                )
            }
        }
    }
}

/// What to do about what other replicas say.
fn allow(option: &str) -> String {
    format!("if that is meant, add {option} to `mailsync import` or `mailsync update`")
}

/// What a guard has refused, if a dry run goes on behind it to tell what that is.
///
/// # Errors
/// The refusal, if it is no dry run; and what else has failed.
pub(super) fn looked_at(guarded: Result<()>, dry_run: DryRun) -> Result<Option<Error>> {
    match guarded {
        Ok(()) => Ok(None),
        Err(error) if dry_run == DryRun::Yes && error.kind() == ErrorKind::Refused => Ok(Some(error)),
        Err(error) => Err(error),
    }
}

/// The refusal of what a command does by this: `what` with `since` is what a guard has found. Who only looks has seen
/// what it is, and is told that without this option nothing comes of it; who doesn't is told first how to look.
pub(super) fn refusal(dry_run: DryRun, by: By, option: &str, (what, since): (&str, &str), advice: &str) -> Error {
    match dry_run {
        DryRun::Yes => Error::refused(format!("{what}, which is refused without {option}{since}")).advise(advice),
        DryRun::No => {
            let with = match by {
                By::Import => ", with the same bundle,",
                By::Call => ", with what `mailsync export --to NAME -o FILE` writes on that peer for this machine,",
                _ => "",
            };
            let which = if option == ALLOW_ADD { "what it would bring" } else { "which" };
            Error::refused(format!("{what}{since}")).advise(format!("`{}`{with} shows {which}; {advice}", by.look()))
        }
    }
}

/// The guard over mass removals: refuses to take more than half of a large folder, more than a quarter of all mail, or
/// most folders.
pub(super) fn guard_losses(
    (allowed, dry_run): (MassDelete, DryRun),
    limits: &Limits,
    by: By,
    losses: &Losses,
) -> Result<()> {
    if allowed == MassDelete::Allow {
        return Ok(());
    }
    let more_than_half = |loss: &Loss| loss.gone > loss.held / 2;
    let large = losses.by_folder.iter().find(|(_, loss)| loss.held > limits.folder && more_than_half(loss));
    let (all, folders) = (&losses.all, &losses.folders);
    let most_folders = more_than_half(folders);
    let much = all.gone > limits.all && all.gone > all.held / 4;
    // A disk that isn't mounted, and a program that has made a folder in its place, look like this.
    let everything = all.gone > 0 && all.gone == all.held && most_folders;
    let large = large.filter(|(_, loss)| loss.gone == all.gone || !much);
    let (what, loss) = if let Some((name, loss @ Loss { gone, held, .. })) = large {
        (format!("{gone} of the {held} messages in {name} {}", by.leave()), loss)
    } else if much || everything {
        let leave = if by == By::MovedRoot { by.leave() } else { "would be removed" };
        (format!("{} of all {} messages {leave}", all.gone, all.held), all)
    } else if folders.held > limits.folders && most_folders {
        (format!("{} of the {} folders would be removed", folders.gone, folders.held), folders)
    } else {
        return Ok(());
    };
    let folder = large.map(|(name, _)| name.as_str());
    let own = loss.gone.saturating_sub(loss.before).to_string();
    let (since, end) = of_earlier(losses.earlier.as_ref(), &own, &loss.before.to_string());
    let advice = format!("{}{end}", by.advice(folder, loss));
    let what = format!("{}: {what}", by.doing());
    Err(refusal(dry_run, by, ALLOW_DELETE, (&what, &since), &advice))
}

/// What imports add.
#[derive(Clone, Debug, Default)]
pub(super) struct Gain {
    /// By all that is counted together.
    pub all: Amount,
    /// By the command itself.
    pub own: Amount,
    /// The refusal from which on it is counted, if it isn't from the beginning of the command.
    pub earlier: Option<Earlier>,
}

/// The guard over mass additions: refuses what is more than there was, and more than a mailbox gets in a while.
pub(super) fn guard_additions(
    (allowed, dry_run): (MassAdd, DryRun),
    limits: &Limits,
    by: By,
    gain: &Gain,
    held: &Amount,
) -> Result<()> {
    if allowed == MassAdd::Allow {
        return Ok(());
    }
    let Some(TooMuch { what, all, own, in_words }) = too_much(limits, gain, held) else { return Ok(()) };
    let before = in_words(all.saturating_sub(own));
    let (since, end) = of_earlier(gain.earlier.as_ref(), &in_words(own), &before);
    let advice = format!("{}{end}", allow(ALLOW_ADD));
    let what = format!("importing: {what}");
    Err(refusal(dry_run, by, ALLOW_ADD, (&what, &since), &advice))
}

/// Something of which too much would be added.
struct TooMuch {
    /// How much it is, beside what, for people.
    what: String,
    /// By all that is counted together.
    all: u64,
    /// By the command itself.
    own: u64,
    /// How these are told.
    in_words: fn(u64) -> String,
}

/// The first of the things that are counted of which too much would be added.
fn too_much(limits: &Limits, gain: &Gain, held: &Amount) -> Option<TooMuch> {
    let too_much = |added: u64, limit: u64, held: u64| added > limit && added > held;
    let count = |count: u64| count.to_string();
    let (added, own) = (&gain.all, &gain.own);
    let found: (String, u64, u64, fn(u64) -> String) = if too_much(added.messages, limits.add_messages, held.messages) {
        (
            format!("{} would be added to {}", plural(added.messages, "message"), held.messages),
            added.messages,
            own.messages,
            count,
        )
    } else if too_much(added.bytes, limits.add_bytes, held.bytes) {
        (
            format!("{} of mail would be added to {}", bytes(added.bytes), bytes(held.bytes)),
            added.bytes,
            own.bytes,
            bytes,
        )
    } else if too_much(added.folders, limits.add_folders, held.folders) {
        (
            format!("{} would be added to {}", plural(added.folders, "folder"), held.folders),
            added.folders,
            own.folders,
            count,
        )
    } else if too_much(added.tombstones, limits.add_tombstones, held.messages) {
        let tombstones = plural(added.tombstones, "removed message");
        (
            format!("{tombstones} that were never here would be remembered, beside {} here", held.messages),
            added.tombstones,
            own.tombstones,
            count,
        )
    } else if too_much(added.incarnations, limits.add_incarnations, held.incarnations) {
        let incarnations = plural(added.incarnations, "incarnation");
        (
            format!("{incarnations} would become known that have told nothing here themselves"),
            added.incarnations,
            own.incarnations,
            count,
        )
    } else if too_much(added.flags, limits.add_flags, held.flags) {
        (
            format!(
                "{} would be set for the first time, more than eight for each message",
                plural(added.flags, "flag")
            ),
            added.flags,
            own.flags,
            count,
        )
    } else if too_much(added.keyword_bytes, limits.add_keyword_bytes, held.keyword_bytes) {
        (
            format!("{} of keywords would be added, more than 64 bytes for each message", bytes(added.keyword_bytes)),
            added.keyword_bytes,
            own.keyword_bytes,
            bytes,
        )
    } else {
        return None;
    };
    let (what, all, own, in_words) = found;
    Some(TooMuch { what, all, own, in_words })
}

/// What an import is to write, such as mail, must find room: a disk that fills up in the middle leaves none for anybody
/// else. `free` is what the file system tells, if it does.
///
/// # Errors
/// There is too little; both figures are told.
pub(super) fn check_room(what: &str, needed: u64, free: Option<u64>, dir: &std::path::Path) -> Result<()> {
    match free {
        Some(free) if needed > free => Err(Error::failed(format!(
            "importing: {} of {what}, counted in blocks of the disk, are to be written below {}, and {} are free there",
            bytes(needed),
            dir.display(),
            bytes(free)
        ))
        .advise("make room, then import again; nothing was changed")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_counts_for_a_day_by_whatever_the_clock_shows() {
        const HOUR: u64 = 60 * 60 * 1000;
        let now = 1_800_000_000_000;
        for (refused, counts) in [
            (now, true),
            (now - 24 * HOUR + 1, true),
            (now - 24 * HOUR, false),
            (0, false),
            (now + 23 * HOUR, true),
            (now + 24 * HOUR, true),
            (u64::MAX, true),
        ] {
            assert_eq!(still_counts(refused, now), counts, "{refused}");
        }
    }

    #[test]
    fn the_guard_refuses_to_remove_more_than_half_of_a_large_folder() {
        // The number of removed messages, the number of all messages, and whether the guard refuses.
        let table = [
            (0, 0, false),
            (100, 100, false),
            (50, 101, false),
            (51, 101, true),
            (51, 102, false),
            (52, 102, true),
            (101, 101, true),
            (500, 1000, false),
            (501, 1000, true),
        ];
        for (gone, held, refused) in table {
            let by_folder = vec![
                (String::from("small"), Loss { gone: 1, held: 1, before: 0, moved: 0 }),
                (String::from("INBOX"), Loss { gone, held, before: 0, moved: 0 }),
            ];
            let losses = Losses { by_folder, ..Losses::default() };
            check(&losses, refused, &format!("{gone} of the {held} messages in INBOX"));
        }
    }

    #[test]
    fn the_guard_refuses_to_remove_more_than_a_quarter_of_all_mail() {
        let table = [
            (100, 100, false),
            (101, 101, true),
            (101, 404, false),
            (101, 403, true),
            (500, 2000, false),
            (501, 2000, true),
        ];
        for (gone, held, refused) in table {
            let losses = Losses { all: Loss { gone, held, before: 0, moved: 0 }, ..Losses::default() };
            check(&losses, refused, &format!("{gone} of all {held} messages"));
        }
    }

    #[test]
    fn the_guard_refuses_to_remove_most_folders() {
        let table = [(10, 10, false), (5, 11, false), (6, 11, true), (6, 12, false), (7, 12, true)];
        for (gone, held, refused) in table {
            let losses = Losses { folders: Loss { gone, held, before: 0, moved: 0 }, ..Losses::default() };
            check(&losses, refused, &format!("{gone} of the {held} folders"));
        }
    }

    #[track_caller]
    fn check(losses: &Losses, refused: bool, words: &str) {
        for by in [By::Scan, By::Import, By::Call] {
            let limits = Limits::default();
            for dry_run in [DryRun::No, DryRun::Yes] {
                let guarded = guard_losses((MassDelete::Refuse, dry_run), &limits, by, losses);
                assert_eq!(guarded.is_err(), refused, "{losses:?}");
                if let Err(error) = guarded {
                    let error = error.to_string();
                    assert!(error.contains(words) && error.contains("--allow-mass-delete"), "{error}");
                    let is_told_to_look = error.contains(&format!("`{}`", by.look()));
                    assert_eq!(is_told_to_look, dry_run == DryRun::No, "{error}");
                }
                assert!(guard_losses((MassDelete::Allow, dry_run), &limits, by, losses).is_ok(), "{losses:?}");
            }
        }
    }

    #[test]
    fn the_guard_refuses_to_more_than_double_a_mailbox_by_much() {
        let limits = Limits {
            add_messages: 10,
            add_bytes: 1000,
            add_folders: 3,
            add_tombstones: 20,
            add_incarnations: 5,
            add_flags: 100,
            add_keyword_bytes: 500,
            ..Limits::default()
        };
        let held =
            Amount { messages: 30, bytes: 5000, folders: 4, flags: 240, keyword_bytes: 1920, ..Amount::default() };
        let none = Amount::default();
        let table = [
            (none, held, None),
            (
                Amount {
                    messages: 10,
                    bytes: 1000,
                    folders: 3,
                    tombstones: 20,
                    incarnations: 5,
                    flags: 100,
                    keyword_bytes: 500,
                },
                none,
                None,
            ),
            (Amount { messages: 11, ..none }, none, Some("11 messages would be added to 0")),
            (
                Amount {
                    messages: 30,
                    bytes: 5000,
                    folders: 4,
                    tombstones: 30,
                    incarnations: 5,
                    flags: 240,
                    keyword_bytes: 1920,
                },
                held,
                None,
            ),
            (Amount { incarnations: 6, ..none }, held, Some("6 incarnations would become known")),
            (Amount { flags: 241, ..none }, held, Some("241 flags would be set for the first time")),
            (Amount { keyword_bytes: 1921, ..none }, held, Some("1.9 KiB of keywords would be added")),
            (Amount { messages: 31, ..none }, held, Some("31 messages would be added to 30")),
            (Amount { bytes: 5001, ..none }, held, Some("4.9 KiB of mail would be added to 4.9 KiB")),
            (Amount { folders: 5, ..none }, held, Some("5 folders would be added to 4")),
            (Amount { tombstones: 31, ..none }, held, Some("31 removed messages that were never here")),
        ];
        for (added, held, refused) in table {
            let gain = Gain { all: added, own: added, earlier: None };
            let guarded = guard_additions((MassAdd::Refuse, DryRun::No), &limits, By::Import, &gain, &held);
            assert_eq!(guarded.is_err(), refused.is_some(), "{added:?} to {held:?}");
            if let (Err(error), Some(words)) = (guarded, refused) {
                assert!(error.to_string().contains(words), "{error}");
                assert!(error.to_string().contains("--allow-mass-add"), "{error}");
            }
            assert!(
                guard_additions((MassAdd::Allow, DryRun::No), &limits, By::Import, &gain, &held).is_ok(),
                "{added:?} to {held:?}"
            );
        }
    }

    #[test]
    fn a_refusal_says_what_the_command_does_and_with_what_it_is_counted() {
        let earlier = || Some(Earlier { by: String::from("desktop"), raised: 1_800_000_000_000 });
        let all = Loss { gone: 150, held: 300, before: 110, moved: 0 };
        let losses = Losses { all, earlier: earlier(), ..Losses::default() };
        let refuse = (MassDelete::Refuse, DryRun::No);
        let removing = guard_losses(refuse, &Limits::default(), By::Import, &losses).unwrap_err();
        let amount = |bytes| Amount { bytes, ..Amount::default() };
        let gain = Gain { all: amount(3 << 30), own: amount(1 << 30), earlier: earlier() };
        let adding =
            guard_additions((MassAdd::Refuse, DryRun::No), &Limits::default(), By::Import, &gain, &Amount::default())
                .unwrap_err()
                .to_string();
        for (error, words) in [
            (removing.to_string(), [": 40 by this command and 110 before it", "--allow-mass-delete"]),
            (adding, [": 1.0 GiB by this command and 2.0 GiB before it", "--allow-mass-add"]),
        ] {
            let raised = local_time(1_800_000_000_000);
            let over = local_time(1_800_000_000_000 + 24 * 60 * 60 * 1_000);
            let common = [
                &format!("an import that was refused, of a bundle of desktop at {raised}"),
                &format!("until {over}, a day after"),
                "`mailsync peer remove desktop`",
            ];
            for words in words.into_iter().chain(common) {
                assert!(error.contains(words), "{words}: {error}");
            }
        }
    }

    #[test]
    fn the_way_back_is_that_of_what_was_done() {
        for (removed, moved, restore, undo) in
            [(true, false, true, false), (false, true, false, true), (true, true, true, true)]
        {
            let moved = moved.then_some(1_700_000_000_000);
            let words = Done { removed, moved }.way_back(1_800_000_000_000, "desktop");
            assert_eq!(words.contains("`mailsync trash restore --since \"20"), restore, "{words}");
            assert_eq!(words.contains("`mailsync undo --by desktop --since \"2023-11-"), undo, "{words}");
        }
    }

    #[test]
    fn too_little_room_is_told_with_both_figures() {
        let dir = std::path::Path::new("/mail");
        for (needed, free) in [(0, Some(0)), (5, Some(5)), (u64::MAX, None)] {
            assert!(check_room("mail", needed, free, dir).is_ok(), "{needed} of {free:?}");
        }
        let error = check_room("mail", 2048, Some(1024), dir).unwrap_err().to_string();
        for words in ["2.0 KiB of mail", "1.0 KiB", "/mail", "nothing was changed"] {
            assert!(error.contains(words), "{error}");
        }
    }
}
