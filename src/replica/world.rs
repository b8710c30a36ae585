//! The world of a replica: all that it takes from its machine, such as files, time, chance, and who the machine is. A
//! test puts its own in their place.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::disk::{Disk, RealDisk};
use crate::meter::{Meter, Silent};
use crate::process::{Launcher, Processes};

/// The surroundings of a replica.
pub struct World {
    /// The file operations of scan and materialise.
    pub disk: Box<dyn Disk>,
    /// The wall clock, in milliseconds since 1970 UTC.
    pub now: Box<dyn Fn() -> u64 + Send + Sync>,
    /// A random number.
    pub random: Box<dyn Fn() -> u64 + Send + Sync>,
    /// Runs the programs of jobs.
    pub launcher: Box<dyn Launcher>,
    /// The machine's id: a state that finds itself on another machine was copied.
    pub machine: String,
    /// Shows the progress of long work.
    pub meter: Box<dyn Meter>,
}

impl World {
    /// The world of this machine.
    pub fn real() -> Self {
        Self {
            disk: Box::new(RealDisk),
            now: Box::new(|| {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            }),
            random: Box::new(|| getrandom::u64().expect("the operating system gives random numbers")),
            launcher: Box::new(Processes),
            machine: machine_id(),
            meter: Box::new(Silent),
        }
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("machine", &self.machine).finish_non_exhaustive()
    }
}

/// systemd's machine-id(5), or the host's name where there is none.
fn machine_id() -> String {
    ["/etc/machine-id", "/var/lib/dbus/machine-id"]
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .map(|text| text.trim().to_owned())
        .find(|id| !id.is_empty())
        .unwrap_or_else(host_name)
}

/// The host's name, up to the first dot.
pub fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name.split('.').next().unwrap_or_default().to_owned()
}
