//! What a bundle tells of messages, one by one, until it is told: a temporary database of its own, so that it costs no memory
//! however much a bundle tells, and no replica needs to be there.

use rusqlite::Connection;

use super::codec::damaged;
use super::happenings::{flags_from_text, flags_to_text};
use crate::error::Result;
use crate::headline::Headline;
use crate::model::{Digest, News, NewsKind};

/// The list. It vanishes with this value.
#[derive(Debug)]
pub struct NewsList {
    conn: Connection,
}

/// A message of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedNews {
    /// The message.
    pub digest: Digest,
    /// What is told of it.
    pub news: News,
    /// What people know it by, if that was seen.
    pub headline: Option<Headline>,
    /// Whether it comes with the bundle, which lacks its contents.
    pub is_missing: bool,
}

fn kind_number(kind: NewsKind) -> i64 {
    match kind {
        NewsKind::Arrived => 0,
        NewsKind::Moved => 1,
        NewsKind::Flagged => 2,
        NewsKind::Removed => 3,
    }
}

fn kind_of(number: i64) -> Result<NewsKind> {
    let all = [NewsKind::Arrived, NewsKind::Moved, NewsKind::Flagged, NewsKind::Removed];
    all.into_iter().find(|kind| kind_number(*kind) == number).ok_or_else(|| damaged("the list of a bundle's messages"))
}

impl NewsList {
    /// An empty list.
    ///
    /// # Errors
    /// There is no room for temporary files.
    pub fn new() -> Result<Self> {
        let conn = Connection::open("")?;
        conn.execute_batch(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -2048;
             CREATE TABLE news (
                 key INTEGER PRIMARY KEY, digest BLOB NOT NULL, kind INTEGER NOT NULL, folder TEXT NOT NULL, flags TEXT NOT NULL
             ) STRICT;
             CREATE TABLE headline (
                 digest BLOB PRIMARY KEY, sender TEXT, address TEXT, subject TEXT, date INTEGER, message_id TEXT
             ) STRICT, WITHOUT ROWID;
             CREATE TABLE missing (digest BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;",
        )?;
        Ok(Self { conn })
    }

    /// Adds what is told of a message.
    pub fn add(&self, digest: &Digest, news: &News) -> Result<()> {
        self.conn.prepare_cached("INSERT INTO news (digest, kind, folder, flags) VALUES (?, ?, ?, ?)")?.execute((
            digest.0,
            kind_number(news.kind),
            news.folder.as_str(),
            flags_to_text(&news.flags),
        ))?;
        Ok(())
    }

    /// Notes what people know a message by.
    pub fn add_headline(&self, digest: &Digest, headline: &Headline) -> Result<()> {
        let Headline { from, address, subject, date, message_id } = headline;
        self.conn
            .prepare_cached(
                "INSERT OR REPLACE INTO headline (digest, sender, address, subject, date, message_id)
                 VALUES (?, ?, ?, ?, ?, ?)",
            )?
            .execute((digest.0, from, address, subject, date.map(u64::cast_signed), message_id))?;
        Ok(())
    }

    /// Notes that the bundle lacks the contents of a message.
    pub fn add_missing(&self, digest: &Digest) -> Result<()> {
        self.conn.prepare_cached("INSERT OR IGNORE INTO missing (digest) VALUES (?)")?.execute([digest.0])?;
        Ok(())
    }

    /// The next messages, behind the one with the number `after`, each with its own number.
    pub fn batch(&self, after: i64, limit: u32) -> Result<Vec<(i64, ListedNews)>> {
        let mut query = self.conn.prepare_cached(
            "SELECT key, n.digest, kind, folder, flags, h.digest, sender, address, subject, date, message_id,
                    EXISTS (SELECT 1 FROM missing m WHERE m.digest = n.digest)
             FROM news n LEFT JOIN headline h ON h.digest = n.digest WHERE key > ? ORDER BY key LIMIT ?",
        )?;
        let mut rows = query.query((after, limit))?;
        let mut batch = Vec::new();
        while let Some(row) = rows.next()? {
            let broken = || damaged("the list of a bundle's messages");
            let seen = row.get_ref(5)? != rusqlite::types::ValueRef::Null;
            let headline = seen
                .then(|| {
                    Ok::<_, rusqlite::Error>(Headline {
                        from: row.get(6)?,
                        address: row.get(7)?,
                        subject: row.get(8)?,
                        date: row.get::<_, Option<i64>>(9)?.map(i64::cast_unsigned),
                        message_id: row.get(10)?,
                    })
                })
                .transpose()?;
            let news = News {
                kind: kind_of(row.get(2)?)?,
                folder: row.get_ref(3)?.as_str().ok().and_then(|name| name.parse().ok()).ok_or_else(broken)?,
                flags: flags_from_text(row.get_ref(4)?.as_str().map_err(|_| broken())?)?,
            };
            let is_missing = news.kind == NewsKind::Arrived && row.get(11)?;
            batch.push((row.get(0)?, ListedNews { digest: Digest(row.get(1)?), news, headline, is_missing }));
        }
        Ok(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_messages_is_read_as_it_was_written_in_batches() {
        let list = NewsList::new().unwrap();
        let news = |n: u8| ListedNews {
            digest: Digest([n; 32]),
            news: News {
                kind: kind_of(i64::from(n) % 4).unwrap(),
                folder: format!("Lists/{n}").parse().unwrap(),
                flags: if n.is_multiple_of(2) { Vec::new() } else { vec![("S".parse().unwrap(), n > 4)] },
            },
            headline: (n > 3).then(|| Headline {
                from: Some(String::from("Jürgen")),
                date: (n > 5).then_some(1_795_885_200_000),
                ..Headline::default()
            }),
            is_missing: n == 4,
        };
        for n in 0..9 {
            let ListedNews { digest, news, headline, .. } = news(n);
            list.add(&digest, &news).unwrap();
            if let Some(headline) = headline {
                list.add_headline(&digest, &headline).unwrap();
            }
        }
        // The first came with the bundle; the other one was only moved.
        for n in [4, 4, 5] {
            list.add_missing(&Digest([n; 32])).unwrap();
        }
        let (mut after, mut all) = (0, Vec::new());
        loop {
            let batch = list.batch(after, 4).unwrap();
            let Some((key, _)) = batch.last() else { break };
            after = *key;
            all.extend(batch.into_iter().map(|(_, listed)| listed));
        }
        assert_eq!(all, (0..9).map(news).collect::<Vec<_>>());
    }
}
