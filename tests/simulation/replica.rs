//! A replica whose mail is only in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::ops::Bound;

use mailsync::model::{
    Caps, Claims, Clock, Decision, Digest, Entry, EntryId, Flag, FlagSet, FolderDecision, FolderName, FolderState,
    Head, Incarnation, Judgement, Knowledge, Meeting, Mtime, Origin, PassesOver, Restamping, RolledBack, Stamp,
    Standing, StateDigest, export_base, is_newest, judge, purgeable, purgeable_folder,
};

use super::truth::feed_entry;

mod repair;
mod revoked;

pub use repair::MOST_INCARNATIONS;

/// What a bundle file carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// Which replica wrote it.
    pub from: usize,
    /// What the model wants to know of it.
    pub head: Head,
    /// The sender's state digest.
    pub state: StateDigest,
    /// Entries of which the base doesn't cover everything.
    pub entries: BTreeMap<EntryId, Entry>,
    /// Folder registers that the base doesn't cover.
    pub folders: BTreeMap<FolderName, FolderState>,
    /// The messages whose contents it holds.
    pub contents: BTreeSet<Digest>,
    /// The messages whose contents the sender would like to have.
    pub wants: BTreeSet<Digest>,
    /// What the sender passes over.
    pub passes_over: PassesOver,
}

/// What came of reading a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was applied. It may have shown that two replicas that know the same hold different mail, and it may have had
    /// entries delivered anew, with the given stamp.
    Applied { differs: bool, anew: Option<Anew> },
    /// It has to wait for something else.
    Waits,
}

/// What an import has made anew, with one stamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anew {
    pub stamp: Stamp,
    pub entries: Vec<EntryId>,
    pub folders: Vec<FolderName>,
}

/// What a replica holds, as far as a person or another replica can tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Where each message lies, with which flags and which delivery date.
    pub entries: BTreeMap<EntryId, (FolderName, FlagSet, Mtime)>,
    /// The folders that exist.
    pub folders: BTreeSet<FolderName>,
}

impl View {
    /// What somebody who holds exactly this would see.
    pub fn of(entries: &BTreeMap<EntryId, Entry>, folders: &BTreeMap<FolderName, FolderState>) -> Self {
        let alive = entries.iter().filter(|(_, entry)| entry.alive());
        let shown = |entry: &Entry| (entry.location.1.clone(), entry.flags_on().cloned().collect(), entry.mtime);
        let entries: BTreeMap<_, _> = alive.map(|(id, entry)| (id.clone(), shown(entry))).collect();
        let made = folders.iter().filter(|(_, folder)| folder.present).map(|(name, _)| name);
        let folders = made.chain(entries.values().map(|(folder, ..)| folder)).cloned().collect();
        Self { entries, folders }
    }

    /// What differs, a line for each entry and folder: what is here, then what is there.
    pub fn differences(&self, other: &Self) -> String {
        let ids: BTreeSet<_> = self.entries.keys().chain(other.entries.keys()).collect();
        let differ = ids.into_iter().filter(|id| self.entries.get(id) != other.entries.get(id));
        let entries = differ.map(|id| format!("\n{id}: {:?} / {:?}", self.entries.get(id), other.entries.get(id)));
        let folders = self.folders.symmetric_difference(&other.folders);
        entries.chain(folders.map(|folder| format!("\n{folder}: exists on one side only"))).collect()
    }
}

/// What a replica keeps of each peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Peer {
    standing: Standing,
    wants: BTreeSet<Digest>,
    passes_over: PassesOver,
    sent: Option<Knowledge>,
    suspect: bool,
    /// What each of its incarnations has said of itself.
    proven: Knowledge,
}

impl Peer {
    /// Records what its newest bundle shows.
    fn hear_of(&mut self, bundle: &Bundle) {
        let head = &bundle.head;
        if is_newest(&self.standing, head) {
            self.standing.newest = Some((head.incarnation, head.number));
            self.standing.shown = Some(head.tip.clone());
            self.wants.clone_from(&bundle.wants);
            self.passes_over.clone_from(&bundle.passes_over);
        }
    }
}

/// A replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    name: usize,
    incarnation: Incarnation,
    knowledge: Knowledge,
    horizon: Knowledge,
    issued: Vec<Clock>,
    entries: BTreeMap<EntryId, Entry>,
    folders: BTreeMap<FolderName, FolderState>,
    /// The entries by the stamps of their registers: large networks write bundles all the time.
    changes: BTreeMap<(Incarnation, Clock), Vec<EntryId>>,
    /// How many entries each message has.
    copies: BTreeMap<Digest, usize>,
    have: BTreeSet<Digest>,
    /// The entries that are alive and whose contents are here, and those whose contents are not.
    found: BTreeSet<EntryId>,
    missing: BTreeSet<EntryId>,
    state: StateDigest,
    peers: BTreeMap<usize, Peer>,
    bundles: u64,
    /// The incarnations whose own bundles have denied what is known of them.
    denied: BTreeSet<Incarnation>,
    /// What it had issued as the incarnations that a repair has made it leave.
    left: Knowledge,
    /// The peers that know of stamps that it has never issued.
    disowned_by: BTreeSet<usize>,
    /// How far what is told of a replica that was revoked is believed.
    caps: Caps,
    /// Up to where bundles have told of such replicas.
    told: Knowledge,
    /// What imports have changed, as it was before; kept only where something is to be taken back.
    past: Option<revoked::Past>,
}

impl Replica {
    /// A replica that holds nothing.
    pub fn new(name: usize, incarnation: Incarnation) -> Self {
        Self {
            name,
            incarnation,
            knowledge: Knowledge::new(),
            horizon: Knowledge::new(),
            issued: Vec::new(),
            entries: BTreeMap::new(),
            folders: BTreeMap::new(),
            changes: BTreeMap::new(),
            copies: BTreeMap::new(),
            have: BTreeSet::new(),
            found: BTreeSet::new(),
            missing: BTreeSet::new(),
            state: StateDigest::default(),
            peers: BTreeMap::new(),
            bundles: 0,
            denied: BTreeSet::new(),
            left: Knowledge::new(),
            disowned_by: BTreeSet::new(),
            caps: Caps::default(),
            told: Knowledge::new(),
            past: None,
        }
    }

    /// What it holds.
    pub fn view(&self) -> View {
        View::of(&self.entries, &self.folders)
    }

    /// By which number the others know it.
    pub fn name(&self) -> usize {
        self.name
    }

    /// What it knows.
    pub fn knowledge(&self) -> &Knowledge {
        &self.knowledge
    }

    /// Of how many incarnations it would know after this bundle.
    pub fn would_know(&self, bundle: &Bundle) -> usize {
        let mut knowledge = self.knowledge.clone();
        knowledge.join(&bundle.head.tip);
        knowledge.len()
    }

    /// Its state digest, kept up change by change.
    pub fn state(&self) -> StateDigest {
        self.state
    }

    /// Its state digest, computed from everything it holds.
    pub fn state_from_scratch(&self) -> StateDigest {
        let mut state = StateDigest::default();
        for (id, entry) in self.entries.iter().filter(|(_, entry)| entry.alive()) {
            state.add(&entry.canonical(id));
        }
        for (name, _) in self.folders.iter().filter(|(_, folder)| folder.present) {
            state.add(&canonical_folder(name));
        }
        state
    }

    /// Everything it keeps, the entries that were removed included.
    pub fn entries(&self) -> &BTreeMap<EntryId, Entry> {
        &self.entries
    }

    /// Every folder that it has heard of.
    pub fn folders(&self) -> &BTreeMap<FolderName, FolderState> {
        &self.folders
    }

    /// The incarnation, and the clocks of the stamps issued by it.
    pub fn issued(&self) -> (Incarnation, &[Clock]) {
        (self.incarnation, &self.issued)
    }

    /// Whether both would be the same if they and their peers had never counted their bundles: as before and after an
    /// exchange that had nothing to tell.
    pub fn is_but_for_numbers(&self, other: &Self) -> bool {
        let same_peer = |(name, peer): (&usize, &Peer)| {
            other.peers.get(name).is_some_and(|other| {
                let incarnation = |peer: &Peer| peer.standing.newest.map(|(incarnation, _)| incarnation);
                incarnation(peer) == incarnation(other)
                    && peer.standing.shown == other.standing.shown
                    && (&peer.wants, peer.suspect) == (&other.wants, other.suspect)
            })
        };
        (self.incarnation, &self.knowledge, &self.horizon) == (other.incarnation, &other.knowledge, &other.horizon)
            && (&self.issued, &self.entries, &self.folders) == (&other.issued, &other.entries, &other.folders)
            && (&self.have, self.state) == (&other.have, other.state)
            && self.peers.len() == other.peers.len()
            && self.peers.iter().all(same_peer)
    }

    /// Feeds everything to the hasher on which depends what it does from here on.
    pub fn fingerprint(&self, hasher: &mut impl Hasher) {
        self.incarnation.hash(hasher);
        feed_knowledge(&self.knowledge, hasher);
        feed_knowledge(&self.horizon, hasher);
        feed_all(&self.entries, &self.folders, hasher);
        (&self.issued, &self.have, self.bundles).hash(hasher);
        for (name, Peer { standing, wants, sent, suspect, proven, .. }) in &self.peers {
            (name, standing.newest, wants, suspect).hash(hasher);
            feed_knowledge(proven, hasher);
            for knowledge in [&standing.shown, sent] {
                feed_knowledge(knowledge.as_ref().unwrap_or(&Knowledge::new()), hasher);
            }
        }
    }

    /// Which removals it has forgotten.
    pub fn horizon(&self) -> &Knowledge {
        &self.horizon
    }

    /// Forgets what it knew of a peer.
    pub fn forget_peer(&mut self, name: usize) {
        self.peers.remove(&name);
    }

    /// The messages that it should have and whose contents never came.
    pub fn wants(&self) -> BTreeSet<Digest> {
        self.missing.iter().map(|id| id.digest).collect()
    }

    /// Whether it has the contents of this message.
    pub fn has(&self, digest: &Digest) -> bool {
        self.have.contains(digest)
    }

    /// The entries whose files a mail program would find.
    pub fn found(&self) -> impl Iterator<Item = &EntryId> {
        self.found.iter()
    }

    /// A stamp for what a scan finds at `now` (milliseconds by this replica's own clock).
    pub fn stamp(&mut self, now: u64) -> Stamp {
        let clock = Clock::next(now, self.knowledge.newest()).expect("simulations end before the year 6429");
        let stamp = Stamp { clock, incarnation: self.incarnation };
        self.knowledge.learn(stamp);
        self.issued.push(clock);
        stamp
    }

    /// A message came into a folder.
    pub fn deliver(
        &mut self,
        stamp: Stamp,
        origin: Origin,
        digest: Digest,
        folder: &FolderName,
        flags: &FlagSet,
        mtime: Mtime,
    ) -> EntryId {
        let mut id = EntryId { digest, birth: folder.clone(), ordinal: 0 };
        while self.entries.get(&id).is_some_and(Entry::alive) {
            id.ordinal += 1;
        }
        let entry =
            Entry::delivered(self.entries.get(&id), origin, stamp, folder.clone(), flags, size_of(&digest), mtime);
        self.have.insert(digest);
        self.put(&id, Some(entry));
        self.sort_out_contents(&BTreeSet::new());
        self.make_folder(stamp, folder);
        id
    }

    /// A flag was set or cleared.
    pub fn set_flag(&mut self, stamp: Stamp, id: &EntryId, flag: Flag, on: bool) {
        self.change(id, |entry| entry.set_flag(stamp, flag, on));
    }

    /// A message was moved.
    pub fn move_to(&mut self, stamp: Stamp, id: &EntryId, folder: &FolderName) {
        self.change(id, |entry| entry.move_to(stamp, folder.clone()));
        self.make_folder(stamp, folder);
    }

    /// A message was removed.
    pub fn remove(&mut self, stamp: Stamp, id: &EntryId) {
        self.change(id, |entry| entry.remove(stamp));
    }

    /// A folder was made, if it wasn't there.
    pub fn make_folder(&mut self, stamp: Stamp, folder: &FolderName) {
        if self.folders.get(folder).is_none_or(|state| !state.present) {
            self.put_folder(folder, Some(FolderState { stamp, present: true }));
        }
    }

    /// A folder was removed, if it was there. Its messages are for the caller to remove.
    pub fn remove_folder(&mut self, stamp: Stamp, folder: &FolderName) {
        if self.folders.get(folder).is_some_and(|state| state.present) {
            self.put_folder(folder, Some(FolderState { stamp, present: false }));
        }
    }

    /// A bundle for a peer: what was new since the last one for it (`Some`), or since what it has shown.
    pub fn export(&mut self, to: usize, since_last: bool) -> Bundle {
        let peer = self.peers.entry(to).or_default();
        let base = match (peer.suspect, since_last) {
            (true, _) => Knowledge::new(),
            (false, true) => peer.sent.clone().unwrap_or_default(),
            (false, false) => peer.standing.shown.clone().unwrap_or_default(),
        };
        let base = export_base(&base, &self.knowledge, &self.caps.horizon(&self.horizon));
        let full = base.is_empty();
        self.bundles += 1;
        peer.sent = Some(self.knowledge.clone());
        let wants = peer.wants.clone();
        let vain = if full { PassesOver::default() } else { peer.passes_over.clone() };

        let mut entries = if full { self.entries.clone() } else { self.changed_since(&base) };
        entries.retain(|_, entry| !vain.leaves_out(entry, &base));
        let is_new = |folder: &FolderState| full || !(base.covers(folder.stamp) || vain.has(folder.stamp));
        let folders = self.folders.iter().filter(|(_, folder)| is_new(folder)).map(|(n, s)| (n.clone(), *s));
        let needed = entries.iter().filter(|(_, entry)| entry.alive() && !base.covers(entry.born));
        let contents = needed.map(|(id, _)| id.digest).chain(wants);
        let last = base.get(self.incarnation);
        Bundle {
            from: self.name,
            state: self.state,
            folders: folders.collect(),
            contents: contents.filter(|digest| self.have.contains(digest)).collect(),
            wants: self.wants(),
            passes_over: PassesOver::of(&self.caps, &self.told),
            head: Head {
                incarnation: self.incarnation,
                number: self.bundles,
                full,
                base,
                tip: self.knowledge.clone(),
                horizon: self.caps.horizon(&self.horizon),
                issued: self.issued.iter().copied().filter(|&clock| clock > last).collect(),
                left_out: vain.left_out(&self.knowledge),
            },
            entries,
        }
    }

    /// Reads a bundle at `now` (milliseconds by this replica's own clock). With an error nothing has changed.
    pub fn import(&mut self, bundle: &Bundle, now: u64) -> Result<Outcome, RolledBack> {
        let head = &bundle.head;
        let peer = self.peers.entry(bundle.from).or_default();
        let issued = &self.issued;
        let believed = self.caps.believe(head, &self.knowledge);
        let judgement = judge(
            self.incarnation,
            |clock| issued.binary_search(&clock).is_ok(),
            &self.knowledge,
            &self.caps.horizon(&self.horizon),
            &peer.standing,
            &believed.head,
        );
        if matches!(judgement, Err(RolledBack::SenderOrTold(_))) {
            self.denied.insert(head.incarnation);
        }
        let judgement = judgement?;
        self.disowned_by.remove(&bundle.from);
        peer.hear_of(bundle);
        if judgement != Judgement::Apply {
            return Ok(Outcome::Waits);
        }
        let meeting = Meeting::new(&self.knowledge, &self.caps.horizon(&self.horizon), self.proven(), &believed.head)
            .believing(&believed);
        self.learn_what_was_told(&believed, head);
        self.knowledge.join(&believed.head.tip);
        if head.full {
            self.horizon.join(&believed.head.horizon);
        }
        self.have.extend(&bundle.contents);
        let (mut anew, mut shown): (Option<Anew>, _) = (None, Knowledge::new());
        let absent = self.entries.keys().filter(|id| head.full && !bundle.entries.contains_key(*id));
        for id in bundle.entries.keys().chain(absent).cloned().collect::<Vec<_>>() {
            let (mine, theirs) = (self.entries.get(&id), bundle.entries.get(&id));
            let told = theirs.and_then(|theirs| believed.caps.entry(&id, mine, theirs));
            if theirs.is_some() && told.is_none() {
                continue;
            }
            let decision = meeting.decide(mine, told.as_ref());
            if let Some(told) = &told {
                shown.extend(believed.shown_by(told));
            }
            if decision != Decision::Keep {
                self.remember(&id);
            }
            match decision {
                Decision::Keep => {}
                Decision::Store(entry) => self.put(&id, Some(entry)),
                Decision::StoreAnew(mut entry) => {
                    let anew = anew.get_or_insert_with(|| self.anew(now));
                    entry.deliver_anew(anew.stamp);
                    anew.entries.push(id.clone());
                    self.put(&id, Some(entry));
                }
                Decision::Drop => self.put(&id, None),
            }
        }
        self.import_folders(bundle, &meeting, &believed.caps, &mut anew, now);
        self.knowledge.join(&shown);
        self.learn_what_is_held(&believed);
        self.has_proven(bundle.from, head);
        self.sort_out_contents(&bundle.contents);
        let mut differs = false;
        if self.knowledge == head.tip {
            differs = self.state != bundle.state;
            self.peers.entry(bundle.from).or_default().suspect = differs;
        }
        Ok(Outcome::Applied { differs, anew })
    }

    /// The folders that a bundle tells of, and those that a full one doesn't.
    fn import_folders(&mut self, bundle: &Bundle, meeting: &Meeting, caps: &Caps, anew: &mut Option<Anew>, now: u64) {
        let absent = self.folders.keys().filter(|name| bundle.head.full && !bundle.folders.contains_key(*name));
        for name in bundle.folders.keys().chain(absent).cloned().collect::<Vec<_>>() {
            let theirs = bundle.folders.get(&name).copied();
            let told = theirs.and_then(|theirs| caps.folder(theirs));
            if theirs.is_some() && told.is_none() {
                continue;
            }
            let decision = meeting.decide_folder(self.folders.get(&name).copied(), told);
            if decision != FolderDecision::Keep {
                self.remember_folder(&name);
            }
            match decision {
                FolderDecision::Keep => {}
                FolderDecision::Store(state) => self.put_folder(&name, Some(state)),
                FolderDecision::MakeAnew => {
                    let anew = anew.get_or_insert_with(|| self.anew(now));
                    let state = FolderState { stamp: anew.stamp, present: true };
                    anew.folders.push(name.clone());
                    self.put_folder(&name, Some(state));
                }
            }
        }
    }

    /// Forgets the removals that all these peers know of.
    pub fn purge(&mut self, peers: &BTreeSet<usize>) {
        let shown: Vec<(Knowledge, PassesOver)> = peers
            .iter()
            .map(|name| self.peers.get(name).cloned().unwrap_or_default())
            .map(|peer| (peer.standing.shown.unwrap_or_default(), peer.passes_over))
            .collect();
        let forgotten: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| purgeable(entry, &self.caps, shown.iter()))
            .map(|(id, entry)| (id.clone(), entry.stamps().collect::<Vec<_>>()))
            .collect();
        let folders =
            self.folders.iter().filter(|(_, state)| purgeable_folder(**state, shown.iter().map(|(tip, _)| tip)));
        let folders: Vec<_> = folders.map(|(name, state)| (name.clone(), state.stamp)).collect();
        for (id, stamps) in forgotten {
            for stamp in stamps {
                self.horizon.learn(stamp);
            }
            self.put(&id, None);
        }
        for (name, stamp) in folders {
            self.horizon.learn(stamp);
            self.put_folder(&name, None);
        }
    }

    /// What its peers' incarnations have said of themselves; of itself, all.
    fn proven(&self) -> Knowledge {
        let mut proven = Knowledge::new();
        self.peers.values().for_each(|peer| proven.join(&peer.proven));
        proven.join(&self.left);
        proven.set(self.incarnation, self.knowledge.get(self.incarnation));
        proven
    }

    /// The head of a bundle that was taken in tells of its sender's incarnation.
    fn has_proven(&mut self, from: usize, head: &Head) {
        let own = head.tip.get(head.incarnation);
        if own >= self.knowledge.get(head.incarnation) {
            self.denied.remove(&head.incarnation);
        }
        let proven = &mut self.peers.entry(from).or_default().proven;
        proven.set(head.incarnation, own.max(proven.get(head.incarnation)));
    }

    fn anew(&mut self, now: u64) -> Anew {
        Anew { stamp: self.stamp(now), entries: Vec::new(), folders: Vec::new() }
    }

    /// Goes on as a new incarnation. `last` is the newest of the old one's stamps that is known to have been issued
    /// once only; what was stamped since is stamped anew.
    pub fn begin_anew(&mut self, new: Incarnation, last: Clock) {
        let old = std::mem::replace(&mut self.incarnation, new);
        // What was forgotten is known: else nobody would believe this replica.
        self.knowledge.set(old, last.max(self.horizon.get(old)));
        let plan = Restamping::plan(old, new, self.issued.iter().copied(), last, 0, &self.knowledge)
            .expect("simulations end before the year 6429");
        self.changes.clear();
        for (id, entry) in &mut self.entries {
            entry.restamp(|stamp| plan.anew(stamp));
            for change in changes_of(entry) {
                self.changes.entry(change).or_insert_with(|| Vec::with_capacity(1)).push(id.clone());
            }
        }
        for folder in self.folders.values_mut() {
            folder.stamp = plan.anew(folder.stamp);
        }
        // A flag register that was older than its entry's floor may count now.
        self.state = self.state_from_scratch();
        self.issued = plan.issued().collect();
        self.knowledge.set(new, self.issued.last().copied().unwrap_or_default());
    }

    fn change(&mut self, id: &EntryId, change: impl FnOnce(&mut Entry)) {
        let mut entry = self.entries[id].clone();
        change(&mut entry);
        self.put(id, Some(entry));
    }

    fn put(&mut self, id: &EntryId, entry: Option<Entry>) {
        if let Some(old) = self.entries.remove(id) {
            for change in changes_of(&old) {
                let ids = self.changes.get_mut(&change).expect("every stamp of an entry leads to it");
                ids.retain(|other| other != id);
                if ids.is_empty() {
                    self.changes.remove(&change);
                }
            }
            if old.alive() {
                self.state.remove(&old.canonical(id));
                self.found.remove(id);
                self.missing.remove(id);
            }
            *self.copies.get_mut(&id.digest).expect("there is one") -= 1;
        }
        if let Some(new) = entry {
            for change in changes_of(&new) {
                self.changes.entry(change).or_insert_with(|| Vec::with_capacity(1)).push(id.clone());
            }
            if new.alive() {
                self.state.add(&new.canonical(id));
                let found = self.have.contains(&id.digest);
                if found { &mut self.found } else { &mut self.missing }.insert(id.clone());
            }
            *self.copies.entry(id.digest).or_default() += 1;
            self.entries.insert(id.clone(), new);
        }
        // Contents are kept as long as an entry is, removed or not.
        if self.copies.get(&id.digest) == Some(&0) {
            self.copies.remove(&id.digest);
            self.have.remove(&id.digest);
        }
    }

    fn changed_since(&self, base: &Knowledge) -> BTreeMap<EntryId, Entry> {
        let after = |(incarnation, _)| {
            let from = (Bound::Excluded((incarnation, base.get(incarnation))), Bound::Unbounded);
            self.changes.range(from).take_while(move |((of, _), _)| *of == incarnation)
        };
        let ids: BTreeSet<_> = self.knowledge.iter().flat_map(after).flat_map(|(_, ids)| ids).collect();
        ids.into_iter().map(|id| (id.clone(), self.entries[id].clone())).collect()
    }

    fn put_folder(&mut self, name: &FolderName, folder: Option<FolderState>) {
        if folder.is_some_and(|folder| folder.present) {
            self.state.add(&canonical_folder(name));
        }
        let old = match folder {
            Some(folder) => self.folders.insert(name.clone(), folder),
            None => self.folders.remove(name),
        };
        if old.is_some_and(|old| old.present) {
            self.state.remove(&canonical_folder(name));
        }
    }

    /// These contents came, and the entries with them. Contents without an entry are not kept.
    fn sort_out_contents(&mut self, came: &BTreeSet<Digest>) {
        for digest in came.iter().filter(|digest| !self.copies.contains_key(*digest)) {
            self.have.remove(digest);
        }
        let have = &self.have;
        let (mut found, missing): (BTreeSet<_>, _) =
            std::mem::take(&mut self.missing).into_iter().partition(|id| have.contains(&id.digest));
        self.missing = missing;
        self.found.append(&mut found);
    }
}

impl Bundle {
    /// Whatever an honest replica has gone through, nothing in its bundles breaks a rule of the format.
    pub fn says_what_can_be_true(&self) {
        let claims = Claims::of(&self.head).unwrap_or_else(|untrue| panic!("{}: {untrue}: {:?}", self.from, self.head));
        for (id, entry) in &self.entries {
            claims.entry(entry).unwrap_or_else(|untrue| panic!("{}: {id}: {untrue}: {entry:?}", self.from));
        }
        for (name, state) in &self.folders {
            claims.folder(*state).unwrap_or_else(|untrue| panic!("{}: {name}: {untrue}", self.from));
        }
    }

    /// Whether both differ in their numbers alone.
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        let unnumbered = |bundle: &Self| Self { head: Head { number: 0, ..bundle.head.clone() }, ..bundle.clone() };
        self.head.tip == other.head.tip && unnumbered(self) == unnumbered(other)
    }

    /// Feeds everything to the hasher that a reader may look at.
    pub fn fingerprint(&self, hasher: &mut impl Hasher) {
        let Head { incarnation, number, full, base, tip, horizon, issued, left_out } = &self.head;
        (self.from, incarnation, number, full, issued, &self.contents, &self.wants).hash(hasher);
        for knowledge in [base, tip, horizon, left_out] {
            feed_knowledge(knowledge, hasher);
        }
        feed_all(&self.entries, &self.folders, hasher);
    }
}

fn feed_knowledge(knowledge: &Knowledge, hasher: &mut impl Hasher) {
    for known in knowledge.iter() {
        known.hash(hasher);
    }
    // So that it isn't taken for the beginning of another one.
    0_u8.hash(hasher);
}

fn feed_all(entries: &BTreeMap<EntryId, Entry>, folders: &BTreeMap<FolderName, FolderState>, hasher: &mut impl Hasher) {
    for (id, entry) in entries {
        id.hash(hasher);
        feed_entry(entry, hasher);
    }
    for (name, folder) in folders {
        (name, folder.stamp, folder.present).hash(hasher);
    }
}

/// The stamps of an entry's registers, as they stand in [`Replica::changes`].
fn changes_of(entry: &Entry) -> BTreeSet<(Incarnation, Clock)> {
    let stamps = entry.stamps().filter(|&stamp| stamp != Stamp::ZERO);
    stamps.map(|stamp| (stamp.incarnation, stamp.clock)).collect()
}

/// How many bytes a message has: from 1 to 32 KiB, like most mail.
pub fn size_of(digest: &Digest) -> u64 {
    1024 << (digest.0[0] % 6)
}

fn canonical_folder(name: &FolderName) -> Vec<u8> {
    [b"folder\0", name.as_str().as_bytes()].concat()
}
