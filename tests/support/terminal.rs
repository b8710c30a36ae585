//! A terminal at which somebody sits who answers questions.

use std::process::{Command, Stdio};

use super::programs::{Ran, find, run};

/// Runs a shell's line with a terminal, and types an answer behind each question. It must ask them all, in this order, and
/// no other: what it says from then on is waited for. What was said is the output.
const PERSON: &str = r#"
import os, pty, select, sys
line, answers = sys.argv[1], list(zip(sys.argv[2::2], sys.argv[3::2]))
child, terminal = pty.fork()
if child == 0:
    os.execvp("sh", ["sh", "-c", line])
said, asked = b"", 0
while True:
    ready, _, _ = select.select([terminal], [], [], 60)
    if not ready:
        sys.exit("it says no more: " + said.decode())
    try:
        more = os.read(terminal, 4096)
    except OSError:
        more = b""
    if not more:
        break
    said += more
    if answers and answers[0][0].encode() in said[asked:]:
        asked = len(said)
        os.write(terminal, answers.pop(0)[1].encode())
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
sys.stdout.write(said.decode().replace("\r\n", "\n"))
if answers:
    sys.exit("it has not asked: " + answers[0][0])
sys.exit(status)
"#;

/// Runs a line of a shell at a terminal. `answers` are questions with the lines that are typed then. `None` if there is no
/// program that can play a person, and the test is left out.
#[track_caller]
pub fn at_a_terminal(line: &str, answers: &[(&str, &str)]) -> Option<Ran> {
    let lines: Vec<String> = answers.iter().map(|(_, answer)| format!("{answer}\n")).collect();
    let typed: Vec<(&str, &str)> =
        answers.iter().zip(&lines).map(|((question, _), line)| (*question, line.as_str())).collect();
    typing_at_a_terminal(line, &typed)
}

/// The same, with the very characters that are typed, and not only whole lines.
#[track_caller]
pub fn typing_at_a_terminal(line: &str, typed: &[(&str, &str)]) -> Option<Ran> {
    let python = find("python3")?;
    let mut command = Command::new(python);
    command.args(["-c", PERSON, line]).args(typed.iter().flat_map(|(question, typed)| [question, typed]));
    Some(run(command.env_remove("MAILSYNC_CODE").stdin(Stdio::null())))
}
