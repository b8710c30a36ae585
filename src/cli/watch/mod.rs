//! `mailsync watch`: does by itself what a person does by `scan`, `export -o DIR`, `import DIR` and `update`, when
//! something has changed or arrived, and at intervals. It works in the foreground, and holds no lock while it waits.

mod notices;
mod plan;
mod round;
mod schedule;
mod told;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use mailsync::error::{Error, ErrorKind};
use mailsync::process::{finish_before_stopping, was_told_to_stop};
use mailsync::replica::{Care, Outlook};
use mailsync::text::plural;

use super::args::Watch;
use super::context::Context;
use super::document::{self, watching};
use super::failure::{CommandResult, Ending, Failure};
use notices::{Notices, Role, Roles};
use plan::Plan;
use round::{Deed, Hand};
use schedule::{Next, Schedule, Step, Time};
use told::Told;

pub fn run(context: &Context, args: &Watch) -> CommandResult {
    let replica = context.read()?;
    let config = replica.config();
    if replica.has_passphrase() && config.passphrase_command.is_none() {
        return Err(Error::usage(
            "watching: the key has a passphrase, and nobody is there to be asked for it each time",
        )
        .advise("set passphrase_command in config.toml, to a program that writes it")
        .into());
    }
    let plan = Plan::new(config, args)?;
    let outlook = replica.outlook()?;
    drop(replica);
    let hand = Hand { context, args, told: Told::default() };
    let mut watching = Watching::new(hand, plan);
    if args.once {
        return watching.once();
    }
    finish_before_stopping(watching.notices.waker()).map_err(|error| {
        Error::os("listening to signals", error)
            .advise("see how many threads and files a user may have, then run this again")
    })?;
    watching.tell_plan();
    watching.listen(&outlook);
    while !was_told_to_stop() {
        watching.round();
        watching.hand_out(context)?;
        watching.wait();
    }
    context.out.say("told to stop, and nothing is left half done");
    Ok(context.out.document(&watching::Watch { steps: Vec::new() }))
}

/// All that `watch` knows while it runs.
struct Watching<'c> {
    hand: Hand<'c>,
    plan: Plan,
    schedule: Schedule,
    notices: Notices,
    began: Instant,
    /// When it was looked thoroughly whether something is to be carried.
    thorough: Option<Time>,
    /// How many messages were wanted from peers when it was looked last.
    wanted: u64,
    steps: Vec<watching::Step>,
    /// The worst of what went wrong in the round.
    worst: Option<ErrorKind>,
}

impl<'c> Watching<'c> {
    fn new(hand: Hand<'c>, plan: Plan) -> Self {
        Self {
            hand,
            schedule: plan.schedule(Time::ZERO),
            plan,
            notices: Notices::none(),
            began: Instant::now(),
            thorough: None,
            wanted: 0,
            steps: Vec::new(),
            worst: None,
        }
    }

    fn now(&self) -> Time {
        self.began.elapsed()
    }

    fn tell_plan(&self) {
        let spools = self.plan.outlets.iter().filter(|outlet| outlet.spool.is_some()).count();
        let calls = self.plan.outlets.len() - spools;
        let out = &self.hand.context.out;
        out.say(format_args!(
            "watching the mail, and {} for bundles; peers with a spool: {spools}; peers that are called: {calls}",
            plural(self.plan.receive.len() as u64, "directory"),
        ));
        if self.plan.outlets.is_empty() && self.plan.receive.is_empty() {
            out.say(
                "note: nothing is sent or received: config.toml has no call and no spool of a [peer.NAME], and no receive in [watch]",
            );
        }
    }

    /// Does all that is due, and ends.
    fn once(&mut self) -> CommandResult {
        // What a peer's answer has brought may be for one that got its bundle before.
        for _ in 0..=self.plan.outlets.len() {
            self.round();
        }
        self.look_for_spools();
        let shown = self.hand.context.out.document(&watching::Watch { steps: std::mem::take(&mut self.steps) });
        self.worst.map_or(Ok(shown), |kind| Err(Failure::Said(kind)))
    }

    /// Tells which spools are not there, though nothing was to be put into them: what was may be lost with them.
    fn look_for_spools(&mut self) {
        for dir in self.plan.outlets.iter().filter_map(|outlet| outlet.spool.as_ref()).filter(|dir| !dir.is_dir()) {
            let what = format!("writing the bundle {}: there is no such directory", dir.join("").display());
            let error = Error::failed(what).advise("make it first");
            self.worst = self.worst.max(Some(error.kind()));
            self.hand.complain_once(&error);
        }
    }

    /// Does all that is due. What is due for the second time belongs to the next round.
    fn round(&mut self) {
        let mut done = BTreeSet::new();
        while !was_told_to_stop() {
            let now = self.now();
            let Next::Now(step) = self.schedule.next(now) else { return };
            if !done.insert(step) {
                return;
            }
            let care = self.care(step, now);
            self.schedule.begin(step, now);
            let deed = self.hand.act(&self.plan, step, care);
            self.schedule.ended(step, deed.ended(), self.now());
            self.learn(deed);
        }
    }

    /// Now and then a scan is followed by a thorough look at what is to be carried.
    fn care(&mut self, step: Step, now: Time) -> Care {
        let is_time = self.thorough.is_none_or(|last| now.saturating_sub(last) >= self.plan.timing.every);
        if step != Step::Scan || !is_time {
            return Care::Quick;
        }
        self.thorough = Some(now);
        Care::Thorough
    }

    /// Takes up what a step has shown.
    fn learn(&mut self, deed: Deed) {
        let now = self.now();
        self.steps.push(deed.document);
        self.worst = self.worst.max(deed.worst);
        for outlet in deed.wanted {
            self.schedule.want(outlet, now);
        }
        if let Some(plan) = deed.plan {
            self.hand.context.out.say("config.toml has changed");
            self.schedule = plan.schedule(now);
            self.plan = plan;
            self.tell_plan();
        }
        if let Some(outlook) = &deed.outlook {
            // Nobody knows what is missing here before a bundle has told it.
            if outlook.wanted > self.wanted {
                (0..self.plan.outlets.len()).for_each(|outlet| self.schedule.want(outlet, now));
            }
            self.wanted = outlook.wanted;
            if !self.hand.args.once {
                self.listen(outlook);
            }
        }
    }

    /// Watches where changes show.
    fn listen(&mut self, outlook: &Outlook) {
        let (added, failed) = self.notices.watch(&roles(outlook, &self.plan));
        // What has happened there between the look and the watch was not told.
        if added {
            self.schedule.changed(self.now());
        }
        if let Some(error) = failed {
            self.hand.complain_once(&error);
            self.worst = self.worst.max(Some(error.kind()));
        }
        self.hand.told.end("listen");
    }

    /// Tells how the round was, to who wants documents. Nothing is kept of it.
    fn hand_out(&mut self, context: &Context) -> Ending {
        let (steps, worst) = (std::mem::take(&mut self.steps), self.worst.take());
        if steps.is_empty() || !context.out.json() {
            document::forget();
            return Ok(());
        }
        let _ = context.out.document(&watching::Watch { steps });
        context.out.finish(worst)
    }

    /// Waits until something is due, or told.
    fn wait(&mut self) {
        let now = self.now();
        let Next::At(next) = self.schedule.next(now) else { return };
        let news = self.notices.wait(next.saturating_sub(now).min(LONGEST_WAIT));
        let now = self.now();
        if news.mail {
            self.schedule.changed(now);
        }
        for directory in news.arrived {
            self.schedule.arrived(directory, now);
        }
        if news.lost {
            self.hand.complain_once(&notices::lost());
            self.schedule.look_at_all(now);
        }
    }
}

/// A clock can't be added to without an end.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// What each directory is watched for.
fn roles(outlook: &Outlook, plan: &Plan) -> Roles {
    let mut roles = Roles::new();
    let mut add = |dir: &Path, role| roles.entry(dir.to_owned()).or_default().push(role);
    outlook.messages.iter().for_each(|dir| add(dir, Role::Messages));
    outlook.folders.iter().for_each(|dir| add(dir, Role::Folders));
    match &outlook.outbox {
        Ok(outbox) => add(outbox, Role::Outbox),
        Err(above) => add(above, Role::AboveOutbox),
    }
    plan.receive.iter().enumerate().for_each(|(number, dir)| add(dir, Role::Arrivals(number)));
    roles
}
