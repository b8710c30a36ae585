//! When `watch` does what. Pure: its clock is given from outside, as the time since it began.

use std::time::Duration;

/// A peer that could not be given its bundle is tried again after this time, then after twice as much, and so on.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
/// It is tried again after this time at the latest.
const LONGEST_PAUSE: Duration = Duration::from_secs(30 * 60);

/// The time since `watch` began.
pub type Time = Duration;

/// How patient it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long nothing must have changed before it is looked at.
    pub after: Duration,
    /// How long a change waits at most, though others follow it.
    pub within: Duration,
    /// How often all is looked at, whether anything was told or not.
    pub every: Duration,
}

/// What is done at one time. The numbers are those of the directories and of the outlets, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Find out what changed in the mail.
    Scan,
    /// Import what has arrived in a directory.
    Receive(usize),
    /// Give a peer its bundle.
    Send(usize),
}

/// How a step has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was done.
    Done,
    /// It failed.
    Failed,
    /// Another mailsync was at work: it is tried again soon.
    Locked,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// This, now.
    Now(Step),
    /// Nothing before this time, unless something happens.
    At(Time),
}

/// News that was told and not looked at.
#[derive(Clone, Copy, Debug)]
struct News {
    first: Time,
    last: Time,
}

/// Something that is looked at when it is told that it has changed, and at an interval.
#[derive(Clone, Copy, Debug, Default)]
struct Look {
    news: Option<News>,
    /// When it is looked at next, whatever is told.
    regular: Time,
}

impl Look {
    fn told(&mut self, now: Time) {
        let first = self.news.map_or(now, |news| news.first);
        self.news = Some(News { first, last: now });
    }

    fn due(&self, timing: &Timing) -> Time {
        let by_news = self.news.map(|news| (news.last + timing.after).min(news.first + timing.within));
        by_news.map_or(self.regular, |due| due.min(self.regular))
    }

    fn begin(&mut self, now: Time, timing: &Timing) {
        *self = Self { news: None, regular: now + timing.every };
    }

    fn ended(&mut self, ended: Ended, now: Time, timing: &Timing) {
        self.regular = now + timing.every;
        if ended == Ended::Locked {
            self.told(now);
        }
    }
}

/// A peer that gets bundles.
#[derive(Clone, Copy, Debug)]
struct Outlet {
    /// Since when there is something for it.
    wanted: Option<Time>,
    /// When it gets one next, whether there is something or not; `None` if only when there is.
    regular: Option<Time>,
    /// How often it has failed in a row.
    failures: u32,
    /// Not before this time.
    not_before: Time,
}

impl Outlet {
    fn due(&self) -> Option<Time> {
        let due = [self.wanted, self.regular].into_iter().flatten().min()?;
        Some(due.max(self.not_before))
    }

    fn ended(&mut self, began: Option<Time>, ended: Ended, now: Time, timing: &Timing) {
        self.regular = self.regular.map(|_| now + timing.every);
        match ended {
            Ended::Done => (self.failures, self.not_before) = (0, now),
            Ended::Locked => {
                self.wanted = self.wanted.or(began).or(Some(now));
                self.not_before = now + timing.after;
            }
            Ended::Failed => {
                self.wanted = self.wanted.or(began).or(Some(now));
                self.failures = self.failures.saturating_add(1);
                self.not_before = now + pause(self.failures);
            }
        }
    }
}

/// How long a peer is left alone that has failed so often in a row.
fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE)
}

/// What is to be done, and when. At the beginning all of it is due.
#[derive(Clone, Debug)]
pub struct Schedule {
    timing: Timing,
    scan: Look,
    directories: Vec<Look>,
    outlets: Vec<Outlet>,
    /// Since when the outlet was wanted that is served.
    serving: Option<Time>,
}

impl Schedule {
    /// A schedule that begins at this time, with so many directories, and an outlet for each of `called`: it tells whether
    /// the peer is called at an interval, and what it has is heard, or only gets what there is.
    pub fn new(timing: Timing, directories: usize, called: &[bool], now: Time) -> Self {
        let look = Look { news: None, regular: now };
        let outlet =
            |called: &bool| Outlet { wanted: None, regular: called.then_some(now), failures: 0, not_before: now };
        Self {
            timing,
            scan: look,
            directories: vec![look; directories],
            outlets: called.iter().map(outlet).collect(),
            serving: None,
        }
    }

    /// Something in the mail has changed.
    pub fn changed(&mut self, now: Time) {
        self.scan.told(now);
    }

    /// Something in a directory has changed.
    pub fn arrived(&mut self, directory: usize, now: Time) {
        if let Some(look) = self.directories.get_mut(directory) {
            look.told(now);
        }
    }

    /// Anything may have changed: all that is looked at is due.
    pub fn look_at_all(&mut self, now: Time) {
        for look in self.directories.iter_mut().chain([&mut self.scan]) {
            look.regular = look.regular.min(now);
        }
    }

    /// There is something for a peer.
    pub fn want(&mut self, outlet: usize, now: Time) {
        if let Some(outlet) = self.outlets.get_mut(outlet) {
            outlet.wanted.get_or_insert(now);
        }
    }

    /// What comes next: what is due for longest, so that everything has its turn. Of what is due since the same time, what is
    /// found out comes before what is told to others, so that they get it at once.
    pub fn next(&self, now: Time) -> Next {
        let looks = self.directories.iter().enumerate().map(|(number, look)| (Step::Receive(number), look));
        let looks = [(Step::Scan, &self.scan)].into_iter().chain(looks);
        let looks = looks.map(|(step, look)| (step, look.due(&self.timing)));
        let outlets = self.outlets.iter().enumerate();
        let outlets = outlets.filter_map(|(number, outlet)| Some((Step::Send(number), outlet.due()?)));
        match looks.chain(outlets).min_by_key(|(_, due)| *due) {
            Some((step, due)) if due <= now => Next::Now(step),
            Some((_, due)) => Next::At(due),
            None => Next::At(Time::MAX),
        }
    }

    /// A step begins: what is told from here on is new.
    pub fn begin(&mut self, step: Step, now: Time) {
        match step {
            Step::Scan => self.scan.begin(now, &self.timing),
            Step::Receive(number) => self.directories[number].begin(now, &self.timing),
            Step::Send(number) => self.serving = self.outlets[number].wanted.take(),
        }
    }

    /// The step that was begun last has ended.
    pub fn ended(&mut self, step: Step, ended: Ended, now: Time) {
        match step {
            Step::Scan => self.scan.ended(ended, now, &self.timing),
            Step::Receive(number) => self.directories[number].ended(ended, now, &self.timing),
            Step::Send(number) => self.outlets[number].ended(self.serving.take(), ended, now, &self.timing),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TIMING: Timing =
        Timing { after: Duration::from_secs(5), within: Duration::from_secs(60), every: Duration::from_secs(300) };

    fn at(seconds: u64) -> Time {
        Duration::from_secs(seconds)
    }

    /// What is done from one time to another if no step takes time, and how each ends; with the time, in seconds.
    fn steps(schedule: &mut Schedule, from: u64, to: u64, ends: impl Fn(Step, u64) -> Ended) -> Vec<(u64, Step)> {
        let (mut done, mut now) = (Vec::new(), at(from));
        loop {
            match schedule.next(now) {
                Next::Now(step) => {
                    schedule.begin(step, now);
                    schedule.ended(step, ends(step, now.as_secs()), now);
                    done.push((now.as_secs(), step));
                    assert!(done.len() < 10_000, "it never rests: {:?}", &done[9_900..]);
                }
                Next::At(next) if next > at(to) => return done,
                Next::At(next) => now = next,
            }
        }
    }

    fn done(_: Step, _: u64) -> Ended {
        Ended::Done
    }

    /// A schedule with one directory, one peer that is called, and one with a spool; all that is due at the beginning is done.
    fn settled() -> Schedule {
        let mut schedule = Schedule::new(TIMING, 1, &[true, false], at(0));
        let first = steps(&mut schedule, 0, 0, done);
        assert_eq!(first, [(0, Step::Scan), (0, Step::Receive(0)), (0, Step::Send(0))]);
        schedule
    }

    #[test]
    fn a_change_is_looked_at_when_nothing_has_followed_it_for_a_while() {
        let mut schedule = settled();
        schedule.changed(at(10));
        assert_eq!(schedule.next(at(10)), Next::At(at(15)));
        schedule.changed(at(14));
        assert_eq!(steps(&mut schedule, 14, 100, done), [(19, Step::Scan)]);
    }

    #[test]
    fn a_steady_stream_of_changes_does_not_put_a_look_off_for_ever() {
        let mut schedule = settled();
        let mut scans = Vec::new();
        for second in 10..=250 {
            scans.extend(steps(&mut schedule, second, second, done));
            schedule.changed(at(second));
        }
        assert_eq!(scans, [(70, Step::Scan), (130, Step::Scan), (190, Step::Scan), (250, Step::Scan)]);
    }

    #[test]
    fn all_is_looked_at_at_an_interval_though_nothing_is_told_and_each_peer_is_called() {
        let mut schedule = settled();
        let round = |at| [(at, Step::Scan), (at, Step::Receive(0)), (at, Step::Send(0))];
        assert_eq!(steps(&mut schedule, 1, 600, done), [round(300), round(600)].concat());
    }

    #[test]
    fn what_is_told_while_a_step_runs_is_looked_at_once_more() {
        let mut schedule = settled();
        schedule.changed(at(10));
        schedule.begin(Step::Scan, at(15));
        schedule.changed(at(16));
        schedule.ended(Step::Scan, Ended::Done, at(20));
        assert_eq!(steps(&mut schedule, 20, 100, done), [(21, Step::Scan)]);
    }

    #[test]
    fn a_peer_that_can_not_be_reached_is_tried_again_with_growing_pauses_and_not_at_each_change() {
        let mut schedule = settled();
        let mut calls = Vec::new();
        let fails = |step, _| if step == Step::Send(0) { Ended::Failed } else { Ended::Done };
        for second in 10..10_000 {
            schedule.want(0, at(second));
            let now = steps(&mut schedule, second, second, fails);
            calls.extend(now.into_iter().filter(|(_, step)| *step == Step::Send(0)).map(|(second, _)| second));
        }
        let pauses: Vec<u64> = calls.windows(2).map(|two| two[1] - two[0]).collect();
        assert_eq!(pauses, [60, 120, 240, 480, 960, 1800, 1800, 1800, 1800]);
        // One success, and it is as before.
        schedule.want(0, at(20_000));
        let again = steps(&mut schedule, 20_000, 20_000, done);
        assert!(again.contains(&(20_000, Step::Send(0))), "{again:?}");
        schedule.want(0, at(20_001));
        assert_eq!(steps(&mut schedule, 20_001, 20_001, done), [(20_001, Step::Send(0))]);
    }

    #[test]
    fn what_failed_to_be_sent_is_sent_later_though_nothing_new_comes() {
        let mut schedule = settled();
        schedule.want(1, at(10));
        let once = |step, second| if (step, second) == (Step::Send(1), 10) { Ended::Failed } else { Ended::Done };
        assert_eq!(steps(&mut schedule, 10, 299, once), [(10, Step::Send(1)), (70, Step::Send(1))]);
    }

    #[test]
    fn a_step_that_another_mailsync_keeps_from_being_done_is_tried_again_soon() {
        for step in [Step::Scan, Step::Receive(0), Step::Send(0), Step::Send(1)] {
            let mut schedule = settled();
            match step {
                Step::Scan => schedule.changed(at(5)),
                Step::Receive(number) => schedule.arrived(number, at(5)),
                Step::Send(number) => schedule.want(number, at(10)),
            }
            let locked = |_, second| if second < 15 { Ended::Locked } else { Ended::Done };
            assert_eq!(steps(&mut schedule, 10, 299, locked), [(10, step), (15, step)]);
        }
    }

    #[test]
    fn when_news_were_lost_all_is_looked_at_at_once() {
        let mut schedule = settled();
        schedule.look_at_all(at(10));
        assert_eq!(steps(&mut schedule, 10, 299, done), [(10, Step::Scan), (10, Step::Receive(0))]);
    }

    #[test]
    fn everything_has_its_turn_though_the_interval_is_shorter_than_a_step() {
        let timing = Timing { every: Duration::from_millis(1), ..TIMING };
        let mut schedule = Schedule::new(timing, 1, &[true], at(0));
        let mut counts = [0; 3];
        for second in 0..30 {
            let Next::Now(step) = schedule.next(at(second)) else { panic!("something is due") };
            counts[match step {
                Step::Scan => 0,
                Step::Receive(_) => 1,
                Step::Send(_) => 2,
            }] += 1;
            schedule.begin(step, at(second));
            schedule.ended(step, Ended::Done, at(second + 1));
        }
        assert_eq!(counts, [10, 10, 10]);
    }

    #[derive(Clone, Copy, Debug)]
    enum Happens {
        Changed,
        Arrived(usize),
        Lost,
        Wanted(usize),
    }

    fn happens() -> impl Strategy<Value = Happens> {
        prop_oneof![
            Just(Happens::Changed),
            (0..2_usize).prop_map(Happens::Arrived),
            Just(Happens::Lost),
            (0..3_usize).prop_map(Happens::Wanted),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        /// Whatever happens, and however steps end: each change is looked at within its bound, nothing is looked at more
        /// often than at each `after`, nobody who fails is tried before its pause is over, and it always comes to rest.
        #[test]
        fn each_change_is_looked_at_in_time_and_nothing_is_done_too_often(
            events in prop::collection::vec((0_u64..40, happens(), 0_u8..8), 1..60)
        ) {
            let mut schedule = Schedule::new(TIMING, 2, &[true, false, true], at(0));
            let mut now = 0;
            let mut waiting: [Option<u64>; 3] = [None; 3];
            let mut failures = [0_u32; 3];
            let mut failed_at = [0_u64; 3];
            for (wait, what, mood) in events {
                let ends = |step: Step, second: u64| match (step, mood) {
                    (Step::Send(n), _) if (u64::from(mood) + second + n as u64).is_multiple_of(3) => Ended::Failed,
                    (_, 0) if second % 2 == 0 => Ended::Locked,
                    (_, 1) => Ended::Failed,
                    _ => Ended::Done,
                };
                // A step takes no time here, so a round ends when nothing is due.
                let until = now + wait;
                let all = steps(&mut schedule, now, until, ends);
                prop_assert!(all.len() as u64 <= 6 * (wait / TIMING.after.as_secs() + 2), "too often: {all:?}");
                for (second, step) in all {
                    match step {
                        Step::Scan => waiting[0] = None,
                        Step::Receive(n) => waiting[n + 1] = None,
                        Step::Send(n) => {
                            if failures[n] > 0 {
                                let rest = second - failed_at[n];
                                prop_assert!(at(rest) >= pause(failures[n]), "{n} after {rest} s");
                            }
                            match ends(step, second) {
                                Ended::Failed => (failures[n], failed_at[n]) = (failures[n] + 1, second),
                                Ended::Done => failures[n] = 0,
                                Ended::Locked => {}
                            }
                        }
                    }
                }
                now = until;
                for since in waiting.iter().flatten() {
                    prop_assert!(now - since <= TIMING.within.as_secs(), "a change of {since} waits at {now}");
                }
                match what {
                    Happens::Changed => {
                        schedule.changed(at(now));
                        waiting[0].get_or_insert(now);
                    }
                    Happens::Arrived(n) => {
                        schedule.arrived(n, at(now));
                        waiting[n + 1].get_or_insert(now);
                    }
                    Happens::Lost => schedule.look_at_all(at(now)),
                    Happens::Wanted(n) => schedule.want(n, at(now)),
                }
            }
            // Left alone, it does what it does at the interval and no more.
            let settles = now + 2 * LONGEST_PAUSE.as_secs();
            steps(&mut schedule, now, settles, done);
            let quiet = steps(&mut schedule, settles + 1, settles + 600, done);
            prop_assert!(quiet.len() <= 2 * 5, "{quiet:?}");
        }
    }
}
