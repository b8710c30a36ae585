//! Who has made a change: replicas by their names, and the incarnations of which they have shown that they are theirs.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::Replica;
use crate::bundle::ReplicaId;
use crate::error::{Error, Result};
use crate::model::{Clock, Incarnation, Stamp};

/// What a person types of an id has so many characters at least: who is called so is a typing error else.
const LEAST_OF_ID: usize = 4;

/// A replica that a person names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Author {
    /// The name by which it is known here; its id, if it is no peer any more.
    pub(super) name: String,
    /// Who it is.
    pub(super) who: Who,
}

/// Who has made changes, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// A replica.
    Replica(ReplicaId),
    /// Whoever has this incarnation: bundles of others have told of it, and so its id isn't known.
    Incarnation(Incarnation),
}

/// Somebody's changes from some time on.
#[derive(Clone, Debug)]
pub(super) struct ChangesOf {
    /// The incarnations that are theirs.
    pub(super) incarnations: BTreeSet<Incarnation>,
    /// The first clock.
    pub(super) since: Clock,
}

impl ChangesOf {
    /// Whether a change with this stamp is one of them.
    pub(super) fn has(&self, stamp: Stamp) -> bool {
        stamp.clock >= self.since && self.incarnations.contains(&stamp.incarnation)
    }
}

/// What people are told of those who have made changes, each found out once: a list has many changes of a few replicas.
#[derive(Debug)]
pub struct Names<'r> {
    replica: &'r Replica,
    known: RefCell<BTreeMap<Incarnation, Option<String>>>,
}

impl Names<'_> {
    /// The name of who has made a change, or its id if it is no peer any more. If nobody knows whose it is, the
    /// incarnation: by that a person can name it.
    pub fn of(&self, incarnation: Incarnation) -> Result<String> {
        Ok(self.known(incarnation)?.unwrap_or_else(|| nobody(incarnation)))
    }

    /// The same for a narrow column: how the incarnation begins.
    pub fn short_of(&self, incarnation: Incarnation) -> Result<String> {
        Ok(self.known(incarnation)?.unwrap_or_else(|| incarnation.to_string()[..8].to_owned()))
    }

    /// The same; `None` if nobody knows whose it is.
    pub(super) fn known(&self, incarnation: Incarnation) -> Result<Option<String>> {
        if let Some(name) = self.known.borrow().get(&incarnation) {
            return Ok(name.clone());
        }
        let name = self.replica.who(incarnation)?;
        self.known.borrow_mut().insert(incarnation, name.clone());
        Ok(name)
    }
}

impl Replica {
    /// Names for changes.
    pub fn names(&self) -> Names<'_> {
        Names { replica: self, known: RefCell::default() }
    }

    /// The replica that a person means: this one or a peer by its name, or any replica by its id or how that begins. One of
    /// which no bundle of its own came is meant by its incarnation, as lists show it, or how that begins.
    ///
    /// # Errors
    /// Nobody is called so, or several are.
    pub(super) fn author(&self, name: &str) -> Result<Author> {
        let me = self.public_key().id();
        let is_me = name == self.config.name || name.parse() == Ok(me);
        // The configuration can give this replica a name that a peer has already.
        if name == self.config.name && self.state.peer_by_name(name)?.is_some() {
            return Err(Error::usage(format!("both this replica and a peer are called {name}")).advise(format!(
                "give the id instead, or use `mailsync peer rename {name}` to call the peer otherwise"
            )));
        }
        if is_me {
            return Ok(self.as_author());
        }
        if let Ok(id) = name.parse::<ReplicaId>() {
            return self.author_of_id(&id);
        }
        if let Some(peer) = self.state.peer_by_name(name)? {
            self.note_namesakes(&peer)?;
            return Ok(Author { name: peer.name, who: Who::Replica(peer.id) });
        }
        self.author_that_begins(name)?.ok_or_else(|| self.unknown_peer(name))
    }

    /// This replica.
    pub(super) fn as_author(&self) -> Author {
        Author { name: self.config.name.clone(), who: Who::Replica(self.public_key().id()) }
    }

    fn author_of_id(&self, id: &ReplicaId) -> Result<Author> {
        // It may have another key by now.
        let id = self.state.present_id(id)?;
        let peer = self.state.peer_by_id(&id)?;
        Ok(Author { name: peer.map_or_else(|| id.to_string(), |peer| peer.name), who: Who::Replica(id) })
    }

    /// The replica whose id begins so, or its incarnation if nothing else is known of it.
    ///
    /// # Errors
    /// There are several.
    fn author_that_begins(&self, beginning: &str) -> Result<Option<Author>> {
        let several = |all: Vec<String>| {
            let what = format!("{beginning} is how the ids of several replicas begin: {}", all.join(", "));
            Err(Error::usage(what).advise("give more of the one that is meant"))
        };
        if let Some(rest) = beginning.strip_prefix(ReplicaId::BEGINS) {
            let begins = |id: &ReplicaId| id.to_string().starts_with(beginning);
            let mut ids = if rest.len() < LEAST_OF_ID { BTreeSet::new() } else { self.all_ids()? };
            ids.retain(begins);
            let present = ids.iter().map(|id| self.state.present_id(id)).collect::<Result<BTreeSet<_>>>()?;
            return match present.first() {
                Some(id) if present.len() == 1 => self.author_of_id(id).map(Some),
                Some(_) => several(present.iter().map(ToString::to_string).collect()),
                None => Ok(None),
            };
        }
        if beginning.len() < LEAST_OF_ID || !beginning.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let wanted = beginning.to_ascii_lowercase();
        let known = self.state.knowledge()?;
        let all = known.iter().map(|(incarnation, _)| incarnation);
        let all: Vec<_> = all.filter(|incarnation| incarnation.to_string().starts_with(&wanted)).collect();
        match all[..] {
            [] => Ok(None),
            [incarnation] => {
                Ok(Some(Author { name: self.names().of(incarnation)?, who: Who::Incarnation(incarnation) }))
            }
            _ => several(all.iter().map(ToString::to_string).collect()),
        }
    }

    /// The ids of all replicas of which anything is known here.
    fn all_ids(&self) -> Result<BTreeSet<ReplicaId>> {
        let mut ids: BTreeSet<_> = self.state.all_heard()?.into_iter().collect();
        ids.insert(self.public_key().id());
        ids.extend(self.state.peers()?.iter().map(|peer| peer.id));
        ids.extend(self.state.all_succeeded()?.into_iter().flat_map(|(old, new)| [old, new]));
        ids.extend(self.shut_outs()?.iter().flat_map(|(_, out)| out.keys.iter().copied()));
        Ok(ids)
    }

    /// The incarnations of a replica, as far as its own bundles have shown them, here or to those who have revoked it: what
    /// these name counts if no bundle has shown it as anybody's, and so does what it has made known since. With `disputed`,
    /// those that somebody else has called its own, too.
    pub(super) fn incarnations(&self, author: &Author, disputed: bool) -> Result<Vec<Incarnation>> {
        let me = self.public_key().id();
        let id = match author.who {
            Who::Replica(id) => id,
            Who::Incarnation(incarnation) => return Ok(vec![incarnation]),
        };
        let mut all = self.state.incarnations_claimed_by(&id, &me, disputed)?;
        if let Some(out) = self.shut_outs()?.get(&id) {
            for incarnation in self.laid_to(out)? {
                if self.state.replicas_of(incarnation, &me)?.is_empty() {
                    all.push(incarnation);
                }
            }
        }
        Ok(all)
    }

    /// Those of these incarnations of which nobody can tell here whose they are.
    pub(super) fn nobodys(&self, of: impl IntoIterator<Item = Incarnation>) -> Result<BTreeSet<Incarnation>> {
        let (mut nobodys, mut laid, me) = (BTreeSet::new(), BTreeSet::new(), self.public_key().id());
        for (_, out) in self.shut_outs()?.iter() {
            laid.extend(self.laid_to(out)?);
        }
        for incarnation in of {
            if !laid.contains(&incarnation) && self.state.replicas_of(incarnation, &me)?.is_empty() {
                nobodys.insert(incarnation);
            }
        }
        Ok(nobodys)
    }

    /// A replica's changes since a time, in milliseconds since 1970 UTC, as its clock was. Those of an incarnation that
    /// two replicas call theirs are nobody's: what isn't sure to be theirs is not taken back.
    pub(super) fn changes_of(&self, author: &Author, since: u64) -> Result<ChangesOf> {
        let incarnations: BTreeSet<_> = self.incarnations(author, false)?.into_iter().collect();
        let since = Clock::from_bits(since.min(Clock::LAST.millis()) << 16).expect("the last millisecond has a clock");
        Ok(ChangesOf { incarnations, since })
    }

    /// What a person is told of the replica that made a change: its name, or its id if it is no peer any more. Whose an
    /// incarnation is that no bundle has shown as anybody's those tell who have revoked a replica.
    fn who(&self, incarnation: Incarnation) -> Result<Option<String>> {
        let me = self.public_key().id();
        let (mut names, mut ids) = (Vec::new(), self.state.replicas_of(incarnation, &me)?);
        if ids.is_empty() {
            for (id, out) in self.shut_outs()?.iter() {
                if self.laid_to(out)?.contains(&incarnation) {
                    ids.push(*id);
                }
            }
        }
        for id in ids {
            let peer = if id == me { None } else { self.state.peer_by_id(&id)? };
            names.push(match peer {
                Some(peer) => peer.name,
                None if id == me => self.config.name.clone(),
                None => id.to_string(),
            });
        }
        Ok((!names.is_empty()).then(|| names.join(" or ")))
    }
}

/// What people are told of a replica of which nothing but its incarnation is known.
fn nobody(incarnation: Incarnation) -> String {
    format!("a replica not known here ({incarnation})")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bundle::{PrivateKey, PublicKey};
    use crate::replica::{Doubts, Home, InitOptions, World};

    fn stamp(clock: u64, incarnation: u64) -> Stamp {
        Stamp { clock: Clock::from_bits(clock << 16).unwrap(), incarnation: Incarnation(incarnation) }
    }

    /// A replica called desktop.
    fn desktop() -> (tempfile::TempDir, Replica) {
        let dir = tempfile::tempdir().unwrap();
        let mail_root = dir.path().join("mail");
        std::fs::create_dir(&mail_root).unwrap();
        let options = InitOptions {
            mail_root,
            name: String::from("desktop"),
            layout: None,
            server: None,
            doubts: Doubts::Heed,
            lock_timeout: Duration::ZERO,
        };
        let (replica, _) = Replica::init(&Home::at(dir.path().join("home")), World::real(), &options).unwrap();
        (dir, replica)
    }

    fn key(name: &str) -> PublicKey {
        PrivateKey::generate(name).unwrap().public_key()
    }

    #[test]
    fn an_incarnation_that_two_replicas_call_theirs_is_nobodys_and_told_as_either_ones() {
        let (_dir, replica) = desktop();
        let (laptop, server) = (key("laptop"), key("server"));
        replica.add_peer("laptop", &laptop).unwrap();
        replica.add_peer("server", &server).unwrap();
        let mine = replica.state.incarnation().unwrap();
        let tx = replica.begin().unwrap();
        for (peer, incarnation) in [(&laptop, 7), (&laptop, 8), (&server, 8), (&server, 9), (&laptop, mine.0)] {
            tx.set_heard_number(&peer.id(), Incarnation(incarnation), 1, 100).unwrap();
        }
        tx.commit().unwrap();

        let author = |name: &str| replica.author(name).unwrap();
        let theirs = |name: &str| replica.changes_of(&author(name), 1000).unwrap();
        let (of_laptop, of_server, own) = (theirs("laptop"), theirs("server"), theirs("desktop"));
        assert_eq!(of_laptop.incarnations, [Incarnation(7)].into());
        assert_eq!(of_server.incarnations, [Incarnation(9)].into());
        // Whatever a peer calls itself, what is this replica's own is its own.
        assert_eq!(own.incarnations, [mine].into());
        for (clock, incarnation, expected) in
            [(1000, 7, true), (1001, 7, true), (999, 7, false), (1000, 8, false), (1000, mine.0, false)]
        {
            assert_eq!(of_laptop.has(stamp(clock, incarnation)), expected, "{clock} {incarnation}");
        }
        let mut disputed = replica.incarnations(&author("laptop"), true).unwrap();
        disputed.sort();
        assert_eq!(disputed, [Incarnation(7), Incarnation(8)]);

        let names = replica.names();
        let who = |incarnation| names.of(Incarnation(incarnation)).unwrap();
        let mut either: Vec<String> = who(8).split(" or ").map(str::to_owned).collect();
        either.sort();
        assert_eq!(either, ["laptop", "server"]);
        assert_eq!([who(7), who(9), who(mine.0)], ["laptop", "server", "desktop"].map(String::from));
        let nobody = "a replica not known here (000000000000000a)";
        assert_eq!((who(10).as_str(), names.known(Incarnation(10)).unwrap()), (nobody, None));
        assert_eq!(names.short_of(Incarnation(10)).unwrap(), "00000000");
        replica.remove_peer("laptop").unwrap();
        let names = replica.names();
        let who = |incarnation| names.of(Incarnation(incarnation)).unwrap();
        assert_eq!(who(7), laptop.id().to_string());
        assert_eq!(author(&laptop.id().to_string()).name, laptop.id().to_string());
        assert!(replica.author("laptop").unwrap_err().to_string().contains("the peers are: server"));
    }

    #[test]
    fn who_has_no_name_here_is_meant_by_how_an_id_begins_or_an_incarnation() {
        let (_dir, replica) = desktop();
        let (laptop, server) = (key("laptop"), key("server"));
        replica.add_peer("server", &server).unwrap();
        let tx = replica.begin().unwrap();
        tx.set_heard_number(&laptop.id(), Incarnation(7), 1, 100).unwrap();
        tx.commit().unwrap();
        let id = laptop.id().to_string();
        let called = |name: &str| replica.author(name).map(|author| author.who).map_err(|error| error.to_string());
        assert_eq!(called(&id[..14]), Ok(Who::Replica(laptop.id())));
        assert_eq!(called(&server.id().to_string()[..14]), Ok(Who::Replica(server.id())));
        let tx = replica.begin().unwrap();
        for incarnation in [0xabcd_0000_0000_0001, 0xabcd_0000_0000_0002, 0xbcde_0000_0000_0003] {
            let known = std::iter::once((Incarnation(incarnation), Clock::FIRST)).collect();
            tx.learn(&known, &server.id(), None).unwrap();
        }
        tx.commit().unwrap();
        for name in ["bcde0000", "BCDE", "bcde000000000003"] {
            assert_eq!(called(name), Ok(Who::Incarnation(Incarnation(0xbcde_0000_0000_0003))), "{name}");
        }
        let said = called("abcd").unwrap_err();
        assert!(said.contains("abcd000000000001, abcd000000000002; give more of"), "{said}");
        for name in ["bcd", "SHA256:", &id[..10], "bcdf", "bcde00000000000333", "bcde-"] {
            assert!(called(name).unwrap_err().contains("no peer called"), "{name}");
        }
        // A name that a person has given goes before.
        replica.add_peer("bcde", &laptop).unwrap();
        assert_eq!(called("bcde"), Ok(Who::Replica(laptop.id())));
    }
}
