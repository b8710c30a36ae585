//! What to do next, in parts: which command is to be run again depends on where it is told.

use std::fmt;

use crate::text::printable;

/// What to do next.
#[derive(Clone, Debug)]
pub(super) struct Advice {
    /// What is to be done, in this order.
    steps: Vec<Step>,
    /// What is to be known besides.
    besides: Option<String>,
}

#[derive(Clone, Debug)]
enum Step {
    /// In the words of who has found it out.
    Told(String),
    /// What has failed is run again.
    Again,
}

impl Advice {
    /// What to do, in these words.
    pub(super) fn told(words: &str) -> Self {
        Self { steps: vec![Step::Told(printable(words))], besides: None }
    }

    /// To run again what has failed, after something else if there is any.
    pub(super) fn again(after: Option<&str>) -> Self {
        let first = after.map(|words| Step::Told(printable(words)));
        Self { steps: first.into_iter().chain([Step::Again]).collect(), besides: None }
    }

    /// Adds what is to be known besides.
    pub(super) fn add(&mut self, words: &str) {
        let words = printable(words);
        self.besides = Some(match self.besides.take() {
            Some(known) => format!("{known}; {words}"),
            None => words,
        });
    }

    /// Writes it for a reader to whom `again` says what is run again.
    pub(super) fn write(&self, again: &str, f: &mut impl fmt::Write) -> fmt::Result {
        for (at, step) in self.steps.iter().enumerate() {
            let between = if at == 0 { "" } else { ", then " };
            let words = match step {
                Step::Told(words) => words,
                Step::Again => again,
            };
            write!(f, "{between}{words}")?;
        }
        match &self.besides {
            Some(known) => write!(f, "; {known}"),
            None => Ok(()),
        }
    }
}
