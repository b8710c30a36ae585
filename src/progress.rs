//! Progress bars: on standard error, when it is a terminal and the work takes longer than half a second.

use std::cell::Cell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How long work may take before a bar appears.
const PATIENCE: Duration = Duration::from_millis(500);

/// The progress of one piece of work.
#[derive(Debug)]
pub struct Progress {
    label: &'static str,
    total: u64,
    done: Cell<u64>,
    started: Instant,
    bar: std::cell::OnceCell<ProgressBar>,
    terminal: bool,
}

impl Progress {
    /// Begins work of `total` steps.
    pub fn new(label: &'static str, total: u64) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { label, total, done: Cell::new(0), started: Instant::now(), bar: std::cell::OnceCell::new(), terminal }
    }

    /// Some steps more are done.
    pub fn advance(&self, steps: u64) {
        self.done.set(self.done.get() + steps);
        if self.terminal && (self.bar.get().is_some() || self.started.elapsed() > PATIENCE) {
            let bar = self.bar.get_or_init(|| {
                let style = ProgressStyle::with_template("{msg} [{bar:40}] {pos}/{len} ({eta})");
                let bar = ProgressBar::new(self.total).with_message(self.label);
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                bar
            });
            bar.set_position(self.done.get());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }
}
