//! The world of a replica: all that it takes from its machine, such as files, time, chance, and who the machine is. A
//! test puts its own in their place.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use age::secrecy::SecretString;

use crate::disk::{Disk, RealDisk, read_whole};
use crate::error::{Error, Result, Scope};
use crate::meter::{Meter, Silent};
use crate::process::{Launcher, Processes};

/// A file that names the machine is not larger than this, in bytes.
const MACHINE_ID_BYTES: u64 = 4096;

/// The surroundings of a replica.
pub struct World {
    /// The file operations.
    pub disk: Box<dyn Disk>,
    /// The wall clock, in milliseconds since 1970 UTC.
    pub now: Box<dyn Fn() -> u64 + Send + Sync>,
    /// A random number.
    pub random: Box<dyn Fn() -> u64 + Send + Sync>,
    /// Runs the programs of jobs.
    pub launcher: Box<dyn Launcher>,
    /// The machine's id: a state that finds itself on another machine was copied.
    /// It is an error if it can't be found out at this time.
    pub machine: Result<String>,
    /// Shows the progress of long work.
    pub meter: Box<dyn Meter>,
    /// Asks a person for what is kept nowhere.
    pub ask: Arc<dyn Ask>,
}

/// Asks a person for a secret, such as a passphrase.
pub trait Ask: Send + Sync {
    /// What the person answers to the question. `None` if there is nobody to ask.
    ///
    /// # Errors
    /// The question can't be asked.
    fn secret(&self, question: &str) -> Result<Option<SecretString>>;
}

/// Nobody is there to be asked.
#[derive(Clone, Copy, Debug)]
pub struct Nobody;

impl Ask for Nobody {
    fn secret(&self, _question: &str) -> Result<Option<SecretString>> {
        Ok(None)
    }
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
            machine: machine_id(&RealDisk),
            meter: Box::new(Silent),
            ask: Arc::new(Nobody),
        }
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("machine", &self.machine).finish_non_exhaustive()
    }
}

/// systemd's machine-id(5), or the host's name where there is none.
fn machine_id(disk: &dyn Disk) -> Result<String> {
    for path in ["/etc/machine-id", "/var/lib/dbus/machine-id"].map(Path::new) {
        match read_whole(disk, path, MACHINE_ID_BYTES) {
            Ok(id) if !id.trim_ascii().is_empty() => return Ok(String::from_utf8_lossy(id.trim_ascii()).into_owned()),
            Ok(_) => {}
            Err(error) if Scope::of(&error) == Scope::Place => {}
            // With another id the state would seem to be a copy.
            Err(error) => {
                return Err(
                    Error::io("reading the machine's id from", path, error).advise("see why, then run this again")
                );
            }
        }
    }
    Ok(host_name())
}

/// The host's name, up to the first dot.
pub fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name.split('.').next().unwrap_or_default().to_owned()
}
