//! Knowledge: which changes a replica has heard of.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{Clock, Incarnation, Stamp};

/// A version vector: for each incarnation the newest clock up to which everything from it is included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Knowledge(BTreeMap<Incarnation, Clock>);

/// An incarnation that stands twice, or with the zero clock, is an error: equal knowledge has one form.
impl<'de> Deserialize<'de> for Knowledge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Clocks;
        impl<'de> Visitor<'de> for Clocks {
            type Value = Knowledge;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object from incarnation to clock")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Knowledge, A::Error> {
                let mut clocks = BTreeMap::new();
                while let Some((incarnation, clock)) = map.next_entry::<Incarnation, Clock>()? {
                    if clock == Clock::ZERO {
                        return Err(A::Error::custom(format_args!("incarnation {incarnation} has the zero clock")));
                    }
                    if clocks.len() == Knowledge::MOST_INCARNATIONS {
                        return Err(A::Error::custom(format_args!("more than {} incarnations", clocks.len())));
                    }
                    if clocks.insert(incarnation, clock).is_some() {
                        return Err(A::Error::custom(format_args!("incarnation {incarnation} stands twice")));
                    }
                }
                Ok(Knowledge(clocks))
            }
        }
        deserializer.deserialize_map(Clocks)
    }
}

impl Knowledge {
    /// The most incarnations of which anything can be known: one is drawn whenever a replica is made, copied or
    /// restored.
    pub const MOST_INCARNATIONS: usize = 4096;

    /// The knowledge of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Of how many incarnations anything is known.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The newest clock that is known from `incarnation`; [`Clock::ZERO`] if it was never heard of.
    pub fn get(&self, incarnation: Incarnation) -> Clock {
        self.0.get(&incarnation).copied().unwrap_or_default()
    }

    /// Every incarnation heard of, with its newest clock.
    pub fn iter(&self) -> impl Iterator<Item = (Incarnation, Clock)> + '_ {
        self.0.iter().map(|(&incarnation, &clock)| (incarnation, clock))
    }

    /// Whether the change with this stamp is included.
    pub fn covers(&self, stamp: Stamp) -> bool {
        self.get(stamp.incarnation) >= stamp.clock
    }

    /// Whether everything in `other` is included.
    pub fn includes(&self, other: &Self) -> bool {
        other.iter().all(|(incarnation, clock)| self.get(incarnation) >= clock)
    }

    /// The greatest clock that is known from any incarnation.
    pub fn newest(&self) -> Clock {
        self.0.values().copied().max().unwrap_or_default()
    }

    /// Makes the knowledge of `incarnation` exactly `clock`; [`Clock::ZERO`] forgets it.
    pub fn set(&mut self, incarnation: Incarnation, clock: Clock) {
        if clock == Clock::ZERO {
            self.0.remove(&incarnation);
        } else {
            self.0.insert(incarnation, clock);
        }
    }

    /// Includes one more stamp and everything before it.
    pub fn learn(&mut self, stamp: Stamp) {
        if !self.covers(stamp) {
            self.0.insert(stamp.incarnation, stamp.clock);
        }
    }

    /// Includes everything in `other`: the least upper bound of both.
    pub fn join(&mut self, other: &Self) {
        for (incarnation, clock) in other.iter() {
            self.learn(Stamp { clock, incarnation });
        }
    }

    /// The knowledge that both include: the greatest lower bound.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        let both = self.iter().map(|(incarnation, clock)| (incarnation, clock.min(other.get(incarnation))));
        Self(both.filter(|&(_, clock)| clock > Clock::ZERO).collect())
    }

    /// The incarnations of which `other` knows more than `self`, with the clocks that `other` knows.
    pub fn missing<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (Incarnation, Clock)> + 'a {
        other.iter().filter(|&(incarnation, clock)| self.get(incarnation) < clock)
    }
}

impl Extend<Stamp> for Knowledge {
    fn extend<I: IntoIterator<Item = Stamp>>(&mut self, stamps: I) {
        stamps.into_iter().for_each(|stamp| self.learn(stamp));
    }
}

impl FromIterator<(Incarnation, Clock)> for Knowledge {
    fn from_iter<I: IntoIterator<Item = (Incarnation, Clock)>>(pairs: I) -> Self {
        let mut knowledge = Self::new();
        for (incarnation, clock) in pairs {
            knowledge.learn(Stamp { clock, incarnation });
        }
        knowledge
    }
}
