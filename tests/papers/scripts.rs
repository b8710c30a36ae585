//! What becomes of the blocks of each page.

use super::page::Block;
use super::place::Place;

/// A step of a reader. The texts are how the block begins.
pub enum Step {
    /// The block is typed as it stands, and each command in it ends with 0.
    Type(&'static str),
    /// The same, and the last command ends with this exit code.
    Fail(&'static str, i32),
    /// The same, and names that stand for something, such as `PEER`, are replaced by what they stand for.
    Fill(&'static str, &'static [(&'static str, &'static str)]),
    /// The block is put into this machine's `config.toml`, in place of the last one, and the file can be read afterwards.
    Configure(&'static str, &'static str),
    /// The block shows something that isn't typed; why it isn't tried here.
    Skip(&'static str, &'static str),
    /// What the text asks for between the blocks, or what happens meanwhile, on this machine.
    Do(&'static str, &'static str),
}

use Step::{Configure, Do, Fail, Fill, Skip, Type};

impl Step {
    /// How the block of this step begins; `None` if it has none.
    pub fn first_line(&self) -> Option<&'static str> {
        match self {
            Type(first) | Fail(first, _) | Fill(first, _) | Configure(first, _) | Skip(first, _) => Some(first),
            Do(..) => None,
        }
    }

    /// Takes the step.
    #[track_caller]
    pub fn take(&self, place: &Place, block: Option<&Block>, at: &str) {
        match self {
            Type(_) => try_all(place, block, &[], 0, at),
            Fail(_, code) => try_all(place, block, &[], *code, at),
            Fill(_, names) => try_all(place, block, names, 0, at),
            Configure(_, machine) => {
                place.configure(machine, &block.expect("it has a block").lines.join("\n"));
                ends_well(place, machine, "mailsync status", at);
            }
            Skip(_, why) => assert!(!why.is_empty(), "{at}: say why it isn't tried"),
            Do(machine, line) => ends_well(place, machine, line, at),
        }
    }
}

/// Types the commands of a block, of which the last ends with this exit code.
#[track_caller]
fn try_all(place: &Place, block: Option<&Block>, names: &[(&str, &str)], code: i32, at: &str) {
    let mut typed = block.expect("it has a block").typed();
    assert!(!typed.is_empty(), "{at}: there is no command in it");
    for (name, meaning) in names {
        assert!(typed.iter().any(|command| command.command.contains(name)), "{at}: there is no {name} in it");
        for command in &mut typed {
            command.command = command.command.replace(name, meaning);
        }
    }
    for (number, command) in typed.iter().enumerate() {
        place.try_out(command, if number + 1 == typed.len() { code } else { 0 }, at);
    }
}

#[track_caller]
fn ends_well(place: &Place, machine: &str, line: &str, at: &str) {
    let (code, said) = place.run(machine, line);
    assert_eq!(code, 0, "{at}: `{line}` on {machine}: {said}");
}

const BY_CHECK: &str = "packaging/check runs what it calls, and needs minutes for it";
const BY_OTHERS: &str = "the continuous integration runs it as it stands";

/// docs/install.md.
pub const INSTALL: &[Step] = &[
    Skip("cargo install --path", "it builds everything anew"),
    Skip("cargo install cargo-deb", BY_CHECK),
    Skip("packaging/static", BY_CHECK),
    Do("desktop", "cp -L ../bin/mailsync /media/stick/ && mkdir bin"),
    Type("desktop$ install"),
    Type("laptop$ mkdir -p ~/.local/share/bash-completion"),
    Skip("source <(", "it is for bash's own file; the test of the completions runs it"),
    Type("laptop$ mkdir -p ~/.zfunc"),
    Type("laptop$ mkdir -p ~/.config/fish"),
    Type("laptop$ mkdir -p ~/.local/share/man"),
    Do("desktop", "mailsync init ~/Maildir --name desktop"),
    Type("desktop$ install"),
    Skip("laptop$ mailsync --version", "the commit is another one; the test of --version compares the rest"),
];

/// README.md.
pub const README: &[Step] = &[
    Skip("cargo install", BY_OTHERS),
    Skip("sh examples/two-machines.sh", BY_OTHERS),
    Type("desktop$ mailsync init ~/Maildir"),
    Type("desktop$ mailsync export -o /media/stick/"),
    // The server has got a replica, and has exchanged bundles with the laptop: the keys go as the page shows next.
    Do(
        "laptop",
        "ssh server mailsync init Maildir --name server > server.pub && mailsync peer add server --key server.pub",
    ),
    Do("laptop", "ssh server mailsync peer add laptop --key \"'$(cat ~/.config/mailsync/key.pub)'\""),
    Do("laptop", "mailsync export --to server | ssh server mailsync import --reply | mailsync import"),
    Do("laptop", "printf 'Subject: new\\n\\nhello\\n' > ~/Mail/INBOX/new/1.a"),
    Do("laptop", "cd ~/Mail/Lists/bees/cur && f=$(ls | head -1) && mv $f ${f%:2,*}:2,FS"),
    Do("server", "cd ~/Maildir/.Archive.2023/cur && f=$(ls | head -1) && mv $f ${f%:2,*}:2,FS && rm $(ls | tail -1)"),
    Do("server", "cd ~/Maildir/.Archive.2024/cur && mv $(ls | head -1) ../../.Sent/cur/"),
    Type("laptop$ mailsync export --to server | ssh"),
    Do("laptop", "mailsync peer remove server && rm server.pub && rm -r ../server/.config ../server/.local"),
    Type("laptop$ ssh server mailsync init"),
    Do("desktop", "rm -f /media/stick/*"),
    Type("desktop$ mailsync invite tablet"),
];

const BY_SSHD: &str = "ssh_carries_bundles.rs tries it with a real server";
const WORDS: &str = "a message that is tried where what it tells of is tried";

/// docs/guide.md.
pub const GUIDE: &[Step] = &[
    // Three machines that exchange bundles: the desktop, which has the mail, the laptop, and a server.
    Do("desktop", "mailsync init ~/Maildir --name desktop > ~/key.pub; mkdir /media/stick/shared /backup"),
    Do("laptop", "mkdir ~/Mail ~/.ssh; mailsync init ~/Mail --name laptop --layout fs > ~/key.pub"),
    Do("server", "mailsync init ~/Maildir --name server > ~/key.pub"),
    Do("desktop", "mailsync peer add laptop --key ../laptop/key.pub; mailsync peer add server --key ../server/key.pub"),
    Do(
        "laptop",
        "mailsync peer add desktop --key ../desktop/key.pub; mailsync peer add server --key ../server/key.pub",
    ),
    Do(
        "server",
        "mailsync peer add desktop --key ../desktop/key.pub; mailsync peer add laptop --key ../laptop/key.pub",
    ),
    Do("desktop", "mailsync export --to server | ssh server mailsync import --reply | mailsync import"),
    Do("laptop", "mailsync export --to server | ssh server mailsync import --reply | mailsync import"),
    // Inviting a machine.
    Type("desktop$ mailsync invite tablet"),
    Do("tablet", "rm -r .config .local Mail"),
    Type("tablet$ mkdir -p"),
    Do(
        "desktop",
        "mailsync peer remove tablet; mailsync invite tablet --key ../tablet/.config/mailsync/key.pub -o ~/new.zst.age",
    ),
    Do("tablet", "env -u MAILSYNC_CODE mailsync join ~/Mail ../desktop/new.zst.age"),
    // A directory that several machines share.
    Fill("mailsync import --consume DIR", &[("DIR", "/media/stick/shared")]),
    // Calling the peers, and a key that can only exchange bundles.
    Configure("[peer.server]", "laptop"),
    Type("laptop$ mailsync update"),
    Do("laptop", "mailsync update server"),
    Type("laptop$ ssh-keygen"),
    Skip("restrict,command=", BY_SSHD),
    Configure("[peer.server]", "laptop"),
    Do("laptop", "mailsync update"),
    Type("laptop$ mailsync export --to server | ssh -T -i"),
    Skip("PATH=", "no cron is run; its commands are tried elsewhere on this page"),
    // Links on which no answer comes.
    Fill("mailsync export --to PEER", &[("PEER", "laptop"), ("DIR", "~")]),
    // Encrypting bundles.
    Do(
        "laptop",
        "mkdir out && cd out && cp $(ls ../../desktop/desktop-laptop-*.zst.age | head -1) desktop-laptop-1.zst.age",
    ),
    Do("laptop", "mv out/* . && mkdir messages-before"),
    Type("laptop$ age -d"),
    Do("desktop", "cp ../laptop/key.pub laptop.pub"),
    Type("desktop$ mailsync export --to laptop | age"),
    Do("laptop", "mailsync import ../desktop/bundle.zst.age"),
    // Sending mail through another machine.
    Do(
        "server",
        "printf '#!/bin/sh\necho msmtp: cannot connect to mail.example.org, port 25: Connection refused >&2\nexit 69\n' > ../bin/sendmail && chmod +x ../bin/sendmail",
    ),
    Configure("[[allow]]", "server"),
    Skip("set sendmail=", "mail_is_sent_through_a_peer.rs tries it with mutt"),
    Type("git config"),
    Do("laptop", "printf 'Subject: a\n\nb\n' | mailsync uux server sendmail -oi -f me@example.org -- ben@example.org"),
    Do(
        "laptop",
        "sed -i 's/^call.*/call = [\"ssh\", \"server\", \"mailsync\", \"import\", \"--reply\"]/' .config/mailsync/config.toml",
    ),
    Fail("laptop$ mailsync update", 1),
    Type("laptop$ mailsync jobs show"),
    Do("laptop", "mailsync peer remove server"),
    Do("server", "mailsync peer remove laptop"),
    Do("laptop", "cp ../server/key.pub server.pub"),
    Do("server", "cp ../laptop/key.pub laptop.pub"),
    Type("laptop$ mailsync peer add server"),
    // The trash: the desktop removes a message that a person waits for, and some of a list.
    Do(
        "desktop",
        "printf 'From: Ann Example <ann@example.org>\\nSubject: Lunch tomorrow?\\n\\nAt one?\\n' > Maildir/new/1.lunch",
    ),
    Do(
        "desktop",
        "mkdir -p Maildir/.Lists/{cur,new,tmp} && for n in 1 2 3; do echo \"Subject: $n\" > Maildir/.Lists/cur/$n.x:2,S; done",
    ),
    Do("desktop", "mailsync export --to laptop | ssh laptop mailsync import --reply | mailsync import"),
    Do(
        "desktop",
        "rm Maildir/new/1.lunch && mailsync export --to laptop | ssh laptop mailsync import --reply | mailsync import",
    ),
    Type("laptop$ mailsync trash list"),
    Do(
        "desktop",
        "rm Maildir/.Lists/cur/*; mailsync export --to laptop | ssh laptop mailsync import --reply | mailsync import",
    ),
    Fill("laptop$ mailsync trash restore 2-89", &[("2-89", "2-3")]),
    // Who did that, and when.
    Do("desktop", "printf 'Subject: seen\\n\\n' > Maildir/cur/1764000000.M1P2.host:2,S"),
    Do("desktop", "mailsync export --to laptop | ssh laptop mailsync import --reply | mailsync import"),
    Do(
        "laptop",
        "rm Mail/Archive/2024/cur/*; mkdir -p Mail/Work/{cur,new,tmp}; mv Mail/Archive/2023/cur/* Mail/Work/cur/",
    ),
    Do("laptop", "mailsync export --to desktop | ssh desktop mailsync import"),
    Fill("desktop$ mailsync log --removed", &[("--message 17", "--message 1")]),
    Type("desktop$ mailsync undo"),
    // Mail that went by mistake: the server has it all, and some of it lies in another folder, too.
    Do(
        "desktop",
        "printf '\\n[peer.server]\\ncall = [\"ssh\", \"server\", \"mailsync\", \"import\", \"--reply\"]\\n' >> .config/mailsync/config.toml",
    ),
    Do("desktop", "for n in $(seq 812); do echo \"Subject: the list says $n\" > Maildir/.Lists/cur/$n.y:2,S; done"),
    Do("desktop", "mkdir -p Maildir/.Kept/{cur,new,tmp} && cp Maildir/.Lists/cur/1?.y:2,S Maildir/.Kept/cur/"),
    Do("desktop", "mailsync update && rm -r Maildir/.Lists"),
    Fail("desktop$ mailsync update", 6),
    Type("desktop$ mailsync restore Lists --dry-run"),
    Type("desktop$ mailsync restore Lists"),
    Type("desktop$ mailsync update"),
    Do("desktop", "test $(ls Maildir/.Lists/cur Maildir/.Lists/new | grep -c .) -ge 812"),
    // When much was removed by mistake. The laptop has it all; that a job of its has failed is told on the way.
    Do("laptop", "mailsync export --to desktop | ssh desktop mailsync import --reply | mailsync import || true"),
    Do(
        "desktop",
        "rm -r Maildir/.Lists; mailsync scan --allow-mass-delete && mailsync export --to laptop -o /media/stick/",
    ),
    Fail("laptop$ mailsync import --dry-run -v", 6),
    Type("desktop$ mailsync restore Lists --since 1h"),
    Type("laptop$ mailsync import --allow-mass-delete"),
    Do("desktop", "mailsync import $(ls -t /media/stick/laptop-desktop-*.zst.age | head -1)"),
    Do("desktop", "test $(ls Maildir/.Lists/cur Maildir/.Lists/new | grep -c .) -ge 812"),
    // Backups, moved and restored.
    Type("cd"),
    Do("desktop", "mv Maildir Mail2 && sed -i s/Maildir/Mail2/ .config/mailsync/config.toml"),
    Type("mailsync doctor --moved-root"),
    Type("mailsync doctor --new-identity"),
    Type("mailsync doctor --new-identity"),
    // Keys.
    Type("mailsync key rotate"),
    Skip("mailsync key passphrase", "a_key_can_have_a_passphrase.rs types one at a terminal"),
    Configure("passphrase_command", "desktop"),
    // Machines that are lost, and peers that have gone bad.
    Fill("mailsync peer revoke NAME", &[("NAME", "laptop"), ("TIME", "yesterday")]),
    Fill("mailsync peer remove NAME", &[("NAME", "server")]),
    Skip("mailsync: note: desktop and this replica", WORDS),
    Skip("mailsync: reading", WORDS),
];

/// docs/lost-machine.md.
pub const LOST: &[Step] = &[
    Do("desktop", "mailsync init ~/Maildir --name desktop > ~/key.pub"),
    Do("laptop", "mkdir ~/Mail; mailsync init ~/Mail --name laptop --layout fs > ~/key.pub"),
    Do("desktop", "mailsync peer add laptop --key ../laptop/key.pub"),
    Do("laptop", "mailsync peer add desktop --key ../desktop/key.pub"),
    Do("desktop", "mailsync export | ssh laptop mailsync import --reply | mailsync import"),
    // The thief.
    Do("laptop", "rm Mail/Archive/2024/cur/*; cd Mail/Archive/2023/cur; mv $(ls | head -1) ../../../Sent/cur/"),
    Do("laptop", "mailsync export | ssh desktop mailsync import"),
    Fill("mailsync peer revoke laptop", &[("mailsync update", "mailsync update || true")]),
    Fill("mailsync export -o /media/stick", &[("export -o /media/stick", "export -o /media/stick || true")]),
    Fill("mailsync import /media/stick", &[("if update", "if an update")]),
    Skip("mailsync peer revoke NAME [--since", "the form of the command"),
    Skip("note: laptop WAS REVOKED", "a_lost_machine_is_shut_out.rs sees that it is said"),
    Fill("mailsync trash restore --by laptop", &[("TIME", "2h")]),
    Skip("mailsync trash restore --by 3f2a91bc", "what_a_thief_hides_is_laid_to_it.rs types an ID that was shown"),
    Type("mailsync peer revoke laptop --keep"),
    Fill("mailsync peer reinstate NAME", &[("NAME", "laptop"), ("mailsync peer revoke OTHER", "mailsync peer list")]),
    Fill("mailsync peer reinstate NAME", &[("mailsync peer reinstate NAME", "mailsync status")]),
];

/// Two machines that know each other: the desktop, which has the mail, and the laptop.
const TWO: &str = "mailsync init ~/Maildir --name desktop > ~/key.pub; cd ../laptop; export HOME=$PWD; mkdir Mail; \
    mailsync init ~/Mail --name laptop --layout fs > key.pub; mailsync peer add desktop --key ../desktop/key.pub; \
    cd ../desktop; export HOME=$PWD; mailsync peer add laptop --key ../laptop/key.pub";

/// docs/transports.md.
pub const TRANSPORTS: &[Step] = &[
    Do("desktop", TWO),
    // A key that can do nothing else: an ssh without a command runs the one to which the key is restricted.
    Type("laptop$ mkdir -p ~/.ssh"),
    Do("desktop", "grep -q '^restrict,command=\"mailsync import --reply --quiet\" ssh-ed25519 ' .ssh/authorized_keys"),
    Configure("[peer.desktop]", "laptop"),
    Type("laptop$ mailsync update"),
    Do("laptop", "test $(ls Mail/INBOX/cur | wc -l) -gt 9"),
    // A spool on the server, which also holds what is for others.
    Do(
        "laptop",
        "printf 'Subject: spooled\n\n' > Mail/INBOX/cur/1.spooled:2,S; mkdir ../server/spool; touch ../server/spool/a-tablet-1.zst",
    ),
    Type("laptop$ mkdir -p ~/spool/out"),
    Do(
        "desktop",
        "grep -rqs spooled Maildir/cur && ls ../server/spool | grep -qx a-tablet-1.zst && test -z \"$(ls spool/in)\"",
    ),
    // A stick.
    Do("desktop", "printf 'Subject: carried\n\n' > Maildir/cur/2.carried:2,S"),
    Type("desktop$ mailsync export --to laptop --split"),
    Type("laptop$ mailsync import --consume /media/stick/"),
    Do("laptop", "grep -rqs carried Mail/INBOX && rm /media/stick/*"),
    // A directory that is the same on both.
    Do("laptop", "printf 'Subject: synced\n\n' > Mail/INBOX/cur/3.synced:2,S; mkdir -p Sync/mail ../desktop/Sync"),
    Do("desktop", "ln -s ../../laptop/Sync/mail Sync/mail"),
    Type("laptop$ mailsync import --consume ~/Sync/mail"),
    Do("desktop", "grep -rqs synced Maildir/cur"),
    // An object store, which is a directory here.
    Do("laptop", "printf 'Subject: stored\n\n' > Mail/INBOX/cur/4.stored:2,S; mkdir ../store"),
    Do(
        "laptop",
        "mkdir -p .config/rclone; printf '[store]\ntype = alias\nremote = %s\n' ${HOME%/*}/store > .config/rclone/rclone.conf",
    ),
    Do("desktop", "mkdir -p .config/rclone; cp ../laptop/.config/rclone/rclone.conf .config/rclone/"),
    Type("laptop$ mkdir -p ~/out ~/in"),
    Do("desktop", "grep -rqs stored Maildir/cur && test -z \"$(find ../store -type f)\""),
    // NNCP, with a configuration for each machine that has the other one's public keys.
    Do("laptop", NNCP),
    Do("laptop", "printf 'Subject: queued\n\n' > Mail/INBOX/cur/5.queued:2,S; mkdir queue"),
    Type("laptop$ mailsync export --to desktop -o ~/queue/"),
    Type("laptop$ nncp-xfer"),
    Do("desktop", "grep -rqs queued Maildir/cur"),
    // A link that leads to the laptop only, and loses something.
    Do("desktop", "mkdir diode ../laptop/diode"),
    Type("desktop$ mailsync export --to laptop --since-last"),
    Do("laptop", "mv ../desktop/diode/* diode/"),
    Type("laptop$ mailsync import --consume ~/diode/"),
    Do("desktop", "echo lost > Maildir/cur/6.lost:2,S; mailsync export --to laptop --since-last -o diode; rm diode/*"),
    Do("desktop", "echo later > Maildir/cur/7.later:2,S; mailsync export --to laptop --since-last -o ../laptop/diode"),
    Fail("laptop$ mailsync import --consume ~/diode/", 3),
    Type("desktop$ mailsync export --to laptop --full"),
    Do("laptop", "mv ../desktop/diode/* diode/"),
    Type("laptop$ mailsync import --consume ~/diode/"),
    Do("laptop", "test -z \"$(ls diode)\""),
    Do("laptop", "grep -rqsx lost Mail/INBOX && grep -rqsx later Mail/INBOX"),
];

/// Both machines know each other by NNCP, whose programs find their configuration in the home.
const NNCP: &str = r#"
    for machine in laptop desktop; do
        home=${HOME%/*}/$machine
        mkdir -p $home/nncp $home/incoming
        nncp-cfgnew -nocomments | sed "s|/var/spool/nncp|$home/nncp|" > $home/new.hjson
    done
    for pair in laptop:desktop desktop:laptop; do
        machine=${pair%:*} other=${pair#*:} home=${HOME%/*}/${pair%:*}
        keys=$(sed -n '/neigh:/,/exec:/p' ../$other/new.hjson | grep -E '^ *(id|exchpub|signpub|noisepub):')
        while IFS= read -r line; do
            printf '%s
' "$line"
            case $line in *neigh:*) printf '%s: {
%s
incoming: "%s"
}
' "$other" "$keys" "$home/incoming" ;; esac
        done < $home/new.hjson > $home/nncp.hjson
    done
    for program in file xfer toss; do
        printf '#!/bin/sh
exec /usr/bin/nncp-%s -cfg $HOME/nncp.hjson -quiet "$@"
' $program > ../bin/nncp-$program
        chmod +x ../bin/nncp-$program
    done"#;

/// docs/how-to.md.
pub const HOW_TO: &[Step] = &[
    Do("desktop", TWO),
    Do(
        "desktop",
        "mkdir -p Maildir/.Lists/{cur,new,tmp} && for n in 1 2; do echo \"Subject: $n\" > Maildir/.Lists/cur/$n.x:2,S; done",
    ),
    Do("desktop", EXCHANGE),
    Do("desktop", "rm Maildir/.Lists/cur/*"),
    Do("desktop", EXCHANGE),
    Type("laptop$ mailsync trash list"),
    Do("desktop", EXCHANGE),
    Do("desktop", "test $(cat Maildir/.Lists/*/* | grep -c Subject) = 2 && rm -r Maildir/.Lists"),
    Type("desktop$ mailsync restore Lists"),
    Do("desktop", EXCHANGE),
    Do("desktop", "test $(cat Maildir/.Lists/*/* | grep -c Subject) = 2"),
    // The laptop removes one.
    Do("laptop", "rm \"$(find Mail/Lists/cur Mail/Lists/new -type f | head -1)\""),
    Do("laptop", EXCHANGE),
    Do("desktop", "mailsync log --removed --folder Lists | grep laptop"),
    Type("desktop$ mailsync log --removed"),
    Type("desktop$ mailsync trash list"),
    Type("desktop$ mv ~/Maildir"),
    Do("desktop", "test \"$(mailsync scan --list)\" = ''"),
    Type("laptop$ sed -i"),
    Type("desktop$ mailsync peer rename"),
    Do("laptop", EXCHANGE),
    // The tablet takes the place of the laptop.
    Type("laptop$ mailsync scan"),
    Do("tablet", EXCHANGE),
    Type("desktop$ mailsync peer remove travel"),
    Do("desktop", "mailsync peer add travel --key ../laptop/key.pub"),
    Do("tablet", "printf 'Subject: last\n\n' > Mail/INBOX/cur/9.last:2,S"),
    Type("tablet$ mailsync export -o /media/stick/"),
    Do("desktop", "grep -rqs last Mail/cur"),
    Type("tablet$ mailsync deinit --dry-run"),
    Do("tablet", "test -d Mail/INBOX/cur && ! test -e .config/mailsync && ! test -e .local/state/mailsync"),
    Do("desktop", "mkdir Mail-work Mail-club"),
    Type("desktop$ mailsync --home ~/.mailsync/work init"),
    Do("desktop", "mkdir /backup; cp -a --parents Mail .config/mailsync .local/state/mailsync /backup/"),
    Type("desktop$ cp -a /backup/."),
    // The laptop begins anew.
    Do(
        "laptop",
        "rm -r .config/mailsync .local/state/mailsync; mailsync init ~/Mail --name laptop > key.pub; \
         mailsync peer add desktop --key ../desktop/key.pub; cd ../desktop; export HOME=$PWD; mailsync peer add laptop --key ../laptop/key.pub",
    ),
    Configure("[peer.desktop]", "laptop"),
    Type("laptop$ mailsync watch --once"),
    Skip(
        "laptop$ mkdir -p ~/.config/systemd",
        "units_run_what_the_program_has.rs tries the units; there is no session of systemd here",
    ),
    Skip("laptop$ systemctl --user enable", "there is no session of systemd here"),
    Skip("PATH=", "no cron is run; the commands are tried in watch_does_it_by_itself.rs and update_calls_the_peers.rs"),
    Type("desktop$ sed -i 's/^ignore"),
    Do("desktop", "mailsync status | grep Archive/2023; ! mailsync status | grep Private"),
];

const EXCHANGE: &str = "case $HOME in */desktop) other=laptop;; *) other=desktop;; esac; \
    mailsync export | ssh $other mailsync import --reply | mailsync import";
