//! What `entries.jsonl` says, and how.

use mailsync::model::{Digest, FlagRegisters};
use serde_json::{Map, Value, json};

use super::{BEYOND, Bad, Draft, Same, Vector, Verdict, ZERO, at, bad, changed, folder, message, record, s, same};
use crate::support::forge::Forge;

fn with(forge: &mut Forge, member: &str, value: Value) {
    forge.entry(|entry| drop(entry.insert(member.to_owned(), value)));
}

/// A stamp of somebody of whom the tip says nothing.
fn unknown(minutes: u64) -> String {
    format!("{}-00000000000000bb", at(minutes))
}

fn removal(seen: &str, stamp: &str) -> Value {
    json!({ "seen": seen, "stamp": stamp })
}

fn zero() -> String {
    format!("{ZERO}-{ZERO}")
}

/// So many flags that the line has them all.
fn flags(count: usize) -> Value {
    Value::Object((0..count).map(|n| (format!("keyword:{n}"), json!([s(15), true]))).collect())
}

const OF_FORM: &[Bad] = &[
    ("an array for a record", "9.12", "expected", |f| f.lines[1] = b"[]\n".to_vec()),
    ("an empty object", "9.12", "line 2", |f| f.lines[1] = b"{}\n".to_vec()),
    ("an empty line", "9.12", "line 2", |f| f.lines.insert(1, b"\n".to_vec())),
    ("another kind of record", "9.12", "unknown variant", |f| f.replace(1, "\"entry\":", "\"message\":")),
    ("two kinds in a record", "9.12", "line 2", |f| f.replace(1, "}}\n", "},\"x\":{}}\n")),
    ("an array for a folder", "9.12", "expected an object", |f| f.lines[0] = array("folder", &["New", &s(12)])),
    ("an array for a removal", "9.12", "expected an object", |f| with(f, "removal", json!([s(15), s(20)]))),
    ("an array for flags", "9.12", "line 2", |f| with(f, "flags", json!([]))),
    ("an object for a flag", "9.12", "line 2", |f| with(f, "flags", json!({ "S": { "stamp": s(15), "on": true } }))),
    ("a flag with a third value", "9.12", "line 2", |f| with(f, "flags", json!({ "S": [s(15), true, 1] }))),
    ("a flag without a value", "9.12", "line 2", |f| with(f, "flags", json!({ "S": [s(15)] }))),
    ("a flag that is on as a number", "9.12", "line 2", |f| with(f, "flags", json!({ "S": [s(15), 1] }))),
    ("a flag of two letters", "9.12", "flag", |f| with(f, "flags", json!({ "SS": [s(15), true] }))),
    ("a flag of no letter", "9.12", "flag", |f| with(f, "flags", json!({ "": [s(15), true] }))),
    ("a flag of a strange letter", "9.12", "flag", |f| with(f, "flags", json!({ "é": [s(15), true] }))),
    ("a keyword of nothing", "9.12", "flag", |f| with(f, "flags", json!({ "keyword:": [s(15), true] }))),
    ("a keyword with a space", "9.12", "flag", |f| with(f, "flags", json!({ "keyword:a b": [s(15), true] }))),
    ("a flag of a lower-case letter", "9.12", "flag", |f| with(f, "flags", json!({ "a": [s(15), true] }))),
    ("a keyword that is no atom", "9.12", "flag", |f| with(f, "flags", json!({ "keyword:a]": [s(15), true] }))),
    ("a keyword twice", "9.12", "a flag twice", |f| {
        with(f, "flags", json!({ "keyword:$JUNK": [s(15), true], "keyword:$Junk": [s(12), true] }));
    }),
    ("a keyword that is too long", "9.12", "flag", |f| {
        with(
            f,
            "flags",
            Value::Object(Map::from_iter([(format!("keyword:{}", "x".repeat(256)), json!([s(15), true]))])),
        );
    }),
    ("null for the birth folder", "9.12", "null", |f| with(f, "folder", Value::Null)),
    ("null for the location", "9.12", "null", |f| with(f, "born", Value::Null)),
    ("null for no removal", "9.12", "null", |f| with(f, "removal", Value::Null)),
    ("null for no flags", "9.12", "null", |f| with(f, "flags", Value::Null)),
    ("null for the first", "9.12", "null", |f| with(f, "ordinal", Value::Null)),
    ("a member twice", "9.12", "\"size\" stands twice", |f| f.replace(1, "\"size\":", "\"size\":1,\"size\":")),
    ("an unknown member twice", "9.12", "\"x\" stands twice", |f| {
        f.replace(1, "\"size\":", "\"x\":1,\"x\":1,\"size\":");
    }),
    ("a flag twice", "9.12", "\"S\" stands twice", |f| {
        let flag = format!("\"S\":[\"{}\",true]", s(15));
        f.replace(1, "\"size\":", &format!("\"flags\":{{{flag},{flag}}},\"size\":"));
    }),
    ("a flag twice by an escape", "9.12", "\"S\" stands twice", |f| {
        let flag = format!("[\"{}\",true]", s(15));
        f.replace(1, "\"size\":", &format!("\"flags\":{{\"S\":{flag},\"\\u0053\":{flag}}},\"size\":"));
    }),
    ("a negative ordinal", "9.12", "line 2", |f| with(f, "ordinal", json!(-1))),
    ("an ordinal of 33 bits", "9.12", "line 2", |f| with(f, "ordinal", json!(1_u64 << 32))),
    ("a negative size", "9.12", "line 2", |f| with(f, "size", json!(-1))),
    ("a size above that of any member", "9.15", "8589934592 bytes", |f| with(f, "size", json!(1_u64 << 33))),
    ("a fraction that nobody asks for", "9.12", "no integer", |f| with(f, "later", json!({ "x": [1.5] }))),
    ("an exponent that nobody asks for", "9.12", "no integer", |f| {
        f.replace(1, "\"size\":", "\"later\":1e5,\"size\":");
    }),
    ("a date that is a fraction", "9.12", "no integer", |f| with(f, "mtime", json!(1.0))),
    ("a date out of range", "9.12", "mtime", |f| with(f, "mtime", json!(9_223_372_037_u64))),
    ("a date out of range by its nanoseconds", "9.12", "mtime", |f| {
        with(f, "mtime", json!(9_223_372_036_u64));
        with(f, "mtime_ns", json!(854_775_808));
    }),
    ("a date before all", "9.12", "mtime", |f| with(f, "mtime", json!(-9_223_372_037_i64))),
    ("a second of nanoseconds", "9.12", "mtime", |f| with(f, "mtime_ns", json!(1_000_000_000))),
    ("too deep a record", "9.12", "nested more than 32 deep", |f| {
        with(f, "x", (0..31).fold(json!(1), |inner, _| json!([inner])));
    }),
    ("bytes that are no text", "9.12", "not UTF-8", |f| {
        with(f, "x", json!("?"));
        f.lines[1].iter_mut().filter(|byte| **byte == b'?').for_each(|byte| *byte = 0xff);
    }),
    ("half a character", "9.12", "surrogate", |f| f.replace(1, "\"size\":", "\"x\":\"\\ud800\\ud800\",\"size\":")),
    ("a last line without a newline", "9.12", "its last line has no end", |f| assert!(f.lines[1].pop().is_some())),
    ("something behind a record", "9.12", "line 2", |f| f.replace(1, "}}\n", "}} {}\n")),
    ("a line that is too long", "9.15", "line", |f| f.replace(0, "}}\n", &format!("}}}}{}\n", " ".repeat(256 << 10)))),
    ("more flags than an entry has", "9.15", "more than 256 flags", |f| {
        with(f, "flags", flags(FlagRegisters::MOST + 1));
    }),
    ("a digest in capitals", "9.12", "digest", |f| with(f, "digest", json!("A".repeat(64)))),
    ("a digest with a digit less", "9.12", "digest", |f| with(f, "digest", json!("0".repeat(63)))),
    ("a stamp without a hyphen", "9.12", "stamp", |f| with(f, "location", json!(s(15).replace('-', "+")))),
    ("a stamp in capitals", "9.12", "line 2", |f| with(f, "location", json!(s(15).to_uppercase()))),
    ("a stamp that is short", "9.12", "line 2", |f| with(f, "location", json!(s(15)[1..]))),
    ("a folder without a stamp", "9.12", "missing field", |f| {
        f.lines[0] = b"{\"folder\":{\"name\":\"New\",\"present\":true}}\n".into();
    }),
    ("a folder that is present as a number", "9.12", "line 1", |f| f.replace(0, "true", "1")),
];

fn array(kind: &str, values: &[&str]) -> Vec<u8> {
    format!("{}\n", json!({ kind: values })).into_bytes()
}

/// Names that no folder has.
fn names() -> Vec<Vector> {
    [
        ("a name of nothing", String::new()),
        ("a name of a dot", ".".into()),
        ("a name of two dots", "..".into()),
        ("a name that leads out", "../../etc".into()),
        ("a name that leads out in the middle", "Work/../../etc".into()),
        ("a name that begins with a slash", "/etc".into()),
        ("a name that ends with a slash", "Work/".into()),
        ("a name with two slashes", "Work//New".into()),
        ("a name with a dot between slashes", "Work/./New".into()),
        ("a name with a NUL", "Work\0New".into()),
        ("a name of 1025 bytes", "x".repeat(1025)),
        ("a name of 1025 bytes in 513 characters", format!("x{}", "é".repeat(512))),
    ]
    .into_iter()
    .flat_map(|(about, name)| {
        let verdict = Verdict::Rejected("9.12", "folder name");
        let of_folder = changed("records", about, verdict, |f| f.lines[0] = line(&folder(&name, &s(12), true)));
        let about = about.replacen("a name", "a place", 1);
        let of_entry = changed("records", &about, verdict, |f| with(f, "folder", json!(name)));
        [of_folder, of_entry]
    })
    .collect()
}

fn line(record: &Value) -> Vec<u8> {
    format!("{record}\n").into_bytes()
}

/// Each member that must be there, left out; and each with a value of another type.
fn members() -> Vec<Vector> {
    let members = ["digest", "birth", "location", "size", "mtime"];
    let without = members.map(|member| {
        changed("records", &format!("without {member}"), Verdict::Rejected("9.12", "missing field"), |f| {
            f.entry(|entry| drop(entry.remove(member).unwrap()));
        })
    });
    let all =
        ["digest", "birth", "ordinal", "folder", "location", "born", "floor", "removal", "size", "mtime", "mtime_ns"];
    let other = all.map(|member| {
        changed("records", &format!("{member} of another type"), Verdict::Rejected("9.12", "line 2"), |f| {
            with(f, member, json!([true]));
        })
    });
    let without_of_removal = ["seen", "stamp"].map(|member| {
        changed("records", &format!("a removal without {member}"), Verdict::Rejected("9.12", "missing field"), |f| {
            let mut removal = removal(&s(15), &s(20));
            removal.as_object_mut().unwrap().remove(member);
            with(f, "removal", removal);
        })
    });
    without.into_iter().chain(other).chain(without_of_removal).collect()
}

const OF_ORDER: &[Bad] = &[
    ("a folder twice", "9.13", "line 2: the folders are not", |f| f.lines.insert(1, f.lines[0].clone())),
    ("folders backwards", "9.13", "line 2: the folders are not", |f| {
        f.lines.insert(1, line(&folder("Later", &s(12), true)));
    }),
    ("folders by letters in place of bytes", "9.13", "the folders are not", |f| {
        f.lines.insert(0, line(&folder("a", &s(12), true)));
    }),
    ("a folder behind an entry", "9.13", "a folder stands after an entry", |f| f.lines.swap(0, 1)),
    ("an entry twice", "9.13", "line 3: the entries are not", |f| f.lines.push(f.lines[1].clone())),
    ("an entry twice with another date", "9.13", "line 3: the entries are not", |f| {
        f.line(&record("new", "New", &s(15), &json!({ "mtime": 1_700_000_001 })));
    }),
    ("ordinals backwards", "9.13", "line 3: the entries are not", |f| {
        f.lines.insert(1, line(&record("new", "New", &s(15), &json!({ "ordinal": 1 }))));
    }),
    ("digests backwards", "9.13", "line 3: the entries are not", |f| {
        with(f, "digest", json!("f".repeat(64)));
        f.line(&record("new", "New", &s(15), &json!({})));
    }),
    ("birth folders backwards", "9.13", "line 3: the entries are not", |f| {
        f.line(&record("new", "INBOX", &s(15), &json!({ "folder": "Work" })));
    }),
    ("a digest before a birth folder", "9.13", "line 4: the entries are not", |f| {
        let mut two = ["a", "b"].map(|name| (Digest::of(&message(name)).to_string(), name));
        two.sort();
        f.lines.truncate(1);
        f.line(&record(two[0].1, "Work", &s(15), &json!({})));
        f.line(&record(two[1].1, "Work", &s(15), &json!({})));
        f.line(&record(two[0].1, "New", &s(15), &json!({})));
    }),
];

const OF_CLAIMS: &[Bad] = &[
    ("a folder of somebody unknown", "9.20", "a folder has the stamp", |f| f.replace(0, &s(12), &unknown(12))),
    ("a folder after the tip", "9.20", "a folder has the stamp", |f| f.replace(0, &s(12), &s(21))),
    ("a folder at zero", "9.19", "a folder has the zero clock", |f| f.replace(0, &at(12), ZERO)),
    ("a folder at the zero stamp", "9.19", "a folder has the zero clock", |f| f.replace(0, &s(12), &zero())),
    ("a location after the tip", "9.20", "location has the stamp", |f| with(f, "location", json!(s(21)))),
    ("a location of somebody unknown", "9.20", "location has the stamp", |f| with(f, "location", json!(unknown(15)))),
    ("a location at zero", "9.19", "location has the zero clock", |f| with(f, "location", json!(zero()))),
    ("a location beyond the last clock", "9.19", "beyond the last one", |f| {
        with(f, "location", json!(s(15).replace(&at(15), BEYOND)));
    }),
    ("a birth of somebody unknown", "9.20", "an entry's birth has the stamp", |f| with(f, "born", json!(unknown(15)))),
    ("a birth at zero", "9.19", "an entry's birth has the zero clock", |f| with(f, "born", json!(zero()))),
    ("a birth after the location", "9.21", "which is after its location", |f| with(f, "born", json!(s(16)))),
    ("a floor after the tip", "9.20", "an entry's floor has the stamp", |f| with(f, "floor", json!(s(21)))),
    ("a floor of somebody unknown", "9.20", "an entry's floor has the stamp", |f| with(f, "floor", json!(unknown(15)))),
    ("a floor at a zero clock of somebody", "9.19", "an entry's floor has the zero clock", |f| {
        with(f, "floor", json!(s(15).replace(&at(15), ZERO)));
    }),
    ("a floor above the birth", "9.21", "is above its birth", |f| {
        with(f, "born", json!(s(12)));
    }),
    ("a flag of somebody unknown", "9.20", "a flag has the stamp", |f| {
        with(f, "flags", json!({ "S": [unknown(15), true] }));
    }),
    ("a flag after the tip", "9.20", "a flag has the stamp", |f| with(f, "flags", json!({ "S": [s(21), true] }))),
    ("a flag that is off after the tip", "9.20", "a flag has the stamp", |f| {
        with(f, "flags", json!({ "S": [s(21), false] }));
    }),
    ("a flag at zero", "9.19", "a flag has the zero clock", |f| with(f, "flags", json!({ "S": [zero(), true] }))),
    ("a removal after the tip", "9.20", "a removal has the stamp", |f| with(f, "removal", removal(&s(15), &s(21)))),
    ("a removal at zero", "9.19", "a removal has the zero clock", |f| with(f, "removal", removal(&s(15), &zero()))),
    ("a removal that has seen what nobody knows", "9.20", "what a removal has seen has the stamp", |f| {
        with(f, "removal", removal(&unknown(15), &s(20)));
    }),
    ("a removal that has seen the last clock", "9.20", "what a removal has seen has the stamp", |f| {
        with(f, "removal", removal(&s(15).replace(&at(15), "1fffffffffffffff"), &s(20)));
    }),
    ("a removal that has seen where the entry never was", "9.21", "which is after the entry's location", |f| {
        with(f, "removal", removal(&s(16), &s(20)));
    }),
    ("a removal that has seen nothing", "9.19", "what a removal has seen has the zero clock", |f| {
        with(f, "removal", removal(&zero(), &s(20)));
    }),
];

/// What makes no difference.
const SAME: &[Same] = &[
    ("unknown members", |f| {
        with(f, "later", json!({ "x": [1, null, -5] }));
        f.replace(0, "\"present\":", "\"later\":null,\"present\":");
    }),
    ("spaces between tokens", |f| f.replace(1, "\"size\":", " \t\"size\" : ")),
    ("a carriage return before a newline", |f| f.replace(1, "}}\n", "}}\r\n")),
    ("escapes in names", |f| f.replace(0, "\"New\"", "\"\\u004e\\u0065w\"")),
    ("what goes without saying", |f| {
        with(f, "ordinal", json!(0));
        with(f, "folder", json!("New"));
        with(f, "born", json!(s(15)));
        with(f, "flags", json!({}));
        with(f, "mtime_ns", json!(0));
    }),
    ("no floor", |f| f.entry(|entry| drop(entry.remove("floor")))),
    ("a floor of the zero stamp", |f| with(f, "floor", json!(zero()))),
    ("a size that is too small", |f| with(f, "size", json!(0))),
    ("a size that is too great", |f| with(f, "size", json!(1_000_000))),
    ("a line of 256 KiB", |f| {
        let length = (256 << 10) - f.lines[0].len() + 1;
        f.replace(0, "}}\n", &format!("}}}}{}\n", " ".repeat(length)));
    }),
];

/// Dates of delivery at which a reader could stumble: whole seconds, nanoseconds, and both together.
fn dates() -> Vec<Vector> {
    [
        ("the earliest date", -9_223_372_036, 0, -9_223_372_036_000_000_000),
        ("the latest date", 9_223_372_036_i64, 854_775_807, i64::MAX),
        ("a date before 1970", -1, 999_999_999, -1),
    ]
    .into_iter()
    .map(|(about, seconds, nanoseconds, date)| {
        let mut draft = Draft::honest();
        with(&mut draft.forge, "mtime", json!(seconds));
        with(&mut draft.forge, "mtime_ns", json!(nanoseconds));
        draft.after.dated("new", "New", date);
        draft.finish("records", about, Verdict::Accepted)
    })
    .collect()
}

pub fn vectors() -> Vec<Vector> {
    [
        bad("records", OF_FORM),
        names(),
        members(),
        bad("records", OF_ORDER),
        bad("records", OF_CLAIMS),
        same("records", SAME),
        dates(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
