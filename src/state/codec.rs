//! The stored form of an entry's registers. It is compact, since there is one for every message.
//!
//! It has one byte of marks, the location stamp, and then the values that the marks name: born, floor, the removal, and
//! the flags. A stamp is sixteen bytes, most significant first. Most stamps of an entry equal the location stamp, and
//! cost one bit.

use rusqlite::Row;

use crate::error::Error;
use crate::model::{Clock, Flag, FlagRegisters, Incarnation, Removal, Stamp};

const BORN_DIFFERS: u8 = 1;
const FLOOR_IS_LOCATION: u8 = 2;
const FLOOR_DIFFERS: u8 = 4;
const REMOVED: u8 = 8;

const FLAG_ON: u8 = 1;
const FLAG_STAMP_DIFFERS: u8 = 2;

const RECENT: u8 = 1;
const KEYWORD: u8 = 2;

/// The part of an entry's state that is stored in the compact form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registers {
    pub location: Stamp,
    pub born: Stamp,
    pub floor: Stamp,
    pub removal: Option<Removal>,
    pub flags: FlagRegisters,
}

/// Reads the stamp that stands in two columns of a row from this one on, incarnation and clock, if there is one.
pub fn optional_stamp(row: &Row<'_>, first: usize) -> Result<Option<Stamp>, Error> {
    let (incarnation, clock): (Option<i64>, Option<i64>) = (row.get(first)?, row.get(first + 1)?);
    let stamp = incarnation.zip(clock).map(|(incarnation, clock)| {
        Ok(Stamp { clock: clock_from(clock)?, incarnation: Incarnation(incarnation.cast_unsigned()) })
    });
    stamp.transpose()
}

/// Numbers as a list that SQL can read, with `json_each`.
pub fn list(numbers: impl Iterator<Item = i64>) -> String {
    serde_json::to_string(&numbers.collect::<Vec<_>>()).expect("numbers have a JSON form")
}

pub fn encode(registers: &Registers) -> Vec<u8> {
    let location = registers.location;
    let mut out = Vec::with_capacity(24 + registers.flags.iter().len() * 2);
    let mut marks = 0;
    if registers.born != location {
        marks |= BORN_DIFFERS;
    }
    if registers.floor == location {
        marks |= FLOOR_IS_LOCATION;
    } else if registers.floor != Stamp::ZERO {
        marks |= FLOOR_DIFFERS;
    }
    if registers.removal.is_some() {
        marks |= REMOVED;
    }
    out.push(marks);
    put(&mut out, location);
    if marks & BORN_DIFFERS != 0 {
        put(&mut out, registers.born);
    }
    if marks & FLOOR_DIFFERS != 0 {
        put(&mut out, registers.floor);
    }
    if let Some(removal) = registers.removal {
        put(&mut out, removal.seen);
        put(&mut out, removal.stamp);
    }
    for (flag, stamp, on) in registers.flags.iter() {
        match flag {
            Flag::Info(character) => out.push(*character),
            Flag::Recent => out.push(RECENT),
            Flag::Keyword(name) => {
                out.push(KEYWORD);
                let name = name.as_str().as_bytes();
                out.push(u8::try_from(name.len()).expect("a keyword has at most 255 bytes"));
                out.extend_from_slice(name);
            }
        }
        let differs = *stamp != location;
        out.push(if *on { FLAG_ON } else { 0 } | if differs { FLAG_STAMP_DIFFERS } else { 0 });
        if differs {
            put(&mut out, *stamp);
        }
    }
    out
}

/// Reads the form that [`encode`] writes; `None` for any other bytes.
pub fn decode(mut from: &[u8]) -> Option<Registers> {
    let marks = next_byte(&mut from)?;
    let location = stamp(&mut from)?;
    let born = if marks & BORN_DIFFERS != 0 { stamp(&mut from)? } else { location };
    let floor = match marks & (FLOOR_IS_LOCATION | FLOOR_DIFFERS) {
        0 => Stamp::ZERO,
        FLOOR_IS_LOCATION => location,
        _ => stamp(&mut from)?,
    };
    let removal =
        if marks & REMOVED != 0 { Some(Removal { seen: stamp(&mut from)?, stamp: stamp(&mut from)? }) } else { None };
    let mut flags = FlagRegisters::default();
    while !from.is_empty() {
        let flag = match next_byte(&mut from)? {
            RECENT => Flag::Recent,
            KEYWORD => {
                let length = usize::from(next_byte(&mut from)?);
                let (name, rest) = from.split_at_checked(length)?;
                from = rest;
                Flag::keyword(std::str::from_utf8(name).ok()?)?
            }
            character => Flag::info(character)?,
        };
        let marks = next_byte(&mut from)?;
        let at = if marks & FLAG_STAMP_DIFFERS != 0 { stamp(&mut from)? } else { location };
        flags.write(flag, at, marks & FLAG_ON != 0);
    }
    Some(Registers { location, born, floor, removal, flags })
}

fn put(out: &mut Vec<u8>, stamp: Stamp) {
    out.extend_from_slice(&stamp.clock.bits().to_be_bytes());
    out.extend_from_slice(&stamp.incarnation.0.to_be_bytes());
}

fn next_byte(from: &mut &[u8]) -> Option<u8> {
    let (first, rest) = from.split_first()?;
    *from = rest;
    Some(*first)
}

fn stamp(from: &mut &[u8]) -> Option<Stamp> {
    let (clock, rest) = from.split_first_chunk::<8>()?;
    let (incarnation, rest) = rest.split_first_chunk::<8>()?;
    *from = rest;
    Some(Stamp {
        clock: Clock::from_bits(u64::from_be_bytes(*clock))?,
        incarnation: Incarnation(u64::from_be_bytes(*incarnation)),
    })
}

/// A clock as it is stored.
pub(super) fn clock_from(stored: i64) -> Result<Clock, Error> {
    Clock::from_bits(stored.cast_unsigned()).ok_or_else(|| damaged("a clock"))
}

/// The error for a value in the database that mailsync can't have written.
pub(super) fn damaged(what: &str) -> Error {
    Error::failed(format!("the state database: {what} in it has no meaning"))
        .advise("put the state directory back from a backup; your mail itself was not touched")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_stamp() -> impl Strategy<Value = Stamp> {
        (0..4_u64, 0..3_u64).prop_map(|(clock, incarnation)| Stamp {
            clock: Clock::from_bits(clock << 40).unwrap(),
            incarnation: Incarnation(incarnation.wrapping_sub(1)),
        })
    }

    fn any_flag() -> impl Strategy<Value = Flag> {
        prop_oneof![
            Just(Flag::Recent),
            "[A-Z0-9]".prop_map(|c| Flag::info(c.as_bytes()[0]).unwrap()),
            "[!-~]{1,9}".prop_filter_map("an atom", |name| Flag::keyword(&name)),
        ]
    }

    proptest! {
        #[test]
        fn registers_read_back_as_they_were(
            location in any_stamp(), born in any_stamp(), floor in any_stamp(),
            removal in proptest::option::of((any_stamp(), any_stamp())),
            flags in proptest::collection::vec((any_flag(), any_stamp(), any::<bool>()), 0..6),
        ) {
            let mut registers = Registers {
                location, born, floor, removal: removal.map(|(seen, stamp)| Removal { seen, stamp }),
                flags: FlagRegisters::default(),
            };
            for (flag, stamp, on) in flags {
                registers.flags.write(flag, stamp, on);
            }
            let bytes = encode(&registers);
            prop_assert_eq!(decode(&bytes), Some(registers));
            for end in 0..17.min(bytes.len()) {
                prop_assert_eq!(decode(&bytes[..end]), None);
            }
        }

        #[test]
        fn nothing_makes_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = decode(&bytes);
        }
    }
}
