//! Progress bars: on standard error, when it is a terminal and the work takes longer than half a second.

use std::cell::{Cell, OnceCell};
use std::io::IsTerminal;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use mailsync::meter::{Gauge, Meter, Silent};
use mailsync::text::bytes;

/// How long work may take before a bar appears.
const PATIENCE: Duration = Duration::from_millis(500);

/// All bars, one below the other: work may be done by several threads.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Writes to standard error where no bar is: those that are shown make room, and come back below.
pub fn beside_bars(write: impl FnOnce()) {
    BARS.suspend(write);
}

/// The meter for a command: bars if somebody sees them, unless `--quiet` asks for silence.
pub fn of(quiet: bool) -> Box<dyn Meter> {
    if quiet || !std::io::stderr().is_terminal() { Box::new(Silent) } else { Box::new(Bars) }
}

/// A bar for each piece of work.
struct Bars;

impl Meter for Bars {
    fn begin(&self, label: &'static str, total: u64) -> Box<dyn Gauge> {
        Box::new(Bar {
            label,
            total,
            done: Cell::new(0),
            carried: Cell::new(0),
            started: Instant::now(),
            shown: OnceCell::new(),
        })
    }
}

struct Bar {
    label: &'static str,
    total: u64,
    done: Cell<u64>,
    carried: Cell<u64>,
    started: Instant,
    shown: OnceCell<ProgressBar>,
}

impl Gauge for Bar {
    fn advance(&self, steps: u64) {
        self.done.set(self.done.get() + steps);
        if self.shown.get().is_some() || self.started.elapsed() > PATIENCE {
            let bar = self.shown.get_or_init(|| {
                let style = ProgressStyle::with_template(if self.total == 0 {
                    "{msg} {pos}"
                } else {
                    "{msg} [{wide_bar}] {pos}/{len} ({eta})"
                });
                let bar = BARS.add(ProgressBar::new(self.total).with_message(self.label));
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                bar
            });
            bar.set_position(self.done.get());
            if let Some(rate) = rate(self.carried.get(), self.started.elapsed()) {
                bar.set_message(format!("{}, {rate}", self.label));
            }
        }
    }

    fn carried(&self, bytes: u64) {
        self.carried.set(self.carried.get().saturating_add(bytes));
    }
}

/// How many bytes a second these are. `None` if there are none.
fn rate(carried: u64, during: Duration) -> Option<String> {
    let each_second = u128::from(carried) * 1000 / during.as_millis().max(1);
    (each_second > 0).then(|| format!("{}/s", bytes(u64::try_from(each_second).unwrap_or(u64::MAX))))
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = self.shown.get() {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_all_the_time() {
        for (carried, millis, expected) in [
            (0, 1000, None),
            (10 << 20, 2000, Some("5.0 MiB/s")),
            (1500, 1000, Some("1.5 KiB/s")),
            (1, 5000, None),
            (7, 0, Some("6.8 KiB/s")),
            (u64::MAX, 0, Some("16777216.0 TiB/s")),
        ] {
            assert_eq!(rate(carried, Duration::from_millis(millis)).as_deref(), expected, "{carried} in {millis} ms");
        }
    }
}
