//! Invitations that nobody has answered yet, and the tokens of those that were.

use super::codec::damaged;
use super::peers::json;
use super::{State, Transaction};
use crate::bundle::{ReplicaId, Token};
use crate::error::Result;
use crate::model::Knowledge;

/// A replica that was invited and has not answered.
#[derive(Clone, Debug)]
pub struct Invited {
    /// Its name here.
    pub name: String,
    /// The secret that proves its first bundle.
    pub token: Token,
    /// When it was first invited, in milliseconds since 1970 UTC.
    pub made: u64,
    /// Until when its answer is accepted, in milliseconds since 1970 UTC.
    pub expires: u64,
    /// The knowledge that it certainly has: the tip of its first invitation.
    pub shown: Knowledge,
    /// The tip of the last bundle written for it.
    pub sent: Knowledge,
    /// That bundle's number.
    pub sent_number: u64,
}

impl Invited {
    /// Whether its answer isn't accepted any more, at this time (milliseconds since 1970 UTC).
    pub fn is_over(&self, now: u64) -> bool {
        self.expires <= now
    }
}

/// What became of a token that is good for nobody any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spent {
    /// This replica has used it.
    UsedBy(ReplicaId),
    /// The invitation was taken back.
    Withdrawn,
    /// Nobody has answered in time.
    Expired,
}

const WITHDRAWN: &str = "withdrawn";
const EXPIRED: &str = "expired";

impl State {
    /// The replicas that were invited and have not answered, sorted by name.
    pub fn invitations(&self) -> Result<Vec<Invited>> {
        let mut query = self.conn.prepare_cached(
            "SELECT name, token, made, shown, sent, sent_number, expires FROM invitation ORDER BY name",
        )?;
        let mut rows = query.query([])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let knowledge = |column| -> Result<Knowledge> {
                serde_json::from_str(&row.get::<_, String>(column)?).map_err(|_| damaged("an invitation's knowledge"))
            };
            found.push(Invited {
                name: row.get(0)?,
                token: Token::from_bytes(row.get(1)?),
                made: row.get::<_, i64>(2)?.cast_unsigned(),
                shown: knowledge(3)?,
                sent: knowledge(4)?,
                sent_number: row.get::<_, i64>(5)?.cast_unsigned(),
                expires: row.get::<_, i64>(6)?.cast_unsigned(),
            });
        }
        Ok(found)
    }

    /// The invited replica of this name.
    pub fn invitation(&self, name: &str) -> Result<Option<Invited>> {
        Ok(self.invitations()?.into_iter().find(|invited| invited.name == name))
    }

    /// What became of the first of the spent tokens for which `is_it` holds.
    pub fn find_spent_token(&self, is_it: impl Fn(Token) -> bool) -> Result<Option<Spent>> {
        let mut query = self.conn.prepare_cached("SELECT token, used_by FROM used_token")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            if is_it(Token::from_bytes(row.get(0)?)) {
                return Ok(Some(match &*row.get::<_, String>(1)? {
                    WITHDRAWN => Spent::Withdrawn,
                    EXPIRED => Spent::Expired,
                    id => Spent::UsedBy(id.parse().map_err(|_| damaged("the user of a token"))?),
                }));
            }
        }
        Ok(None)
    }
}

impl Transaction<'_> {
    /// Records an invitation, in place of an earlier one with the same token.
    pub fn set_invitation(&self, invited: &Invited) -> Result<()> {
        self.conn
            .prepare_cached(
                "INSERT OR REPLACE INTO invitation (token, name, made, shown, sent, sent_number, expires)
                 VALUES (?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute((
                invited.token.to_bytes(),
                &invited.name,
                invited.made.cast_signed(),
                json(&invited.shown),
                json(&invited.sent),
                invited.sent_number.cast_signed(),
                invited.expires.cast_signed(),
            ))?;
        Ok(())
    }

    /// Ends an invitation: its token is good for nobody any more, and this is why.
    pub fn end_invitation(&self, invited: &Invited, why: Spent) -> Result<()> {
        self.conn.prepare_cached("DELETE FROM invitation WHERE token = ?")?.execute([invited.token.to_bytes()])?;
        let used_by = match why {
            Spent::UsedBy(id) => id.to_string(),
            Spent::Withdrawn => WITHDRAWN.to_owned(),
            Spent::Expired => EXPIRED.to_owned(),
        };
        self.conn
            .prepare_cached("INSERT OR REPLACE INTO used_token (token, used_by) VALUES (?, ?)")?
            .execute((invited.token.to_bytes(), used_by))?;
        Ok(())
    }
}
