//! Moments as people name them on the command line, and as they are shown to people.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ZonedDateTime};

/// A moment in the past, as it was typed.
#[derive(Clone, Debug)]
pub enum Moment {
    /// At this moment.
    At(Timestamp),
    /// When the clocks on the walls here showed this.
    Local(DateTime),
    /// So long ago.
    Ago(Span),
    /// When the day began that many days ago.
    Day(i64),
}

const EXPECTED: &str = "a time is expected, such as 2026-11-28T18:00:00+01:00, \"2026-11-28 18:00\" or 2026-11-28 (local time), \
                        yesterday, 2h or 3d (that long ago)";

impl Moment {
    /// Reads a moment: RFC 3339, a date or a date and time of this place, `today`, `yesterday`, or how long ago it was,
    /// such as `2h`, `3d` or `1 week ago`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        match text {
            "today" => return Ok(Self::Day(0)),
            "yesterday" => return Ok(Self::Day(1)),
            _ => {}
        }
        if let Ok(at) = text.parse() {
            return Ok(Self::At(at));
        }
        if let Ok(local) = text.parse() {
            return Ok(Self::Local(local));
        }
        let span = text.parse::<Span>().map_err(|_| String::from(EXPECTED))?;
        Ok(Self::Ago(span.abs()))
    }

    /// The moment in milliseconds since 1970 UTC, if it is `now` (in the same) in this time zone.
    ///
    /// # Errors
    /// It isn't in the past, or before 1970, or no calendar has it.
    pub fn millis(&self, now: u64, zone: &TimeZone) -> Result<u64, String> {
        let wrong = |why: &str| format!("{why}; {EXPECTED}");
        let now = i64::try_from(now).ok().and_then(|now| Timestamp::from_millisecond(now).ok());
        let now: ZonedDateTime =
            now.ok_or_else(|| wrong("this machine's clock can't be right"))?.to_zoned_datetime(zone.clone());
        let then = match self {
            Self::At(at) => Ok(*at),
            Self::Local(local) => local.to_zoned_datetime(zone.clone()).map(|then| then.timestamp()),
            Self::Ago(span) => now.checked_sub(*span).map(|then| then.timestamp()),
            Self::Day(ago) => {
                let day = Span::new().try_days(*ago).and_then(|days| now.checked_sub(days));
                day.and_then(|day| day.start_of_day()).map(|then| then.timestamp())
            }
        };
        let then = then.map_err(|_| wrong("no calendar has this time"))?;
        if then > now.timestamp() {
            return Err(wrong("this time is in the future"));
        }
        u64::try_from(then.as_millisecond()).map_err(|_| wrong("this time is before 1970"))
    }
}

/// A time for people: in their time zone, to the second, with its distance from UTC. `millis` counts from 1970 UTC.
pub fn local(millis: u64, zone: &TimeZone) -> String {
    shown(millis, zone, "%Y-%m-%d %H:%M:%S%:z")
}

/// The same for a narrow column: to the minute, and without the distance, which is told above the column.
pub fn local_short(millis: u64, zone: &TimeZone) -> String {
    shown(millis, zone, "%Y-%m-%d %H:%M")
}

/// The same to the minute, with the distance from UTC behind it.
pub fn local_with_zone(millis: u64, zone: &TimeZone) -> String {
    shown(millis, zone, "%Y-%m-%d %H:%M %z")
}

fn shown(millis: u64, zone: &TimeZone, format: &str) -> String {
    let time = i64::try_from(millis).ok().and_then(|millis| Timestamp::from_millisecond(millis).ok());
    time.map_or_else(|| String::from("-"), |time| time.to_zoned_datetime(zone.clone()).strftime(format).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-29, a Sunday, 12:00 UTC.
    const NOW: u64 = 1_795_953_600_000;
    const HOUR: u64 = 60 * 60 * 1000;

    fn berlin() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    fn millis(text: &str) -> Result<u64, String> {
        Moment::parse(text)?.millis(NOW, &berlin())
    }

    #[test]
    fn a_moment_is_named_as_people_do() {
        let at = |text: &str| u64::try_from(text.parse::<Timestamp>().unwrap().as_millisecond()).unwrap();
        for (text, expected) in [
            ("2026-11-28T18:00:00Z", "2026-11-28T18:00:00Z"),
            ("2026-11-28T18:00:00+01:00", "2026-11-28T17:00:00Z"),
            ("2026-11-28", "2026-11-27T23:00:00Z"),
            ("2026-11-28 18:00", "2026-11-28T17:00:00Z"),
            ("2026-11-28T18:00:30", "2026-11-28T17:00:30Z"),
            ("2026-07-01 12:00", "2026-07-01T10:00:00Z"),
            ("2h", "2026-11-29T10:00:00Z"),
            ("90m", "2026-11-29T10:30:00Z"),
            ("3d", "2026-11-26T12:00:00Z"),
            ("1w", "2026-11-22T12:00:00Z"),
            ("2 days ago", "2026-11-27T12:00:00Z"),
            ("1d 2h", "2026-11-28T10:00:00Z"),
            ("P1D", "2026-11-28T12:00:00Z"),
            // It was summer then: a day has more hours than 24 where the clocks are set back.
            ("40d", "2026-10-20T11:00:00Z"),
            ("today", "2026-11-28T23:00:00Z"),
            ("yesterday", "2026-11-27T23:00:00Z"),
        ] {
            assert_eq!(millis(text), Ok(at(expected)), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_in_the_past_is_refused_with_examples() {
        for (text, why) in [
            ("", "a time is expected"),
            ("lately", "a time is expected"),
            ("5", "a time is expected"),
            ("2026-13-01", "a time is expected"),
            ("2026-11-30", "in the future"),
            ("2026-11-29T12:00:01Z", "in the future"),
            ("1969-12-31", "before 1970"),
            ("19000y", "no calendar has this time"),
        ] {
            let error = millis(text).unwrap_err();
            assert!(error.contains(why) && error.contains("2h or 3d"), "{text}: {error}");
        }
        assert!(Moment::Day(0).millis(u64::MAX, &berlin()).unwrap_err().contains("clock can't be right"));
    }

    #[test]
    fn a_time_is_shown_as_the_clocks_here_show_it() {
        assert_eq!(local(NOW + HOUR, &berlin()), "2026-11-29 14:00:00+01:00");
        assert_eq!(local_short(NOW, &TimeZone::UTC), "2026-11-29 12:00");
        assert_eq!(local(u64::MAX, &TimeZone::UTC), "-");
    }
}
