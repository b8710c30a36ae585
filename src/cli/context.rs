//! The context that every command is given.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use age::secrecy::SecretString;
use jiff::tz::TimeZone;
use mailsync::error::{Error, Result};
use mailsync::replica::{Access, Ask, Home, Replica, World};

use super::meter;
use super::moment::Moment;
use super::output::Output;
use super::prompt;

/// The person at the terminal.
struct Terminal;

impl Ask for Terminal {
    fn secret(&self, question: &str) -> Result<Option<SecretString>> {
        prompt::secret(question)
    }
}

/// The surroundings of a command.
pub struct Context {
    pub home: Option<std::path::PathBuf>,
    pub lock_timeout: Duration,
    pub out: Output,
    /// What the disk has kept a command from doing, as of the last time that it was tried.
    pub hindrance: RefCell<Option<Error>>,
    /// What a command could not look at, though it did everything else.
    pub problems: RefCell<Vec<Error>>,
}

impl Context {
    pub fn home(&self) -> Result<Home> {
        self.home.clone().map_or_else(Home::standard, |dir| Ok(Home::at(absolute(&dir)?)))
    }

    pub fn world(&self) -> World {
        World { meter: meter::of(self.out.quiet()), ask: Arc::new(Terminal), ..World::real() }
    }

    pub fn open(&self, access: Access) -> Result<Replica> {
        let replica = Replica::open(&self.home()?, self.world(), access)?;
        self.say_notes(&replica);
        Ok(replica)
    }

    pub fn read(&self) -> Result<Replica> {
        self.open(Access::Read)
    }

    pub fn write(&self) -> Result<Replica> {
        self.open(Access::Write(self.lock_timeout))
    }

    /// Opens the replica for a decision about another one. After it, [`Context::say_undecided`] tells what is still open.
    pub fn decide(&self) -> Result<Replica> {
        let replica = Replica::open_undecided(&self.home()?, self.world(), Access::Write(self.lock_timeout))?;
        self.say_notes(&replica);
        Ok(replica)
    }

    /// Tells what a person has yet to decide about other replicas.
    pub fn say_undecided(&self, replica: &Replica) -> Result<()> {
        replica.note_undecided()?;
        self.say_notes(replica);
        Ok(())
    }

    /// Opens the replica to repair it.
    pub fn repair(&self) -> Result<Replica> {
        let replica = Replica::open_to_repair(&self.home()?, self.world(), self.lock_timeout)?;
        self.say_notes(&replica);
        Ok(replica)
    }

    /// Opens the replica to take another mail root.
    pub fn moved(&self) -> Result<Replica> {
        let replica = Replica::open_moved(&self.home()?, self.world(), self.lock_timeout)?;
        self.say_notes(&replica);
        Ok(replica)
    }

    /// The moment that a person means, in milliseconds since 1970 UTC.
    ///
    /// # Errors
    /// It isn't in the past.
    pub fn millis(&self, moment: &Moment) -> Result<u64> {
        let now = (self.world().now)();
        moment.millis(now, &TimeZone::system()).map_err(|why| Error::usage(format!("understanding --since: {why}")))
    }

    /// Tells what a command found worth knowing, and keeps what is to be told at its end.
    pub fn say_notes(&self, replica: &Replica) {
        self.hindrance.replace(replica.hindrance());
        let mut problems = self.problems.borrow_mut();
        for problem in replica.drain_problems() {
            // Bundles for several peers may lack the same message.
            if !problems.iter().any(|told| told.to_string() == problem.to_string()) {
                problems.push(problem);
            }
        }
        for note in replica.drain_notes() {
            self.out.say(format_args!("note: {note}"));
        }
    }
}

pub fn absolute(path: &std::path::Path) -> Result<std::path::PathBuf> {
    std::path::absolute(path).map_err(|error| Error::io("finding", path, error))
}
