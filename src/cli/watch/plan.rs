//! What `watch` is to do, by the configuration and the command line.

use std::path::PathBuf;

use mailsync::config::Config;
use mailsync::error::{Error, Result};
use mailsync::replica::Carrier;

use super::schedule::{Schedule, Step, Time, Timing};
use crate::cli::args::Watch;
use crate::cli::document::watching::{self, StepKind};

/// How one peer gets its bundles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlet {
    pub peer: String,
    /// The directory into which they are put; without one the peer is called.
    pub spool: Option<PathBuf>,
}

impl Outlet {
    pub fn carrier(&self) -> Carrier {
        if self.spool.is_some() { Carrier::Spool } else { Carrier::Call }
    }
}

/// What is to be done. The numbers of the steps are those of the elements here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub timing: Timing,
    /// The directories in which bundles arrive.
    pub receive: Vec<PathBuf>,
    /// Whether bundles are removed from there.
    pub consume: bool,
    pub outlets: Vec<Outlet>,
}

impl Plan {
    /// # Errors
    /// A time is none.
    pub fn new(config: &Config, args: &Watch) -> Result<Self> {
        let watch = &config.watch;
        let wrong =
            |why: String| Error::usage(format!("reading [watch] in config.toml: {why}")).advise("correct it there");
        let timing = Timing {
            after: args.after.map_or_else(|| watch.after(), Ok).map_err(wrong)?,
            within: args.within.map_or_else(|| watch.within(), Ok).map_err(wrong)?,
            every: args.every.map_or_else(|| watch.every(), Ok).map_err(wrong)?,
        };
        // What is in a directory is on its way, while a call may fail and take time.
        let spools = config.peer.iter().filter_map(|(peer, config)| Some((peer, Some(config.spool.clone()?))));
        let calls = config.peer.iter().filter(|(_, config)| config.call.is_some()).map(|(peer, _)| (peer, None));
        let outlets = spools.chain(calls).map(|(peer, spool)| Outlet { peer: peer.clone(), spool }).collect();
        Ok(Self { timing, receive: watch.receive.clone(), consume: watch.consume, outlets })
    }

    /// All of it is due at this time.
    pub fn schedule(&self, now: Time) -> Schedule {
        let called: Vec<bool> = self.outlets.iter().map(|outlet| outlet.spool.is_none()).collect();
        Schedule::new(self.timing, self.receive.len(), &called, now)
    }

    /// The document of a step of which nothing is known yet.
    pub fn document(&self, step: Step) -> watching::Step {
        let path = |dir: &PathBuf| dir.to_string_lossy().into_owned();
        match step {
            Step::Scan => watching::Step::new(StepKind::Scan, None, None),
            Step::Receive(number) => watching::Step::new(StepKind::Import, None, Some(path(&self.receive[number]))),
            Step::Send(number) => {
                let Outlet { peer, spool } = &self.outlets[number];
                let kind = if spool.is_some() { StepKind::Export } else { StepKind::Call };
                watching::Step::new(kind, Some(peer.clone()), spool.as_ref().map(path))
            }
        }
    }

    /// What a step is called.
    pub fn name(&self, step: Step) -> String {
        match step {
            Step::Scan => String::from("scan"),
            Step::Receive(number) => format!("receive {}", self.receive[number].display()),
            Step::Send(number) => {
                let outlet = &self.outlets[number];
                format!("{} {}", if outlet.spool.is_some() { "export" } else { "call" }, outlet.peer)
            }
        }
    }
}
