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
    /// The knowledge that it certainly has: the tip of its first invitation.
    pub shown: Knowledge,
    /// The tip of the last bundle written for it.
    pub sent: Knowledge,
    /// That bundle's number.
    pub sent_number: u64,
}

impl State {
    /// The replicas that were invited and have not answered, sorted by name.
    pub fn invitations(&self) -> Result<Vec<Invited>> {
        let mut query = self
            .conn
            .prepare_cached("SELECT name, token, made, shown, sent, sent_number FROM invitation ORDER BY name")?;
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
            });
        }
        Ok(found)
    }

    /// The invited replica of this name.
    pub fn invitation(&self, name: &str) -> Result<Option<Invited>> {
        Ok(self.invitations()?.into_iter().find(|invited| invited.name == name))
    }

    /// The first of the used tokens for which `is_it` holds, and the replica that has used it.
    pub fn find_used_token(&self, is_it: impl Fn(Token) -> bool) -> Result<Option<ReplicaId>> {
        let mut query = self.conn.prepare_cached("SELECT token, used_by FROM used_token")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            if is_it(Token::from_bytes(row.get(0)?)) {
                let used_by = row.get::<_, String>(1)?.parse();
                return Ok(Some(used_by.map_err(|_| damaged("the user of a token"))?));
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
                "INSERT OR REPLACE INTO invitation (token, name, made, shown, sent, sent_number) VALUES (?, ?, ?, ?, ?, ?)",
            )?
            .execute((
                invited.token.to_bytes(),
                &invited.name,
                invited.made.cast_signed(),
                json(&invited.shown),
                json(&invited.sent),
                invited.sent_number.cast_signed(),
            ))?;
        Ok(())
    }

    /// Withdraws an invitation. Returns whether there was one.
    pub fn remove_invitation(&self, name: &str) -> Result<bool> {
        Ok(self.conn.prepare_cached("DELETE FROM invitation WHERE name = ?")?.execute([name])? > 0)
    }

    /// Records that the replica with this id has used a token. No other replica can use it.
    pub fn set_token_used(&self, token: Token, used_by: &ReplicaId) -> Result<()> {
        self.conn
            .prepare_cached("INSERT OR REPLACE INTO used_token (token, used_by) VALUES (?, ?)")?
            .execute((token.to_bytes(), used_by.to_string()))?;
        Ok(())
    }
}
