//! Jobs: the statements about them, the states that follow from these, and their attachments.

use rusqlite::{OptionalExtension, Row};

use super::codec::{clock_from, damaged};
use super::{State, Transaction};
use crate::bundle::{AttachmentRef, JobId, JobLine, ReplicaId, Request};
use crate::error::Result;
use crate::model::{Digest, Incarnation, JobState, KeptJobs, Knowledge, Stamp};

/// A job's number within this state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobKey(pub(super) i64);

/// The record of a job. Times are milliseconds since 1970 UTC.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its number.
    pub key: JobKey,
    /// Its id.
    pub id: JobId,
    /// The replica that wants it run.
    pub requester: ReplicaId,
    /// The replica that is to run it.
    pub target: ReplicaId,
    /// When it was asked for.
    pub made: u64,
    /// Its state.
    pub state: JobState,
    /// When it became final, if its state is final.
    pub final_since: Option<u64>,
    /// The command and its arguments, if they are known.
    pub asked: Option<Vec<String>>,
}

/// A kind of statement about a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StatementKind {
    /// The request.
    Request = 0,
    /// The cancel.
    Cancel = 1,
    /// The report that counts.
    Report = 2,
}

/// How it is known that a job was forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgotten {
    /// Its id is remembered.
    ById,
    /// It is as old as jobs of its requester's of which not even the id is.
    WithOlder,
}

/// A statement, with the job that it is about.
#[derive(Clone, Debug)]
pub struct StoredStatement {
    /// The job.
    pub job: JobKey,
    /// A kind of statement about a job.
    pub kind: StatementKind,
    /// The statement as it travels.
    pub line: JobLine,
}

const COLUMNS: &str = "key, id, requester, target, made, state, final_since, asked";

const STATES: [JobState; 7] = [
    JobState::Queued,
    JobState::Running,
    JobState::Done,
    JobState::Failed,
    JobState::Rejected,
    JobState::Interrupted,
    JobState::Cancelled,
];

fn number(state: JobState) -> i64 {
    STATES.iter().position(|&other| other == state).and_then(|at| i64::try_from(at).ok()).expect("all are listed")
}

fn job(row: &Row<'_>) -> Result<Job> {
    let id =
        |column| -> Result<ReplicaId> { row.get::<_, String>(column)?.parse().map_err(|_| damaged("a job's replica")) };
    let state = usize::try_from(row.get::<_, i64>(5)?).ok().and_then(|at| STATES.get(at).copied());
    let asked: Option<String> = row.get(7)?;
    Ok(Job {
        key: JobKey(row.get(0)?),
        id: JobId(row.get(1)?),
        requester: id(2)?,
        target: id(3)?,
        made: row.get::<_, i64>(4)?.cast_unsigned(),
        state: state.ok_or_else(|| damaged("a job's state"))?,
        final_since: row.get::<_, Option<i64>>(6)?.map(i64::cast_unsigned),
        asked: asked.map(|text| serde_json::from_str(&text).map_err(|_| damaged("a job's command"))).transpose()?,
    })
}

/// Under which requester something is remembered: `None` are all that are not known.
fn holder(requester: Option<&ReplicaId>) -> String {
    requester.map_or_else(String::new, ToString::to_string)
}

fn place_in_order(after: Option<(u64, JobKey)>) -> (i64, i64) {
    after.map_or((-1, 0), |(made, key)| (made.cast_signed(), key.0))
}

fn said(row: &Row<'_>) -> Result<StoredStatement> {
    let kind = match row.get(1)? {
        0 => StatementKind::Request,
        1 => StatementKind::Cancel,
        2 => StatementKind::Report,
        _ => return Err(damaged("a statement's kind")),
    };
    let stamp =
        Stamp { clock: clock_from(row.get(2)?)?, incarnation: Incarnation(row.get::<_, i64>(3)?.cast_unsigned()) };
    Ok(StoredStatement {
        job: JobKey(row.get(0)?),
        kind,
        line: JobLine { stamp, signed: row.get(4)?, signature: row.get(5)? },
    })
}

impl State {
    pub(super) fn jobs_where(&self, condition: &str, params: impl rusqlite::Params) -> Result<Vec<Job>> {
        let mut query = self.conn.prepare_cached(&format!("SELECT {COLUMNS} FROM job WHERE {condition}"))?;
        let mut rows = query.query(params)?;
        let mut jobs = Vec::new();
        while let Some(row) = rows.next()? {
            jobs.push(job(row)?);
        }
        Ok(jobs)
    }

    /// The next jobs in the order in which they were asked for, after the one that was asked for at that time and has
    /// that number.
    pub fn job_batch(&self, after: Option<(u64, JobKey)>, limit: u32) -> Result<Vec<Job>> {
        let (made, key) = place_in_order(after);
        self.jobs_where("(made, key) > (?, ?) ORDER BY made, key LIMIT ?", (made, key, limit))
    }

    /// The newest jobs whose ids begin so, in hexadecimal digits.
    pub fn newest_jobs(&self, beginning: &str, limit: u32) -> Result<Vec<Job>> {
        let condition = "substr(lower(hex(id)), 1, length(?1)) = ?1 ORDER BY made DESC, key DESC LIMIT ?2";
        self.jobs_where(condition, (beginning, limit))
    }

    /// How many jobs are known, of whomever.
    pub fn count_all_jobs(&self) -> Result<u64> {
        let mut query = self.conn.prepare_cached("SELECT COUNT(*) FROM job")?;
        Ok(query.query_row([], |row| row.get::<_, i64>(0))?.cast_unsigned())
    }

    /// The job with this id.
    pub fn job_by_id(&self, id: &JobId) -> Result<Option<Job>> {
        Ok(self.jobs_where("id = ?", [id.0])?.pop())
    }

    /// The job with this number.
    pub fn job(&self, key: JobKey) -> Result<Option<Job>> {
        Ok(self.jobs_where("key = ?", [key.0])?.pop())
    }

    /// The oldest job for this target that has this state and comes after `after`.
    pub fn next_job_for(
        &self,
        target: &ReplicaId,
        state: JobState,
        after: Option<(u64, JobKey)>,
    ) -> Result<Option<Job>> {
        let (made, key) = place_in_order(after);
        let found = self.jobs_where(
            "state = ? AND target = ? AND (made, key) > (?, ?) ORDER BY made, key LIMIT 1",
            (number(state), target.to_string(), made, key),
        )?;
        Ok(found.into_iter().next())
    }

    /// The number of jobs in this state that this replica is to run or has requested, and that no other job repeats. Of
    /// those that it has requested and that went wrong, the ones at which somebody has looked don't count.
    pub fn count_jobs(&self, replica: &ReplicaId, state: JobState) -> Result<u64> {
        let mut query = self.conn.prepare_cached(
            "SELECT COUNT(*) FROM job j WHERE state = ?1 AND (target = ?2 OR requester = ?2 AND (news > 0 OR ?3))
             AND NOT EXISTS (SELECT 1 FROM job WHERE repeats = j.id)",
        )?;
        let params = (number(state), replica.to_string(), !state.went_wrong());
        let count = query.query_row(params, |row| row.get::<_, i64>(0))?;
        Ok(count.cast_unsigned())
    }

    /// Whether this is a job of this replica's that was forgotten; or one that must count as such, since it was asked
    /// for (at `made`) when those were of which not even the id is remembered. `None` stands for all requesters that
    /// are not known.
    pub fn was_forgotten(&self, id: &JobId, requester: Option<&ReplicaId>, made: u64) -> Result<Option<Forgotten>> {
        if self.conn.prepare_cached("SELECT 1 FROM forgotten_job WHERE id = ?")?.exists([id.0])? {
            return Ok(Some(Forgotten::ById));
        }
        let mut query = self.conn.prepare_cached("SELECT 1 FROM forgotten_up_to WHERE requester = ? AND made >= ?")?;
        let is_old = query.exists((holder(requester), made.cast_signed()))?;
        Ok(is_old.then_some(Forgotten::WithOlder))
    }

    /// What is kept of the jobs of a requester, or of all that are neither peers nor `me`.
    pub fn kept_jobs(&self, requester: Option<&ReplicaId>, me: &ReplicaId) -> Result<KeptJobs> {
        // Whose jobs they are: with `?1` for the one, and `?2` for this replica.
        let whose = match requester {
            Some(_) => "j.requester = ?1 AND ?2 <> ''",
            None => "?1 = '' AND j.requester <> ?2 AND j.requester NOT IN (SELECT id FROM peer)",
        };
        let params = (holder(requester), me.to_string());
        let sum = |what: &str, tables: &str| -> Result<u64> {
            let text = format!("SELECT COALESCE(SUM({what}), 0) FROM {tables} WHERE {whose}");
            let sum = self.conn.prepare_cached(&text)?.query_row((&params.0, &params.1), |row| row.get::<_, i64>(0))?;
            Ok(sum.cast_unsigned())
        };
        let (queued, running) = (number(JobState::Queued), number(JobState::Running));
        let blobs = "job j JOIN blob b ON b.job = j.key";
        Ok(KeptJobs {
            jobs: sum("1", "job j")?,
            open: sum(&format!("j.state IN ({queued}, {running})"), "job j")?,
            input: sum(&format!("(b.kind = {}) * b.size", StatementKind::Request as i64), blobs)?,
            output: sum(&format!("(b.kind = {}) * b.size", StatementKind::Report as i64), blobs)?,
        })
    }

    /// The statement of this kind about a job.
    pub fn statement(&self, job: JobKey, kind: StatementKind) -> Result<Option<JobLine>> {
        let mut query = self.conn.prepare_cached(
            "SELECT job, kind, clock, incarnation, signed, signature FROM statement WHERE job = ? AND kind = ?",
        )?;
        let mut rows = query.query((job.0, kind as i64))?;
        Ok(rows.next()?.map(said).transpose()?.map(|said| said.line))
    }

    /// The stamps of all statements about a job.
    pub fn statement_stamps(&self, job: JobKey) -> Result<Vec<Stamp>> {
        let mut query = self.conn.prepare_cached("SELECT clock, incarnation FROM statement WHERE job = ?")?;
        let mut rows = query.query([job.0])?;
        let mut stamps = Vec::new();
        while let Some(row) = rows.next()? {
            let incarnation = Incarnation(row.get::<_, i64>(1)?.cast_unsigned());
            stamps.push(Stamp { clock: clock_from(row.get(0)?)?, incarnation });
        }
        Ok(stamps)
    }

    /// Lists the statements that `base` doesn't cover in a temporary table, by their job.
    fn list_said_since(&self, base: &Knowledge) -> Result<()> {
        self.conn.execute_batch(
            "CREATE TEMP TABLE IF NOT EXISTS said (id BLOB, job INTEGER, kind INTEGER, PRIMARY KEY (id, kind)) WITHOUT ROWID;
             DELETE FROM temp.said;",
        )?;
        let mut incarnations = self.conn.prepare_cached("SELECT DISTINCT incarnation FROM statement")?;
        let incarnations =
            incarnations.query_map([], |row| row.get::<_, i64>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
        let mut list = self.conn.prepare_cached(
            "INSERT INTO temp.said (id, job, kind)
             SELECT j.id, s.job, s.kind FROM statement s JOIN job j ON j.key = s.job WHERE s.incarnation = ? AND s.clock > ?",
        )?;
        for incarnation in incarnations {
            list.execute((incarnation, base.get(Incarnation(incarnation.cast_unsigned())).bits().cast_signed()))?;
        }
        Ok(())
    }

    /// Gives every statement that `base` doesn't cover, by job id. The request of each job comes first.
    pub fn said_since(&self, base: &Knowledge, mut each: impl FnMut(StoredStatement) -> Result<()>) -> Result<()> {
        self.list_said_since(base)?;
        let mut query = self.conn.prepare_cached(
            "SELECT s.job, s.kind, s.clock, s.incarnation, s.signed, s.signature
             FROM temp.said t JOIN statement s ON s.job = t.job AND s.kind = t.kind ORDER BY t.id, t.kind",
        )?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            each(said(row)?)?;
        }
        Ok(())
    }

    /// The number of jobs with a statement that `base` doesn't cover.
    pub fn count_jobs_since(&self, base: &Knowledge) -> Result<u64> {
        self.list_said_since(base)?;
        let mut query = self.conn.prepare_cached("SELECT COUNT(DISTINCT job) FROM temp.said")?;
        Ok(query.query_row([], |row| row.get::<_, i64>(0))?.cast_unsigned())
    }

    /// The statements whose stamps this incarnation has issued, in order.
    pub fn said_by(&self, incarnation: Incarnation) -> Result<Vec<StoredStatement>> {
        let mut query = self.conn.prepare_cached(
            "SELECT job, kind, clock, incarnation, signed, signature FROM statement WHERE incarnation = ? ORDER BY clock",
        )?;
        let mut rows = query.query([incarnation.0.cast_signed()])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(said(row)?);
        }
        Ok(found)
    }

    /// Whether any job needs this attachment.
    pub fn is_needed(&self, digest: &Digest) -> Result<bool> {
        Ok(self.conn.prepare_cached("SELECT 1 FROM blob WHERE digest = ?")?.exists([digest.0])?)
    }

    /// Whether this attachment of the job is here, with the size that the job names. `None` if the job doesn't wait for
    /// it: it was not taken in, or doesn't exist.
    pub fn is_attachment_here(&self, job: JobKey, kind: StatementKind, digest: &Digest) -> Result<Option<bool>> {
        let mut query = self.conn.prepare_cached("SELECT here FROM blob WHERE digest = ? AND job = ? AND kind = ?")?;
        Ok(query.query_row((digest.0, job.0, kind as i64), |row| row.get(0)).optional()?)
    }

    /// Whether what came as the job's input has another size than its request says.
    pub fn had_wrong_input(&self, job: JobKey) -> Result<bool> {
        let mut query = self.conn.prepare_cached("SELECT wrong_input FROM job WHERE key = ?")?;
        Ok(query.query_row([job.0], |row| row.get(0)).optional()?.unwrap_or(false))
    }

    /// The size in bytes of an attachment that is here and that a job needs.
    pub fn attachment_size(&self, digest: &Digest) -> Result<Option<u64>> {
        let mut query = self.conn.prepare_cached("SELECT size FROM blob WHERE digest = ? AND here = 1 LIMIT 1")?;
        Ok(query.query_row([digest.0], |row| row.get::<_, i64>(0)).optional()?.map(i64::cast_unsigned))
    }

    /// Whether a job needs this attachment and it is not here.
    pub fn is_attachment_missing(&self, digest: &Digest) -> Result<bool> {
        Ok(self.conn.prepare_cached("SELECT 1 FROM blob WHERE digest = ? AND here = 0")?.exists([digest.0])?)
    }

    /// The attachments of a job.
    pub fn attachments_of(&self, job: JobKey) -> Result<Vec<Digest>> {
        self.digests("SELECT DISTINCT digest FROM blob WHERE job = ?", [job.0])
    }

    /// The sizes, all together, of the attachments that jobs need and that are not here, if each takes blocks of so many
    /// bytes.
    pub fn missing_attachment_bytes(&self, block: u64) -> Result<u64> {
        let mut query = self.conn.prepare_cached(
            "SELECT COALESCE(SUM((size + ?1 - 1) / ?1 * ?1), 0) FROM (SELECT MAX(size) AS size FROM blob WHERE here = 0 GROUP BY digest)",
        )?;
        Ok(query.query_row([block.max(1).cast_signed()], |row| row.get::<_, i64>(0))?.cast_unsigned())
    }

    /// The attachments that jobs need and that are not here, sorted, at most `limit` of them.
    pub fn missing_attachments(&self, limit: u32) -> Result<Vec<Digest>> {
        self.digests("SELECT DISTINCT digest FROM blob WHERE here = 0 ORDER BY digest LIMIT ?", [limit])
    }
}

impl Transaction<'_> {
    /// Makes a job known.
    pub fn add_job(&self, id: &JobId, request: &Request) -> Result<JobKey> {
        self.conn
            .prepare_cached("INSERT INTO job (id, requester, target, made, state, repeats) VALUES (?, ?, ?, ?, 0, ?)")?
            .execute((
                id.0,
                request.requester.to_string(),
                request.target.to_string(),
                request.made.cast_signed(),
                request.repeats.map(|id| id.0),
            ))?;
        Ok(JobKey(self.conn.last_insert_rowid()))
    }

    /// Dates what was finished at a time that can't be (before `from`, after `to`) as if it had been finished `now`.
    /// All are milliseconds since 1970 UTC.
    pub fn date_jobs_anew(&self, from: u64, to: u64, now: u64) -> Result<()> {
        self.conn.prepare_cached("UPDATE job SET final_since = ? WHERE final_since NOT BETWEEN ? AND ?")?.execute((
            now.cast_signed(),
            from.cast_signed(),
            to.cast_signed(),
        ))?;
        Ok(())
    }

    /// Records the state of a job. A final state gets the time `now` (milliseconds since 1970 UTC).
    pub fn set_job_state(&self, key: JobKey, state: JobState, now: u64) -> Result<()> {
        let since = state.is_final().then_some(now.cast_signed());
        self.conn.prepare_cached("UPDATE job SET state = ?, final_since = ? WHERE key = ?")?.execute((
            number(state),
            since,
            key.0,
        ))?;
        Ok(())
    }

    /// Records the command and the arguments of a job.
    pub fn set_job_asked(&self, key: JobKey, asked: &[String]) -> Result<()> {
        let asked = serde_json::to_string(asked).expect("strings have a JSON form");
        self.conn.prepare_cached("UPDATE job SET asked = ? WHERE key = ?")?.execute((asked, key.0))?;
        Ok(())
    }

    /// Remembers that a job of this replica's is forgotten: the newest `most` of one requester's by their ids, and of
    /// the others only when the latest of them was asked for. `None` stands for all requesters that are not known.
    /// Those that were asked for after `last` (milliseconds since 1970 UTC), which can only be a wrong clock, are
    /// remembered by their ids as long as that has not come: all that are asked for until then would count as forgotten
    /// with them.
    pub fn remember_forgotten(&self, job: &Job, requester: Option<&ReplicaId>, most: u64, last: u64) -> Result<()> {
        let holder = holder(requester);
        self.conn
            .prepare_cached("INSERT OR IGNORE INTO forgotten_job (id, requester, made) VALUES (?, ?, ?)")?
            .execute((job.id.0, &holder, job.made.cast_signed()))?;
        let mut query = self.conn.prepare_cached(
            "SELECT made FROM forgotten_job WHERE requester = ? AND made <= ? ORDER BY made DESC LIMIT 1 OFFSET ?",
        )?;
        let last = i64::try_from(last).unwrap_or(i64::MAX);
        let too_old: Option<i64> = query.query_row((&holder, last, most.cast_signed()), |row| row.get(0)).optional()?;
        let Some(made) = too_old else { return Ok(()) };
        self.conn
            .prepare_cached(
                "INSERT INTO forgotten_up_to (requester, made) VALUES (?, ?)
                 ON CONFLICT (requester) DO UPDATE SET made = MAX(made, excluded.made)",
            )?
            .execute((&holder, made))?;
        self.conn
            .prepare_cached("DELETE FROM forgotten_job WHERE requester = ? AND made <= ?")?
            .execute((&holder, made))?;
        Ok(())
    }

    /// Forgets everything about a job.
    pub fn forget_job(&self, job: &Job) -> Result<()> {
        for table in
            ["DELETE FROM statement WHERE job = ?", "DELETE FROM blob WHERE job = ?", "DELETE FROM job WHERE key = ?"]
        {
            self.conn.prepare_cached(table)?.execute([job.key.0])?;
        }
        Ok(())
    }

    /// Records a statement about a job, in place of the earlier one of its kind.
    pub fn set_statement(&self, job: JobKey, kind: StatementKind, line: &JobLine) -> Result<()> {
        self.conn
            .prepare_cached(
                "INSERT OR REPLACE INTO statement (job, kind, clock, incarnation, signed, signature) VALUES (?, ?, ?, ?, ?, ?)",
            )?
            .execute((
                job.0,
                kind as i64,
                line.stamp.clock.bits().cast_signed(),
                line.stamp.incarnation.0.cast_signed(),
                &line.signed,
                &line.signature,
            ))?;
        Ok(())
    }

    /// Records that a job needs this attachment, which its statement of this kind names, and whether it is here.
    pub fn need_attachment(
        &self,
        job: JobKey,
        kind: StatementKind,
        attachment: &AttachmentRef,
        here: bool,
    ) -> Result<()> {
        self.conn
            .prepare_cached(
                "INSERT INTO blob (digest, job, kind, size, here) VALUES (?, ?, ?, ?, ?)
                 ON CONFLICT (digest, job, kind) DO UPDATE SET here = here OR excluded.here",
            )?
            .execute((attachment.digest.0, job.0, kind as i64, attachment.bytes.cast_signed(), here))?;
        Ok(())
    }

    /// Records that an attachment of this size has come. A job that names it with another size needs something that
    /// doesn't exist, and no longer waits for it. Returns whether any job needs it.
    pub fn attachment_came(&self, digest: &Digest, bytes: u64) -> Result<bool> {
        const OTHERS: &str = "FROM blob WHERE digest = ?1 AND here = 0 AND size <> ?2";
        let (kind, bytes) = (StatementKind::Request as i64, bytes.cast_signed());
        self.conn
            .prepare_cached(&format!(
                "UPDATE job SET wrong_input = 1 WHERE key IN (SELECT job {OTHERS} AND kind = {kind})"
            ))?
            .execute((digest.0, bytes))?;
        self.conn.prepare_cached(&format!("DELETE {OTHERS}"))?.execute((digest.0, bytes))?;
        let mut came = self.conn.prepare_cached("UPDATE blob SET here = 1 WHERE digest = ? AND here = 0")?;
        Ok(came.execute([digest.0])? > 0)
    }

    /// Records that an attachment is not here any more.
    pub fn attachment_is_gone(&self, digest: &Digest) -> Result<()> {
        self.conn.prepare_cached("UPDATE blob SET here = 0 WHERE digest = ?")?.execute([digest.0])?;
        Ok(())
    }

    /// Records that a job no longer needs the attachment that its statement of this kind names.
    pub fn remove_attachment(&self, job: JobKey, kind: StatementKind, digest: &Digest) -> Result<()> {
        self.conn.prepare_cached("DELETE FROM blob WHERE digest = ? AND job = ? AND kind = ?")?.execute((
            digest.0,
            job.0,
            kind as i64,
        ))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::PrivateKey;
    use crate::state::testing::fresh;

    #[test]
    fn of_forgotten_jobs_the_newest_are_remembered_by_their_ids_and_no_older_one_is_new() {
        let dir = tempfile::tempdir().unwrap();
        let state = fresh(&dir);
        let [one, other] = [(), ()].map(|()| PrivateKey::generate("x").unwrap().public_key().id());
        let job = |n: u8, made: u64| Job {
            key: JobKey(0),
            id: JobId([n; 16]),
            requester: one,
            target: other,
            made,
            state: JobState::Done,
            final_since: None,
            asked: None,
        };
        let tx = state.begin().unwrap();
        // In no order, and one of them twice.
        for (n, made) in [(3, 30), (1, 10), (5, 50), (5, 50), (2, 20), (4, 40)] {
            tx.remember_forgotten(&job(n, made), Some(&one), 3, 60).unwrap();
        }
        // Of those that a wrong clock has dated none stands for others.
        for n in 61..=70 {
            tx.remember_forgotten(&job(n, u64::from(n)), Some(&one), 3, 60).unwrap();
        }
        tx.remember_forgotten(&job(9, 5), None, 3, 60).unwrap();
        tx.commit().unwrap();
        let remembered: i64 = state
            .conn
            .query_row("SELECT COUNT(*) FROM forgotten_job WHERE requester <> ''", [], |row| row.get(0))
            .unwrap();
        assert_eq!(remembered, 3 + 10);
        let is = |n: u8, requester, made| state.was_forgotten(&JobId([n; 16]), requester, made).unwrap();
        for (n, made) in [(3, 30), (4, 40), (5, 50), (61, 61), (70, 70)] {
            assert_eq!(is(n, Some(&one), made), Some(Forgotten::ById), "{made}");
        }
        for (n, made) in [(1, 10), (2, 20), (100, 1), (101, 20)] {
            assert_eq!(is(n, Some(&one), made), Some(Forgotten::WithOlder), "{made}");
        }
        // New ones are new, and so are those of others, however old.
        for (requester, made) in [(Some(&one), 21), (Some(&one), 51), (Some(&other), 1), (None, 1)] {
            assert_eq!(is(102, requester, made), None, "{made}");
        }
        assert_eq!(is(9, None, 5), Some(Forgotten::ById));
        // Their time has come.
        let tx = state.begin().unwrap();
        tx.remember_forgotten(&job(71, 71), Some(&one), 3, 100).unwrap();
        tx.commit().unwrap();
        assert_eq!(is(68, Some(&one), 68), Some(Forgotten::WithOlder));
        assert_eq!(is(69, Some(&one), 69), Some(Forgotten::ById));
        assert_eq!(is(102, Some(&one), 69), None);
    }

    #[test]
    fn what_is_kept_of_jobs_is_counted_for_each_peer_and_for_all_strangers_together() {
        let dir = tempfile::tempdir().unwrap();
        let state = fresh(&dir);
        let [me, peer, one, other] = [(); 4].map(|()| PrivateKey::generate("x").unwrap().public_key());
        let tx = state.begin().unwrap();
        tx.add_peer("peer", &peer, 1).unwrap();
        let mut number = 0;
        let mut add = |requester: &crate::bundle::PublicKey, bytes: u64, ends: Option<u64>| {
            number += 1;
            let body = AttachmentRef { digest: Digest::of(&[number]), bytes };
            let request =
                Request { requester: requester.id(), target: me.id(), made: 1, body, knows: Vec::new(), repeats: None };
            let key = tx.add_job(&JobId([number; 16]), &request).unwrap();
            tx.need_attachment(key, StatementKind::Request, &body, false).unwrap();
            if let Some(output) = ends {
                // Even if it is the same as the input.
                tx.need_attachment(key, StatementKind::Report, &AttachmentRef { bytes: output, ..body }, true).unwrap();
                tx.set_job_state(key, JobState::Failed, 1).unwrap();
            }
        };
        add(&peer, 100, None);
        add(&peer, 20, Some(7));
        add(&one, 3, None);
        add(&other, 40, Some(8));
        add(&me, 5000, None);
        let kept = |jobs, open, input, output| KeptJobs { jobs, open, input, output };
        let count = |requester: Option<&crate::bundle::PublicKey>| {
            tx.kept_jobs(requester.map(crate::bundle::PublicKey::id).as_ref(), &me.id()).unwrap()
        };
        assert_eq!(count(Some(&peer)), kept(2, 1, 120, 7));
        assert_eq!(count(None), kept(2, 1, 43, 8));
        assert_eq!(count(Some(&me)), kept(1, 1, 5000, 0));
        assert_eq!(count(Some(&one)), kept(1, 1, 3, 0));
    }
}
