//! What commands cost, in steps of `SQLite`'s virtual machine: they are the same however busy the machine is. Nothing
//! that there may be many of makes a command cost more than in proportion.

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use tempfile::TempDir;

    use super::super::{
        Access, DryRun, ExportOptions, Home, ImportOptions, InitOptions, MassAdd, MassDelete, Replica, ScanOptions,
        TrashOptions, World,
    };
    use crate::bundle::PrivateKey;
    use crate::maildir::LayoutKind;
    use crate::model::{Clock, Digest, EntryId, FolderName, Happened, Happening, Incarnation, Knowledge, Stamp};
    use crate::replica::Doubts;
    use crate::state::{Action, Occasion};

    const TIMEOUT: Duration = Duration::from_secs(10);

    /// A replica below a directory of its own.
    struct Site {
        root: PathBuf,
        replica: Replica,
    }

    fn scratch() -> TempDir {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
    }

    fn make_folder(dir: &Path) {
        for sub in ["cur", "new", "tmp"] {
            fs::create_dir_all(dir.join(sub)).unwrap();
        }
    }

    /// Times come to rest, so that listings can be believed.
    fn rest() {
        std::thread::sleep(Duration::from_millis(15));
    }

    impl Site {
        /// The mail of a replica that is to be.
        fn mail(dir: &Path, name: &str) -> PathBuf {
            dir.join(name).join("mail")
        }

        fn new(dir: &Path, name: &str) -> Self {
            let mail = Self::mail(dir, name);
            for folder in ["INBOX", "Archive"] {
                make_folder(&mail.join(folder));
            }
            let options = InitOptions {
                mail_root: mail,
                name: name.to_owned(),
                layout: Some(LayoutKind::Fs),
                server: None,
                doubts: Doubts::Heed,
                lock_timeout: TIMEOUT,
            };
            rest();
            let (replica, _) = Replica::init(&Home::at(dir.join(name).join("home")), World::real(), &options).unwrap();
            Self { root: dir.join(name), replica }
        }

        fn folder(&self, name: &str) -> PathBuf {
            self.root.join("mail").join(name)
        }

        fn knows(&self, other: &Self, name: &str) {
            self.replica.add_peer(name, &other.replica.public_key()).unwrap();
        }

        /// How many steps this takes.
        fn steps(&self, act: impl FnOnce(&Replica)) -> u64 {
            let before = self.replica.state.steps();
            act(&self.replica);
            self.replica.state.steps() - before
        }

        fn scan(&self) -> u64 {
            rest();
            let options = ScanOptions { mass_delete: MassDelete::Allow, ..ScanOptions::default() };
            self.steps(|replica| assert!(replica.scan(&options).unwrap().problems.is_empty()))
        }

        fn export(&self, to: &str, file: &Path) -> u64 {
            let options = ExportOptions { level: 1, ..ExportOptions::to_peer(to) };
            self.steps(|replica| {
                replica.export(&options, fs::File::create(file).unwrap()).unwrap();
            })
        }

        fn import(&self, file: &Path) -> u64 {
            let allow = ImportOptions {
                mass_delete: MassDelete::Allow,
                mass_add: MassAdd::Allow,
                dry_run: DryRun::No,
                ..ImportOptions::default()
            };
            rest();
            self.steps(|replica| {
                replica.scan_before_import(&allow).unwrap();
                let mut all = Vec::new();
                replica.import_file(file, &allow, |imported| all.push(imported)).unwrap();
                assert!(all.iter().all(|imported| imported.outcome.error().is_none()), "{all:?}");
            })
        }

        fn status(&self) -> u64 {
            self.steps(|replica| drop(replica.status().unwrap()))
        }
    }

    /// Compares what the same costs with `times` as much. In proportion, with the depth of the trees, it may cost `times`
    /// as much, and a quarter more.
    fn in_proportion(times: u64, few: &[(&str, u64)], many: &[(&str, u64)]) {
        println!("{few:?}\n{many:?}");
        assert_eq!(few.len(), many.len());
        for ((what, few), (_, many)) in few.iter().zip(many) {
            assert!(*few > 0, "{what} was not counted");
            assert!(*many <= few * times * 5 / 4 + 2_000, "{what}: {few} steps, and {many} for {times} times as much");
        }
    }

    /// So many identical messages in one folder, from when they are found until they are gone and come back.
    fn identical(count: usize) -> Vec<(&'static str, u64)> {
        let dir = scratch();
        let inbox = Site::mail(dir.path(), "one").join("INBOX");
        make_folder(&inbox);
        for n in 0..count {
            fs::write(inbox.join("cur").join(format!("{n}.copy:2,")), "Subject: one of many\n\nThe same.\n").unwrap();
        }
        let one = Site::new(dir.path(), "one");
        let mut costs = vec![("init", one.replica.state.steps())];
        let two = Site::new(dir.path(), "two");
        one.knows(&two, "two");
        two.knows(&one, "one");
        let (bundle, back) = (dir.path().join("bundle"), dir.path().join("back"));
        costs.push(("export", one.export("two", &bundle)));
        costs.push(("import", two.import(&bundle)));
        two.export("one", &back);
        one.import(&back);

        for file in fs::read_dir(inbox.join("cur")).unwrap().map(Result::unwrap) {
            fs::rename(file.path(), one.folder("Archive").join("cur").join(file.file_name())).unwrap();
        }
        costs.push(("scan of moves", one.scan()));
        assert_eq!(one.replica.state.totals().entries, count as u64);
        costs.push(("export of moves", one.export("two", &bundle)));
        costs.push(("import of moves", two.import(&bundle)));

        for n in 0..count {
            fs::copy(
                one.folder("Archive").join("cur").join(format!("{n}.copy:2,")),
                inbox.join("cur").join(format!("{n}.again:2,")),
            )
            .unwrap();
        }
        costs.push(("scan of copies", one.scan()));
        assert_eq!(one.replica.state.totals().entries, 2 * count as u64);

        for sub in ["INBOX/cur", "Archive/cur"] {
            fs::remove_dir_all(one.folder(sub)).unwrap();
            fs::create_dir(one.folder(sub)).unwrap();
        }
        costs.push(("scan of removals", one.scan()));
        assert_eq!(one.replica.state.totals().entries, 0);
        costs.push(("export of removals", one.export("two", &bundle)));
        costs.push(("import of removals", two.import(&bundle)));
        assert_eq!(two.replica.state.totals().entries, 0);
        costs.push((
            "trash restore",
            two.steps(|replica| {
                replica.restore_trashed(&TrashOptions::default(), &mut |_| Ok(())).unwrap();
            }),
        ));
        assert_eq!(two.replica.state.totals().entries, count as u64);
        costs
    }

    #[test]
    fn identical_messages_cost_in_proportion() {
        in_proportion(4, &identical(250), &identical(1_000));
    }

    /// So many folders: what it costs to find them, that nothing has changed, and one change.
    fn many_folders(count: usize) -> Vec<(&'static str, u64)> {
        let dir = scratch();
        let mail = Site::mail(dir.path(), "one");
        for n in 0..count {
            let folder = mail.join(format!("List{n}"));
            make_folder(&folder);
            fs::write(folder.join("cur").join("1.mail:2,"), format!("Subject: {n}\n\n")).unwrap();
        }
        let one = Site::new(dir.path(), "one");
        let two = Site::new(dir.path(), "two");
        one.knows(&two, "two");
        two.knows(&one, "one");
        let bundle = dir.path().join("bundle");
        let mut costs = vec![("init", one.replica.state.steps())];
        costs.push(("export", one.export("two", &bundle)));
        costs.push(("import", two.import(&bundle)));
        costs.push(("scan", two.scan()));
        fs::write(one.folder("List7/new/2.mail"), "Subject: new\n\n").unwrap();
        costs.push(("scan of a change", one.scan()));
        costs.push(("status", one.status()));
        for n in 0..count {
            fs::remove_file(one.folder(&format!("List{n}/cur/1.mail:2,"))).unwrap();
        }
        costs.push(("scan of removals", one.scan()));
        costs
    }

    #[test]
    fn many_folders_cost_in_proportion() {
        in_proportion(4, &many_folders(75), &many_folders(300));
    }

    /// What a delta costs, and a status, where so many incarnations and peers are known.
    fn many_others(incarnations: u64, peers: usize) -> Vec<(&'static str, u64)> {
        let dir = scratch();
        let (one, two) = (Site::new(dir.path(), "one"), Site::new(dir.path(), "two"));
        one.knows(&two, "two");
        two.knows(&one, "one");
        let mut known = Knowledge::new();
        for n in 0..incarnations {
            known.set(Incarnation(n * 7_919 + 1), Clock::from_bits(1 << 20).unwrap());
        }
        for (site, others) in [(&one, peers), (&two, 0)] {
            for n in 0..others {
                let key = PrivateKey::generate("other").unwrap().public_key();
                let peer = site.replica.add_peer(&format!("other{n}"), &key).unwrap();
                let tx = site.replica.begin().unwrap();
                tx.set_shown(peer.key, &known).unwrap();
                tx.commit().unwrap();
            }
            let tx = site.replica.begin().unwrap();
            tx.learn(&known, &site.replica.public_key().id(), None).unwrap();
            tx.commit().unwrap();
        }
        let (bundle, back) = (dir.path().join("bundle"), dir.path().join("back"));
        one.export("two", &bundle);
        two.import(&bundle);
        two.export("one", &back);
        one.import(&back);
        fs::write(one.folder("INBOX/new/1.mail"), "Subject: new\n\n").unwrap();
        let mut costs = vec![("scan", one.scan())];
        costs.push(("status", one.status()));
        costs.push(("export", one.export("two", &bundle)));
        costs.push(("import", two.import(&bundle)));
        two.export("one", &back);
        costs.push(("import of an answer", one.import(&back)));
        costs
    }

    #[test]
    fn many_incarnations_cost_in_proportion() {
        in_proportion(4, &many_others(100, 1), &many_others(400, 1));
    }

    #[test]
    fn many_peers_cost_in_proportion() {
        in_proportion(4, &many_others(3, 4), &many_others(3, 16));
    }

    /// Exchanges a change, and tells what that has cost.
    fn exchange(one: &Site, two: &Site, dir: &Path, number: usize) -> [u64; 4] {
        let bundle = dir.join("bundle");
        fs::write(one.folder("INBOX/new").join(format!("{number}.mail")), format!("Subject: {number}\n\n")).unwrap();
        let costs = [one.scan(), one.export("two", &bundle), two.import(&bundle), two.status()];
        two.export("one", &bundle);
        one.import(&bundle);
        costs
    }

    /// Leaves in a replica what so many exchanges leave.
    fn age(site: &Site, deltas: u64) {
        let id = |n: u64| EntryId { digest: Digest::of(&n.to_be_bytes()), birth: FolderName::inbox(), ordinal: 0 };
        let tx = site.replica.begin().unwrap();
        for n in 0..deltas {
            let stamp = tx.issue(site.replica.now()).unwrap();
            let occasion = Occasion { action: Action::Import, peer: Some("two".into()), bundle: Some(n) };
            let occasion = tx.add_occasion(n, &occasion).unwrap();
            let happening = Happening {
                stamp: Some(Stamp { clock: stamp.clock, incarnation: Incarnation(1) }),
                what: Happened::Arrived(FolderName::inbox()),
            };
            tx.add_happening(occasion, &id(n), &happening).unwrap();
            tx.record(n, Action::Import, Some("two"), &format!("bundle {n}: 1 new")).unwrap();
        }
        tx.commit().unwrap();
    }

    #[test]
    fn the_last_of_many_deltas_costs_as_the_first_did() {
        let dir = scratch();
        let (one, two) = (Site::new(dir.path(), "one"), Site::new(dir.path(), "two"));
        one.knows(&two, "two");
        two.knows(&one, "one");
        for number in 0..3 {
            exchange(&one, &two, dir.path(), number);
        }
        let first = exchange(&one, &two, dir.path(), 3);
        age(&one, 10_000);
        age(&two, 10_000);
        // What a new stamp has to tell is more than one.
        exchange(&one, &two, dir.path(), 4);
        let last = exchange(&one, &two, dir.path(), 5);
        println!("{first:?}\n{last:?}");
        for (first, last) in first.iter().zip(last) {
            assert!(last <= first * 5 / 4 + 200, "{first} steps at first, {last} at last");
        }
    }

    #[test]
    fn opening_a_replica_costs_what_its_folders_do() {
        let costs = [0, 10_000].map(|deltas| {
            let dir = scratch();
            let home = Home::at(dir.path().join("one").join("home"));
            let one = Site::new(dir.path(), "one");
            age(&one, deltas);
            drop(one);
            Replica::open(&home, World::real(), Access::Write(TIMEOUT)).unwrap().state.steps()
        });
        assert!(costs[0] > 0 && costs[1] <= costs[0] + 100, "{costs:?}");
    }
}
