//! Statements about jobs. The replica that wants something run makes a request, and may make a cancel; the replica that
//! is to run it makes reports. Each statement is signed by its maker, and holds the key to check that with. So any
//! replica that passes it on can tell who made it, and none can change it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::SHOWN;
use super::{Error, JOB_NAMESPACE, KeyError, PrivateKey, PublicKey, ReplicaId, Signature, limits, strict};
use crate::model::{Digest, Incarnation, JobState, ParseError, ReportRank, Stamp};
use crate::text::beginning;

/// A job's id: the first half of the SHA-256 of its signed request, written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub [u8; 16]);

impl JobId {
    /// The id of the job with this signed request.
    pub fn of(signed: &str) -> Self {
        let digest = Digest::of(signed.as_bytes()).0;
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Self(id)
    }

    /// The first digits: enough for people to tell a replica's jobs apart.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::model::write_hex(f, &self.0)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for JobId {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut id = [0; 16];
        crate::model::parse_hex("job id", text, &mut id)?;
        Ok(Self(id))
    }
}

crate::model::serde_as_text!(JobId);

/// A reference to an attachment: an encrypted file that travels with the messages, named by its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttachmentRef {
    /// The SHA-256 of the encrypted bytes.
    pub digest: Digest,
    /// The number of these bytes.
    pub bytes: u64,
}

/// A request: a replica wants another one to run a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The replica that wants it, and has signed this.
    pub requester: ReplicaId,
    /// The replica that is to run it.
    pub target: ReplicaId,
    /// When it was asked for: milliseconds since 1970 UTC.
    pub made: u64,
    /// Command, arguments and standard input, for the target's and the requester's eyes only.
    #[serde(deserialize_with = "strict::object")]
    pub body: AttachmentRef,
    /// Incarnations about which the requester knew something then. They tell a target that has lost its memory and
    /// begun a new incarnation whether the request was made after that. At most [`limits::JOB_INCARNATIONS`],
    /// ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub knows: Vec<Incarnation>,
    /// The job that this one repeats.
    #[serde(default, deserialize_with = "strict::present", skip_serializing_if = "Option::is_none")]
    pub repeats: Option<JobId>,
}

/// A cancel: the requester no longer wants the job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cancel {
    /// The job.
    pub job: JobId,
    /// When the statement was made: milliseconds since 1970 UTC.
    pub made: u64,
}

/// A report: the target tells the state of the job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The job.
    pub job: JobId,
    /// The attempt that it is about, from 1.
    pub attempt: u32,
    /// When the statement was made: milliseconds since 1970 UTC.
    pub at: u64,
    /// The state of the job.
    pub state: JobState,
    /// The program's exit status, if it has ended with one.
    #[serde(default, deserialize_with = "strict::present", skip_serializing_if = "Option::is_none")]
    pub status: Option<i32>,
    /// The reason, the times and the output, for the target's and the requester's eyes only.
    #[serde(default, deserialize_with = "strict::present_object", skip_serializing_if = "Option::is_none")]
    pub result: Option<AttachmentRef>,
}

impl Report {
    /// The report's rank among all reports of the target on this job.
    pub fn rank(&self) -> ReportRank {
        ReportRank { attempt: self.attempt, state: self.state, at: self.at }
    }
}

/// A statement about a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Statement {
    /// Its requester wants it.
    Request(Request),
    /// Its requester no longer wants it.
    Cancel(Cancel),
    /// Its target tells its state.
    Report(Report),
}

impl Statement {
    /// Checks everything that a statement says by itself: each number against its limit, and what can't be true
    /// together.
    fn check(&self) -> Result<(), Error> {
        match self {
            Self::Request(request) => {
                within("made", request.made, 1, limits::JOB_TIME)?;
                within("the bytes of body", request.body.bytes, 1, limits::MEMBER_BYTES)?;
                if request.knows.len() > limits::JOB_INCARNATIONS || !request.knows.is_sorted_by(|a, b| a < b) {
                    return Err(wrong("knows names too many incarnations, or not in ascending order"));
                }
                Ok(())
            }
            Self::Cancel(cancel) => within("made", cancel.made, 1, limits::JOB_TIME),
            Self::Report(report) => report.check(),
        }
    }

    /// When it was said, by the clock of whoever said it: milliseconds since 1970 UTC.
    pub fn said_at(&self) -> u64 {
        match self {
            Self::Request(request) => request.made,
            Self::Cancel(cancel) => cancel.made,
            Self::Report(report) => report.at,
        }
    }
}

impl Report {
    fn check(&self) -> Result<(), Error> {
        within("at", self.at, 1, limits::JOB_TIME)?;
        within("attempt", u64::from(self.attempt), 1, u64::from(limits::JOB_ATTEMPTS))?;
        if let Some(result) = &self.result {
            within("the bytes of result", result.bytes, 1, limits::JOB_RESULT_BYTES)?;
        }
        let fits = match (self.state, self.status) {
            (JobState::Done, status) => status == Some(0),
            (JobState::Failed, status) => status.is_none_or(|status| (1..=limits::JOB_STATUS).contains(&status)),
            (_, status) => status.is_none(),
        };
        if !fits {
            return Err(wrong(&format!("the status {:?} doesn't go with the state {}", self.status, self.state)));
        }
        if self.result.is_some() && !self.state.is_final() {
            return Err(wrong(&format!("a job that is {} has no result", self.state)));
        }
        Ok(())
    }
}

fn within(what: &str, number: u64, least: u64, most: u64) -> Result<(), Error> {
    if (least..=most).contains(&number) {
        return Ok(());
    }
    Err(wrong(&format!("{what} is {number}, and not from {least} to {most}")))
}

/// A statement as it travels: one line of `jobs.jsonl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobLine {
    /// The stamp by which an export decides whether a delta holds it, as for an entry's registers. It is not signed,
    /// since it says nothing about the job.
    pub stamp: Stamp,
    /// The statement in JSON; the signature is over these very bytes.
    pub signed: String,
    /// An armored SSHSIG in the namespace [`JOB_NAMESPACE`].
    pub signature: String,
}

impl JobLine {
    /// Signs a statement.
    pub fn sign(stamp: Stamp, statement: &Statement, key: &PrivateKey) -> Result<Self, KeyError> {
        let signed = serde_json::to_string(statement).expect("a statement has a JSON form");
        let signature = key.sign_for(JOB_NAMESPACE, signed.as_bytes())?.to_armor();
        Ok(Self { stamp, signed, signature })
    }

    /// Reads a line, without its newline. Only its form is checked.
    pub fn decode(line: &[u8]) -> Result<Self, Error> {
        if line.len() as u64 > limits::JOB_LINE_BYTES {
            return Err(Error::TooLarge { what: "a line of jobs.jsonl", limit: limits::JOB_LINE_BYTES });
        }
        strict::parse(line).map_err(|error| wrong(&error))
    }

    /// The line, without a newline.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a line has a JSON form")
    }

    /// Checks the signature. Gives the statement and the key of its maker; a request must be signed by the requester
    /// that it names.
    ///
    /// # Errors
    /// It is no statement, it says what can't be true by itself, or the signature doesn't hold.
    pub fn verify(&self) -> Result<(Statement, PublicKey), Error> {
        let statement = self.statement()?;
        statement.check()?;
        let signature = Signature::from_armor_for(JOB_NAMESPACE, self.signature.as_bytes())?;
        let signer = signature.signer();
        signer.verify(self.signed.as_bytes(), &signature)?;
        if let Statement::Request(request) = &statement
            && request.requester != signer.id()
        {
            return Err(Error::WrongSigner { expected: request.requester, found: signer.id() });
        }
        Ok((statement, signer))
    }

    /// Gives the statement without a check, for a line whose signature was checked before.
    pub fn statement(&self) -> Result<Statement, Error> {
        strict::parse(self.signed.as_bytes()).map_err(|error| wrong(&error))
    }

    /// The key that the signature names as its maker's.
    pub fn signer(&self) -> Result<PublicKey, Error> {
        Ok(Signature::from_armor_for(JOB_NAMESPACE, self.signature.as_bytes())?.signer())
    }
}

fn wrong(what: &str) -> Error {
    Error::corrupt(format!("jobs.jsonl: {}", beginning(what, SHOWN)))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{key, stamp};
    use super::*;

    fn request() -> Request {
        Request {
            requester: key().public_key().id(),
            target: ReplicaId::from_bytes([7; 32]),
            made: 5,
            body: AttachmentRef { digest: Digest::of(b"x"), bytes: 1 },
            knows: vec![stamp(0).incarnation],
            repeats: None,
        }
    }

    #[test]
    fn a_statement_reads_back_as_it_was_signed_and_names_its_signer() {
        let id = JobId::of("x");
        let statements = [
            Statement::Request(request()),
            Statement::Cancel(Cancel { job: id, made: 6 }),
            Statement::Report(Report {
                job: id,
                attempt: 1,
                at: 7,
                state: JobState::Failed,
                status: Some(75),
                result: None,
            }),
        ];
        for statement in statements {
            let line = JobLine::sign(stamp(3), &statement, &key()).unwrap();
            let again = JobLine::decode(&line.encode()).unwrap();
            assert_eq!(again, line);
            assert_eq!(again.verify().unwrap(), (statement, key().public_key()));
        }
    }

    fn report() -> Report {
        Report { job: JobId::of("x"), attempt: 1, at: 7, state: JobState::Done, status: Some(0), result: None }
    }

    #[test]
    fn what_can_not_be_true_by_itself_is_no_statement() {
        use JobState::{Cancelled, Done, Failed, Interrupted, Queued, Rejected, Running};
        let digest = Digest::of(b"x");
        let made = |made| Statement::Request(Request { made, ..request() });
        let body = |bytes| Statement::Request(Request { body: AttachmentRef { digest, bytes }, ..request() });
        let knows = |knows: &[u64]| {
            Statement::Request(Request { knows: knows.iter().map(|&n| Incarnation(n)).collect(), ..request() })
        };
        let taken_back = |made| Statement::Cancel(Cancel { job: JobId::of("x"), made });
        let at = |at| Statement::Report(Report { at, ..report() });
        let attempt = |attempt| Statement::Report(Report { attempt, ..report() });
        let ended = |state, status| Statement::Report(Report { state, status, ..report() });
        let result = |state, status, bytes| {
            Statement::Report(Report { state, status, result: Some(AttachmentRef { digest, bytes }), ..report() })
        };
        let many: Vec<u64> = (0..256).collect();
        let table = [
            (made(0), false),
            (made(1), true),
            (made(limits::JOB_TIME), true),
            (made(limits::JOB_TIME + 1), false),
            (made(u64::MAX), false),
            (body(0), false),
            (body(limits::MEMBER_BYTES), true),
            (body(limits::MEMBER_BYTES + 1), false),
            (knows(&[]), true),
            (knows(&many), true),
            (knows(&[&many[..], &[256]].concat()), false),
            (knows(&[2, 1]), false),
            (knows(&[1, 1]), false),
            (taken_back(0), false),
            (taken_back(limits::JOB_TIME), true),
            (taken_back(limits::JOB_TIME + 1), false),
            (at(0), false),
            (at(limits::JOB_TIME + 1), false),
            (attempt(0), false),
            (attempt(limits::JOB_ATTEMPTS), true),
            (attempt(limits::JOB_ATTEMPTS + 1), false),
            (attempt(u32::MAX), false),
            (ended(Done, Some(0)), true),
            (ended(Done, Some(1)), false),
            (ended(Done, None), false),
            (ended(Failed, None), true),
            (ended(Failed, Some(255)), true),
            (ended(Failed, Some(0)), false),
            (ended(Failed, Some(256)), false),
            (ended(Failed, Some(-1)), false),
            (ended(Failed, Some(i32::MIN)), false),
            (ended(Queued, None), true),
            (ended(Queued, Some(0)), false),
            (ended(Running, Some(0)), false),
            (ended(Rejected, Some(1)), false),
            (ended(Interrupted, None), true),
            (ended(Cancelled, Some(1)), false),
            (result(Done, Some(0), 0), false),
            (result(Done, Some(0), limits::JOB_RESULT_BYTES), true),
            (result(Done, Some(0), limits::JOB_RESULT_BYTES + 1), false),
            (result(Rejected, None, 1), true),
            (result(Queued, None, 1), false),
            (result(Running, None, 1), false),
        ];
        for (statement, holds) in table {
            let line = JobLine::sign(stamp(3), &statement, &key()).unwrap();
            let verified = line.verify();
            assert_eq!(verified.is_ok(), holds, "{statement:?}: {verified:?}");
            assert!(holds || matches!(verified, Err(Error::Corrupt { .. })), "{verified:?}");
        }
    }

    #[test]
    fn a_statement_has_the_very_shape_that_the_format_gives_it() {
        let signed = |text: &str| JobLine {
            stamp: stamp(3),
            signed: text.to_owned(),
            signature: key().sign_for(JOB_NAMESPACE, text.as_bytes()).unwrap().to_armor(),
        };
        let told = r#"{"type":"report","job":"00000000000000000000000000000000","attempt":1,"at":7,"state":"failed","status":1}"#;
        assert!(signed(told).verify().is_ok());
        for (what, by) in [
            (r#","status":1"#, r#","status":null"#),
            (r#","status":1"#, r#","status":1,"result":null"#),
            (r#","status":1"#, r#","status":1,"status":1"#),
            (r#","status":1"#, r#","status":1.0"#),
            (r#","status":1"#, r#","status":"1""#),
            (r#","status":1"#, r#","status":4294967296"#),
            (r#","status":1"#, r#","result":["x",1]"#),
            (r#","status":1"#, r#","other":1"#),
            (r#""attempt":1"#, r#""attempt":-1"#),
            (r#""attempt":1"#, r#""attempt":1e0"#),
            (r#""attempt":1"#, r#""attempt":4294967296"#),
            (r#""at":7"#, r#""at":18446744073709551616"#),
            (r#""type":"report","#, r#""type":"report","type":"report","#),
        ] {
            assert!(told.contains(what), "{what}");
            let changed = told.replace(what, by);
            assert!(matches!(signed(&changed).verify(), Err(Error::Corrupt { .. })), "{changed}");
        }
        assert!(matches!(signed(&format!("[{told}]")).verify(), Err(Error::Corrupt { .. })));
        let line = JobLine::sign(stamp(3), &Statement::Request(request()), &key()).unwrap();
        let array = serde_json::to_vec(&(line.stamp, &line.signed, &line.signature)).unwrap();
        assert!(matches!(JobLine::decode(&array), Err(Error::Corrupt { .. })));
    }

    #[test]
    fn a_changed_statement_doesnt_hold() {
        let line = JobLine::sign(stamp(3), &Statement::Request(request()), &key()).unwrap();
        let changed = JobLine { signed: line.signed.replace("\"made\":5", "\"made\":6"), ..line.clone() };
        assert_ne!(changed, line);
        assert!(matches!(changed.verify(), Err(Error::BadSignature { .. })));
        assert_ne!(JobId::of(&changed.signed), JobId::of(&line.signed));
    }

    #[test]
    fn nobody_asks_in_the_name_of_another() {
        let other = PrivateKey::generate("other").unwrap();
        let line = JobLine::sign(stamp(3), &Statement::Request(request()), &other).unwrap();
        assert!(matches!(line.verify(), Err(Error::WrongSigner { .. })));
    }

    #[test]
    fn a_signature_for_a_bundle_is_none_for_a_job() {
        let line = JobLine::sign(stamp(3), &Statement::Request(request()), &key()).unwrap();
        let signature = key().sign(line.signed.as_bytes()).unwrap().to_armor();
        assert!(matches!(JobLine { signature, ..line }.verify(), Err(Error::BadSignature { .. })));
    }

    #[test]
    fn what_is_no_statement_is_corrupt() {
        for wrong in ["", "{}", "[]", "{\"stamp\":\"x\",\"signed\":\"\",\"signature\":\"\"}"] {
            assert!(matches!(JobLine::decode(wrong.as_bytes()), Err(Error::Corrupt { .. })), "{wrong}");
        }
        let long = vec![b'x'; usize::try_from(limits::JOB_LINE_BYTES).unwrap() + 1];
        assert!(matches!(JobLine::decode(&long), Err(Error::TooLarge { .. })));
        let line = JobLine { stamp: stamp(1), signed: "{\"type\":\"wish\"}".into(), signature: String::new() };
        assert!(matches!(line.verify(), Err(Error::Corrupt { .. })));
    }
}
