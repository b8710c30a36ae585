//! Jobs: the statements about them, the states that follow from these, and their attachments.

use rusqlite::{OptionalExtension, Row};

use super::codec::{clock_from, damaged};
use super::{State, Transaction};
use crate::bundle::{AttachmentRef, JobId, JobLine, ReplicaId, Request};
use crate::error::Result;
use crate::model::{Digest, Incarnation, JobState, Knowledge, Stamp};

/// A job's number within this state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobKey(i64);

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
    fn jobs_where(&self, condition: &str, params: impl rusqlite::Params) -> Result<Vec<Job>> {
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

    /// The number of jobs in this state that this replica has requested or is to run, and that no other job repeats.
    pub fn count_jobs(&self, replica: &ReplicaId, state: JobState) -> Result<u64> {
        let mut query = self.conn.prepare_cached(
            "SELECT COUNT(*) FROM job j WHERE state = ?1 AND (target = ?2 OR requester = ?2)
             AND NOT EXISTS (SELECT 1 FROM job WHERE repeats = j.id)",
        )?;
        let count = query.query_row((number(state), replica.to_string()), |row| row.get::<_, i64>(0))?;
        Ok(count.cast_unsigned())
    }

    /// Whether this job belonged to this replica and was purged.
    pub fn was_finished(&self, id: &JobId) -> Result<bool> {
        Ok(self.conn.prepare_cached("SELECT 1 FROM finished_job WHERE id = ?")?.exists([id.0])?)
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

    /// Whether this attachment of the job is here, with the size that the job names.
    pub fn is_attachment_here(&self, job: JobKey, digest: &Digest) -> Result<bool> {
        let mut query = self.conn.prepare_cached("SELECT 1 FROM blob WHERE digest = ? AND job = ? AND here = 1")?;
        Ok(query.exists((digest.0, job.0))?)
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
        self.digests("SELECT digest FROM blob WHERE job = ?", [job.0])
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

    /// Forgets a job. If this replica was its requester or its target, the id alone is remembered.
    pub fn forget_job(&self, job: &Job, ours: bool) -> Result<()> {
        if ours {
            self.conn.prepare_cached("INSERT OR IGNORE INTO finished_job (id) VALUES (?)")?.execute([job.id.0])?;
        }
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

    /// Records that a job needs this attachment, and whether it is here.
    pub fn need_attachment(&self, job: JobKey, attachment: &AttachmentRef, here: bool) -> Result<()> {
        self.conn
            .prepare_cached(
                "INSERT INTO blob (digest, job, size, here) VALUES (?, ?, ?, ?)
                 ON CONFLICT (digest, job) DO UPDATE SET here = here OR excluded.here",
            )?
            .execute((attachment.digest.0, job.0, attachment.bytes.cast_signed(), here))?;
        Ok(())
    }

    /// Records that an attachment of this size has come. A job that names it with another size needs something that
    /// doesn't exist, and no longer waits for it. Returns whether any job needs it.
    pub fn attachment_came(&self, digest: &Digest, bytes: u64) -> Result<bool> {
        self.conn
            .prepare_cached("DELETE FROM blob WHERE digest = ? AND here = 0 AND size <> ?")?
            .execute((digest.0, bytes.cast_signed()))?;
        let mut came = self.conn.prepare_cached("UPDATE blob SET here = 1 WHERE digest = ? AND here = 0")?;
        Ok(came.execute([digest.0])? > 0)
    }

    /// Records that an attachment is not here any more.
    pub fn attachment_is_gone(&self, digest: &Digest) -> Result<()> {
        self.conn.prepare_cached("UPDATE blob SET here = 0 WHERE digest = ?")?.execute([digest.0])?;
        Ok(())
    }

    /// Records that a job no longer needs this attachment.
    pub fn remove_attachment(&self, job: JobKey, digest: &Digest) -> Result<()> {
        self.conn.prepare_cached("DELETE FROM blob WHERE digest = ? AND job = ?")?.execute((digest.0, job.0))?;
        Ok(())
    }

    /// Stops waiting for an attachment that is missing.
    pub fn remove_missing_attachment(&self, digest: &Digest) -> Result<()> {
        self.conn.prepare_cached("DELETE FROM blob WHERE digest = ? AND here = 0")?.execute([digest.0])?;
        Ok(())
    }
}
