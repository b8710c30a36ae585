//! Progress of long work. The library reports it to a meter and shows nothing by itself.

/// A meter is told about each piece of work that may take long.
pub trait Meter: Send + Sync {
    /// Work of `total` steps begins, or of an unknown number if that is 0; `label` says to people what it is.
    fn begin(&self, label: &'static str, total: u64) -> Box<dyn Gauge>;
}

/// The progress of one piece of work, which ends when this is dropped.
pub trait Gauge {
    /// This many more steps are done.
    fn advance(&self, steps: u64);

    /// This many bytes were read or written by what is about to be told as done.
    fn carried(&self, _bytes: u64) {}
}

/// A meter that shows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Meter for Silent {
    fn begin(&self, _label: &'static str, _total: u64) -> Box<dyn Gauge> {
        Box::new(Self)
    }
}

impl Gauge for Silent {
    fn advance(&self, _steps: u64) {}
}
