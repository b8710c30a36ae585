//! News from the system: in which directories something has changed. What isn't told is not known to be unchanged.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mailsync::error::Error;
use mailsync::maildir::keywords;
use mailsync::replica::is_called_a_bundle;
use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RemoveKind, RenameMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

/// What a directory is watched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Messages that come, go and get other names.
    Messages,
    /// Folders that come and go.
    Folders,
    /// Jobs that somebody asks for.
    Outbox,
    /// That the outbox is made.
    AboveOutbox,
    /// Bundles that arrive, in the directory of this number.
    Arrivals(usize),
}

/// Directories, and what each is watched for.
pub type Roles = BTreeMap<PathBuf, Vec<Role>>;

/// What was told since the last time.
#[derive(Debug, Default)]
pub struct News {
    /// Something in the mail has changed.
    pub mail: bool,
    /// Something has come to these directories.
    pub arrived: BTreeSet<usize>,
    /// There was more news than the system keeps.
    pub lost: bool,
    /// Somebody has called.
    woken: bool,
}

impl News {
    fn is_any(&self) -> bool {
        self.mail || self.lost || self.woken || !self.arrived.is_empty()
    }
}

#[derive(Debug, Default)]
struct Inner {
    news: News,
    roles: HashMap<PathBuf, Vec<Role>>,
    /// Watched directories whose names have gone.
    gone: HashSet<PathBuf>,
}

#[derive(Debug, Default)]
struct Shared {
    inner: Mutex<Inner>,
    told: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, event: notify::Result<notify::Event>) {
        let mut inner = self.lock();
        match event {
            Ok(event) if event.need_rescan() => inner.news.lost = true,
            Ok(event) => event.paths.iter().for_each(|path| inner.hear(event.kind, path)),
            // What it was about isn't known.
            Err(_) => inner.news.lost = true,
        }
        if inner.news.is_any() {
            self.told.notify_all();
        }
    }
}

impl Inner {
    fn hear(&mut self, kind: EventKind, path: &Path) {
        let left = matches!(kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)));
        if left && self.roles.contains_key(path) {
            self.gone.insert(path.to_owned());
            self.news.mail = true;
        }
        let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return };
        for role in self.roles.get(dir).into_iter().flatten() {
            if !is_news(*role, kind, name, || path.is_dir()) {
                continue;
            }
            match role {
                Role::Arrivals(number) => drop(self.news.arrived.insert(*number)),
                _ => self.news.mail = true,
            }
        }
    }
}

/// Whether it matters that this has happened to a name in a directory that is watched for this. `is_dir` tells whether it is
/// that of a directory.
fn is_news(role: Role, kind: EventKind, name: &OsStr, is_dir: impl Fn() -> bool) -> bool {
    let came = matches!(kind, EventKind::Create(_) | EventKind::Modify(ModifyKind::Name(RenameMode::To)));
    let left = matches!(kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)));
    let written = matches!(
        kind,
        EventKind::Modify(ModifyKind::Data(_)) | EventKind::Access(AccessKind::Close(AccessMode::Write))
    );
    let hidden = name.as_bytes().starts_with(b".");
    match role {
        Role::Messages => (came || left || written) && !hidden,
        Role::Folders => match kind {
            EventKind::Create(CreateKind::Folder) | EventKind::Remove(RemoveKind::Folder) => true,
            // Mail servers keep files of their own there, and rename them all the time.
            EventKind::Modify(ModifyKind::Name(RenameMode::To)) => name == keywords::FILE || is_dir(),
            _ => name == keywords::FILE && (came || left || written),
        },
        Role::Outbox => came && !hidden,
        Role::AboveOutbox => came && is_dir(),
        Role::Arrivals(_) => (came || written) && is_called_a_bundle(Path::new(name)),
    }
}

/// Watches directories.
pub struct Notices {
    shared: Arc<Shared>,
    watcher: Option<RecommendedWatcher>,
    /// What is watched, and which directory that was.
    watched: BTreeMap<PathBuf, (u64, u64)>,
}

impl Notices {
    /// Watches nothing.
    pub fn none() -> Self {
        Self { shared: Arc::default(), watcher: None, watched: BTreeMap::new() }
    }

    /// What ends a wait, from another thread.
    pub fn waker(&self) -> impl Fn() + Send + 'static {
        let shared = Arc::clone(&self.shared);
        move || {
            shared.lock().news.woken = true;
            shared.told.notify_all();
        }
    }

    /// Waits until there is news, or for so long.
    pub fn wait(&self, most: Duration) -> News {
        let waited = self.shared.told.wait_timeout_while(self.shared.lock(), most, |inner| !inner.news.is_any());
        std::mem::take(&mut waited.unwrap_or_else(PoisonError::into_inner).0.news)
    }

    /// Watches these directories, and no others. Those that aren't there are left out. Returns whether there are some among
    /// them that were not watched: what has happened there before was not told.
    ///
    /// # Errors
    /// The system doesn't let it watch all of them. It watches as many as it can.
    pub fn watch(&mut self, roles: &Roles) -> (bool, Option<Error>) {
        let watcher = match &mut self.watcher {
            Some(watcher) => watcher,
            None => match listen(&self.shared) {
                Ok(watcher) => self.watcher.insert(watcher),
                Err(error) => return (false, Some(deaf(&error))),
            },
        };
        let gone = {
            let mut inner = self.shared.lock();
            inner.roles = roles.iter().map(|(dir, roles)| (dir.clone(), roles.clone())).collect();
            std::mem::take(&mut inner.gone)
        };
        // The thread that hears the news answers here, too: it must not be waited for with the lock held.
        let left: Vec<PathBuf> =
            self.watched.keys().filter(|dir| gone.contains(*dir) || !roles.contains_key(*dir)).cloned().collect();
        for dir in left {
            self.watched.remove(&dir);
            // The system has ended the watch of a directory that is gone.
            let _ = watcher.unwatch(&dir);
        }
        let (mut added, mut failed) = (false, None);
        for dir in roles.keys() {
            let Ok(meta) = std::fs::metadata(dir) else { continue };
            let identity = (meta.dev(), meta.ino());
            match self.watched.get(dir) {
                Some(known) if *known == identity => continue,
                // Something else has that name.
                Some(_) => drop(watcher.unwatch(dir)),
                None => {}
            }
            match watcher.watch(dir, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(dir.clone(), identity);
                    added = true;
                }
                Err(error) => match error.kind {
                    notify::ErrorKind::PathNotFound => {}
                    notify::ErrorKind::MaxFilesWatch => {
                        failed = Some(limited(dir, self.watched.len()));
                        break;
                    }
                    _ => {
                        failed.get_or_insert_with(|| unwatched(dir, &error));
                    }
                },
            }
        }
        (added, failed)
    }
}

fn listen(shared: &Arc<Shared>) -> notify::Result<RecommendedWatcher> {
    let shared = Arc::clone(shared);
    notify::recommended_watcher(move |event| shared.hear(event))
}

/// The value of a limit of inotify(7) as it is now.
fn limit(name: &str) -> String {
    let value = std::fs::read_to_string(Path::new("/proc/sys/fs/inotify").join(name)).unwrap_or_default();
    let value = value.trim();
    if value.is_empty() { String::from("unknown") } else { value.to_owned() }
}

const MEANWHILE: &str = "until then all is looked at at intervals, and nothing is missed";

fn deaf(error: &notify::Error) -> Error {
    let instances = limit("max_user_instances");
    let error = io::Error::other(words(error));
    Error::failed(format!(
        "listening to what changes: {error} (fs.inotify.max_user_instances is {instances} for all programs of a user)"
    ))
    .advise(format!("raise it with `sysctl fs.inotify.max_user_instances=1024`, as root; {MEANWHILE}"))
}

fn limited(dir: &Path, watched: usize) -> Error {
    let most = limit("max_user_watches");
    Error::failed(format!(
        "watching {}: the system lets this user watch no more directories; {watched} are watched here \
         (fs.inotify.max_user_watches is {most} for all programs of a user)",
        dir.display()
    ))
    .advise(format!("raise it with `sysctl fs.inotify.max_user_watches=1048576`, as root; {MEANWHILE}"))
}

fn unwatched(dir: &Path, error: &notify::Error) -> Error {
    Error::failed(format!("watching {}: {}", dir.display(), words(error)))
        .advise(format!("see that it can be read; {MEANWHILE}"))
}

/// What is wrong, without the directory, which is told anyway.
fn words(error: &notify::Error) -> String {
    match &error.kind {
        notify::ErrorKind::Io(error) => error.to_string(),
        other => format!("{other:?}"),
    }
}

/// That more has happened than the system keeps news of.
pub fn lost() -> Error {
    let most = limit("max_queued_events");
    Error::failed(format!(
        "listening to what changes: more has happened at once than the system keeps (fs.inotify.max_queued_events is {most})"
    ))
    .advise("nothing is missed, as all is looked at now; if this is told often, raise it with `sysctl`, as root")
}

#[cfg(test)]
mod tests {
    use notify::event::{DataChange, MetadataKind};

    use super::*;

    const NEW_FILE: EventKind = EventKind::Create(CreateKind::File);
    const NEW_DIR: EventKind = EventKind::Create(CreateKind::Folder);
    const GONE_FILE: EventKind = EventKind::Remove(RemoveKind::File);
    const GONE_DIR: EventKind = EventKind::Remove(RemoveKind::Folder);
    const TO: EventKind = EventKind::Modify(ModifyKind::Name(RenameMode::To));
    const FROM: EventKind = EventKind::Modify(ModifyKind::Name(RenameMode::From));
    const BOTH: EventKind = EventKind::Modify(ModifyKind::Name(RenameMode::Both));
    const WRITTEN: EventKind = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    const CLOSED: EventKind = EventKind::Access(AccessKind::Close(AccessMode::Write));
    const READ: EventKind = EventKind::Access(AccessKind::Open(AccessMode::Any));
    const TOUCHED: EventKind = EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any));

    #[test]
    fn only_what_can_matter_is_news() {
        use Role::{AboveOutbox, Arrivals, Folders, Messages, Outbox};
        let table: &[(Role, &str, bool, &[EventKind], &[EventKind])] = &[
            (Messages, "1.a:2,S", false, &[NEW_FILE, GONE_FILE, TO, FROM, WRITTEN, CLOSED], &[READ, TOUCHED, BOTH]),
            (Messages, ".nfs0001", false, &[], &[NEW_FILE, GONE_FILE, TO, FROM, WRITTEN, CLOSED]),
            (Folders, ".Archive", true, &[NEW_DIR, GONE_DIR, TO], &[READ, TOUCHED]),
            (Folders, "dovecot-uidlist", false, &[], &[NEW_FILE, GONE_FILE, TO, FROM, WRITTEN, CLOSED, READ, TOUCHED]),
            (Folders, "dovecot-keywords", false, &[NEW_FILE, GONE_FILE, TO, WRITTEN, CLOSED], &[READ, TOUCHED]),
            (Outbox, "17-ab.json", false, &[TO, NEW_FILE], &[GONE_FILE, FROM, READ]),
            (Outbox, ".17-ab.part", false, &[], &[NEW_FILE, FROM]),
            (AboveOutbox, "outbox", true, &[NEW_DIR], &[READ]),
            (AboveOutbox, "state.db-wal", false, &[], &[NEW_FILE, WRITTEN, CLOSED]),
            (Arrivals(0), "a-b-1.zst.age", false, &[NEW_FILE, TO, WRITTEN, CLOSED], &[GONE_FILE, FROM, READ, TOUCHED]),
            (Arrivals(0), ".mailsync-0011.part", false, &[], &[NEW_FILE, WRITTEN, CLOSED]),
            (Arrivals(0), "notes.txt", false, &[], &[NEW_FILE, TO, WRITTEN, CLOSED]),
        ];
        for (role, name, dir, news, none) in table {
            let told = |kind: &EventKind| is_news(*role, *kind, OsStr::new(name), || *dir);
            let wrong: Vec<_> =
                news.iter().filter(|kind| !told(kind)).chain(none.iter().filter(|kind| told(kind))).collect();
            assert!(wrong.is_empty(), "{role:?} {name}: {wrong:?}");
        }
    }

    #[test]
    fn what_overflows_or_breaks_is_news_of_everything() {
        for event in [
            Ok(notify::Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan)),
            Err(notify::Error::io(io::Error::other("broken"))),
        ] {
            let notices = Notices::none();
            notices.shared.hear(event);
            let news = notices.wait(Duration::ZERO);
            assert!(news.lost && !news.mail);
            assert!(!notices.wait(Duration::ZERO).is_any(), "it is told once");
        }
    }

    #[test]
    fn a_directory_that_takes_the_place_of_another_is_watched_instead() {
        let dir = tempfile::tempdir().unwrap();
        let (cur, old) = (dir.path().join("cur"), dir.path().join("old"));
        std::fs::create_dir(&cur).unwrap();
        let roles = Roles::from([(cur.clone(), vec![Role::Messages])]);
        let mut notices = Notices::none();
        let (added, error) = notices.watch(&roles);
        assert!(added && error.is_none(), "{error:?}");
        assert!(!notices.watch(&roles).0, "it is watched");
        std::fs::rename(&cur, &old).unwrap();
        std::fs::create_dir(&cur).unwrap();
        assert!(notices.watch(&roles).0);
        notices.wait(Duration::ZERO);
        std::fs::write(cur.join("1.a:2,S"), "mail").unwrap();
        assert!(notices.wait(Duration::from_secs(60)).mail);
    }
}
