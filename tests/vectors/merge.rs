//! What a bundle that is taken makes of the state.

use serde_json::{Value, json};

use super::{
    Draft, Good, OTHER, Vector, ZERO, at, base_records, clocks, folder, full, good, knows, message, o, record, s,
};

fn on(stamp: &str) -> Value {
    json!([stamp, true])
}

fn off(stamp: &str) -> Value {
    json!([stamp, false])
}

/// A record of the base state, by the message's name, with other members.
fn again(name: &str, more: &Value) -> Value {
    let digest = mailsync::model::Digest::of(&message(name)).to_string();
    let is_it = |record: &Value| record["entry"]["digest"] == json!(digest) && record["entry"]["ordinal"].is_null();
    let mut record = base_records().into_iter().find(is_it).unwrap();
    for (member, value) in more.as_object().unwrap() {
        record["entry"][member] = value.clone();
    }
    record
}

/// A change of a message in the base state, and how it is afterwards.
fn change(draft: &mut Draft, name: &str, more: &Value, folder: &str, flags: &str) {
    draft.put(&again(name, more));
    draft.after.has(name, "INBOX", 0, folder, flags);
}

/// Adds what the other peer has to say, in a bundle before that of the signer.
fn other_says(draft: &mut Draft, record: &Value) {
    draft.of_other();
    draft.put(record);
    draft.next();
}

const FOLDERS: &[Good] = &[
    ("a folder that is made", |d| {
        d.put(&folder("New", &s(12), true));
        d.after.folder("New");
    }),
    ("a folder that is removed", |d| {
        d.put(&folder("Empty", &s(12), true));
        d.then();
        d.put(&folder("Empty", &s(22), false));
    }),
    ("a folder that is removed while mail is in it", |d| {
        d.put(&folder("Work", &s(12), false));
        d.after.no_folder("Work");
    }),
    ("a folder that is made again", |d| {
        d.put(&folder("Gone", &s(12), true));
        d.after.folder("Gone");
    }),
    // Its sender knows that it was made since, and doesn't have it: it has forgotten a later removal.
    ("a folder that was removed longer ago", |d| {
        d.put(&folder("Work", &o(1).replace(&at(1), &at(0)), false));
        d.after.no_folder("Work");
    }),
    ("a folder that was made longer ago", |d| d.put(&folder("Gone", &s(2), true))),
    // Present would win, but whoever lacks it knows of that stamp: a later removal was forgotten.
    ("a folder of the same stamp that is present", |d| d.put(&folder("Gone", &s(3), true))),
    ("a folder of the same stamp that is absent", |d| {
        d.put(&folder("Work", &s(1), false));
        d.after.no_folder("Work");
    }),
    ("a folder of the same clock by the lesser incarnation", |d| d.put(&folder("Gone", &o(3), true))),
    // Its stamp is known here, and no register: a removal was forgotten, and whoever purges forgets the name as well.
    ("a folder that was removed and forgotten here", |d| d.put(&folder("Forgotten", &s(2), true))),
    ("a folder that was removed and forgotten here and is made again", |d| {
        d.put(&folder("Forgotten", &s(12), true));
        d.after.folder("Forgotten");
    }),
    ("a message in a folder that was removed and forgotten here", |d| {
        d.put(&folder("Forgotten", &s(2), true));
        d.bring("new", "Forgotten", &s(12), &json!({}));
        d.after.has("new", "Forgotten", 0, "Forgotten", "");
    }),
    ("a folder that was never made", |d| d.put(&folder("Never", &s(12), false))),
    ("a folder within one that is none", |d| {
        d.put(&folder("a/b/c", &s(12), true));
        d.after.folder("a/b/c");
    }),
    ("names that look the same", |d| {
        for name in ["\u{fc}", "u\u{308}"] {
            d.put(&folder(name, &s(12), true));
            d.after.folder(name);
        }
    }),
    ("names that differ in their case", |d| {
        for name in ["inbox", "Inbox", "WORK"] {
            d.put(&folder(name, &s(12), true));
            d.after.folder(name);
        }
    }),
    ("names of strange characters", |d| {
        for name in
            [" ", "a ", "\t", "\u{1}", "\u{7f}", "\u{85}", "\u{202e}", "a\nb", "\u{feff}", "\u{10ffff}", "a\\b", ":2,S"]
        {
            d.put(&folder(name, &s(12), true));
            d.after.folder(name);
        }
    }),
    ("names that mean something on disk", |d| {
        for name in [
            "cur",
            "new",
            "tmp",
            "new/cur",
            "...",
            ".a",
            "a.b",
            "-rf",
            "~",
            "CON",
            "&",
            "&AGE-",
            "\u{f000}",
            "\u{f100}x",
        ] {
            d.put(&folder(name, &s(12), true));
            d.after.folder(name);
        }
    }),
    ("a name of 1024 bytes", |d| {
        d.put(&folder(&"x".repeat(1024), &s(12), true));
        d.after.folder(&"x".repeat(1024));
    }),
    ("a name of 1024 bytes in many components", |d| {
        let name = format!("{}xx", "x/".repeat(511));
        d.put(&folder(&name, &s(12), true));
        d.after.folder(&name);
    }),
];

const ENTRIES: &[Good] = &[
    ("a message that is delivered", |d| {
        d.bring("new", "INBOX", &s(12), &json!({}));
        d.after.has("new", "INBOX", 0, "INBOX", "");
    }),
    ("a message with flags of every kind", |d| {
        let flags = ["keyword:~", "keyword:$Forwarded", "keyword:B", "recent", "Z", "S", "F", "9", "0"];
        let flags: Value = flags.iter().map(|flag| ((*flag).to_owned(), on(&s(12)))).collect();
        d.bring("new", "INBOX", &s(12), &json!({ "flags": flags }));
        d.after.has("new", "INBOX", 0, "INBOX", "0 9 F S Z recent keyword:$forwarded keyword:b keyword:~");
    }),
    ("a message with 256 flags", |d| {
        let mut names: Vec<String> = (0..256).map(|n| format!("keyword:{n:03}")).collect();
        let flags: Value = names.iter().map(|flag| (flag.clone(), on(&s(12)))).collect();
        d.bring("new", "INBOX", &s(12), &json!({ "flags": flags }));
        names.sort();
        d.after.has("new", "INBOX", 0, "INBOX", &names.join(" "));
    }),
    ("a message in a folder of which nothing is said", |d| {
        d.bring("new", "Unsaid", &s(12), &json!({}));
        d.after.has("new", "Unsaid", 0, "Unsaid", "");
    }),
    ("a message that was moved before it came", |d| {
        d.bring("new", "INBOX", &s(15), &json!({ "folder": "Work", "born": s(12), "floor": s(12) }));
        d.after.has("new", "INBOX", 0, "Work", "");
    }),
    ("a message that was removed before it came", |d| {
        d.put(&record("new", "INBOX", &s(12), &json!({ "removal": { "seen": s(12), "stamp": s(15) } })));
    }),
    ("a message that is there twice", |d| {
        d.bring("new", "INBOX", &s(12), &json!({}));
        d.bring("new", "INBOX", &s(15), &json!({ "ordinal": 1 }));
        d.bring("new", "Work", &s(15), &json!({}));
        d.after.has("new", "INBOX", 0, "INBOX", "");
        d.after.has("new", "INBOX", 1, "INBOX", "");
        d.after.has("new", "Work", 0, "Work", "");
    }),
    ("a message with the last ordinal", |d| {
        d.bring("new", "INBOX", &s(12), &json!({ "ordinal": u32::MAX }));
        d.after.has("new", "INBOX", u32::MAX, "INBOX", "");
    }),
    ("a message that is there is delivered once more elsewhere", |d| {
        d.bring("one", "Work", &s(12), &json!({}));
        d.after.has("one", "Work", 0, "Work", "");
    }),
];

const FLAGS: &[Good] = &[
    ("a flag that is set", |d| change(d, "two", &json!({ "flags": { "S": on(&s(12)) } }), "INBOX", "S")),
    ("a flag that is cleared", |d| change(d, "one", &json!({ "flags": { "S": off(&s(12)) } }), "INBOX", "")),
    ("a flag that was off and is set", |d| change(d, "two", &json!({ "flags": { "R": on(&s(12)) } }), "INBOX", "R")),
    ("a flag that was cleared longer ago", |d| {
        change(d, "one", &json!({ "flags": { "S": off(&s(3)) } }), "INBOX", "S");
    }),
    ("a flag of the same stamp that is off", |d| {
        change(d, "one", &json!({ "flags": { "S": off(&s(4)) } }), "INBOX", "S");
    }),
    ("a flag of the same stamp that is on", |d| {
        change(d, "two", &json!({ "flags": { "R": on(&s(4)) } }), "INBOX", "R");
    }),
    ("a flag of the same clock by the lesser incarnation", |d| {
        change(d, "one", &json!({ "flags": { "S": off(&o(4)) } }), "INBOX", "S");
    }),
    ("a flag that is below the floor", |d| {
        change(d, "two", &json!({ "flags": { "S": on(&s(2)) } }), "INBOX", "");
    }),
    ("a flag that is at the floor", |d| change(d, "two", &json!({ "flags": { "S": on(&s(3)) } }), "INBOX", "S")),
    ("a flag of which nothing is said", |d| change(d, "one", &json!({ "flags": { "F": on(&s(12)) } }), "INBOX", "F S")),
    ("a message that is seen for the first time", |d| {
        change(d, "six", &json!({ "flags": { "recent": off(&s(12)), "S": on(&s(12)) } }), "INBOX", "S");
    }),
    ("more flags together than an entry has", |d| {
        let mut names: Vec<String> = (0..256).map(|n| format!("keyword:{n:03}")).collect();
        let flags: Value = names.iter().map(|flag| (flag.clone(), on(&s(12)))).collect();
        names.sort();
        // What was set before is the oldest, and is dropped.
        change(d, "one", &json!({ "flags": flags }), "INBOX", &names.join(" "));
    }),
    ("more flags together than an entry has at the same stamp", |d| {
        let names: Vec<String> = (0..256).map(|n| format!("keyword:{n:03}")).collect();
        let flags: Value = names.iter().map(|flag| (flag.clone(), on(&s(4)))).collect();
        // By the order of flags a letter is less than any keyword.
        change(d, "one", &json!({ "flags": flags }), "INBOX", &names.join(" "));
    }),
    ("a keyword that two peers spell otherwise", |d| {
        other_says(d, &again("two", &json!({ "flags": { "keyword:$JUNK": on(&o(11)) } })));
        change(d, "two", &json!({ "flags": { "keyword:$Junk": off(&s(12)) } }), "INBOX", "");
    }),
    ("a flag by each peer", |d| {
        other_says(d, &again("two", &json!({ "flags": { "F": on(&o(11)) } })));
        change(d, "two", &json!({ "flags": { "S": on(&s(12)) } }), "INBOX", "F S");
    }),
];

const MOVES: &[Good] = &[
    ("a message that is moved", |d| {
        change(d, "two", &json!({ "folder": "Work", "location": s(12), "born": s(3) }), "Work", "");
    }),
    ("a message that is moved back", |d| {
        let mut record = again("three", &json!({ "location": s(12) }));
        record["entry"].as_object_mut().unwrap().remove("folder");
        d.put(&record);
        d.after.has("three", "INBOX", 0, "INBOX", "F");
    }),
    ("a message that was moved longer ago", |d| {
        change(d, "three", &json!({ "folder": "Elsewhere", "location": s(5) }), "Work", "F");
    }),
    ("a move of the same clock by the greater incarnation", |d| {
        other_says(d, &again("two", &json!({ "folder": "Elsewhere", "location": o(12), "born": s(3) })));
        change(d, "two", &json!({ "folder": "Work", "location": s(12), "born": s(3) }), "Work", "");
    }),
    ("two moves at the same stamp", |d| {
        // Of two places with one stamp the name decides; no honest replica says both.
        change(d, "three", &json!({ "folder": "Xylo" }), "Xylo", "F");
    }),
    ("a message that is moved into a folder that is gone", |d| {
        change(d, "two", &json!({ "folder": "Gone", "location": s(12), "born": s(3) }), "Gone", "");
    }),
];

const REMOVALS: &[Good] = &[
    ("a message that is removed", |d| {
        d.put(&again("two", &json!({ "removal": { "seen": s(3), "stamp": s(12) } })));
        d.after.lacks("two", "INBOX", 0);
    }),
    ("one of two copies that is removed", |d| {
        d.put(&record("five", "Work", &s(8), &json!({ "ordinal": 1, "removal": { "seen": s(8), "stamp": s(12) } })));
        d.after.lacks("five", "Work", 1);
    }),
    ("a removal by one who hasn't seen the move", |d| {
        change(d, "three", &json!({ "removal": { "seen": s(3), "stamp": s(12) } }), "Work", "F");
    }),
    ("a removal and a move at once", |d| {
        other_says(d, &again("two", &json!({ "removal": { "seen": s(3), "stamp": o(13) } })));
        change(d, "two", &json!({ "folder": "Work", "location": s(12), "born": s(3) }), "Work", "");
    }),
    ("a removal and a flag at once", |d| {
        other_says(d, &again("two", &json!({ "removal": { "seen": s(3), "stamp": o(11) } })));
        d.put(&again("two", &json!({ "flags": { "S": on(&s(12)) } })));
        d.after.lacks("two", "INBOX", 0);
    }),
    ("a removal that is known", |d| d.put(&again("four", &json!({})))),
    ("a later removal of what was removed", |d| {
        d.put(&again("four", &json!({ "removal": { "seen": s(3), "stamp": s(12) } })));
    }),
    ("a message that was removed here is alive there", |d| {
        let mut record = again("four", &json!({}));
        record["entry"].as_object_mut().unwrap().remove("removal");
        d.put(&record);
    }),
    ("a message that is delivered again", |d| {
        let more = json!({ "location": s(12), "floor": s(12), "flags": { "S": off(&s(12)) } });
        d.put(&again("four", &more));
        d.forge.messages.push(message("four"));
        d.after.has("four", "INBOX", 0, "INBOX", "");
    }),
    ("a message that is delivered again into another folder", |d| {
        d.put(&again("four", &json!({ "location": s(12), "floor": s(12), "folder": "Work" })));
        d.forge.messages.push(message("four"));
        d.after.has("four", "INBOX", 0, "Work", "");
    }),
    ("the example of floor", |d| {
        // Read at 11, removed, delivered again at 12; flagged at 15 by one who had not heard of that, and answered at
        // 11.
        let more = json!({
            "location": s(12), "floor": s(12), "removal": { "seen": s(3), "stamp": s(7) },
            "flags": { "S": off(&s(12)), "F": on(&s(15)), "R": on(&s(11)) },
        });
        d.put(&again("four", &more));
        d.forge.messages.push(message("four"));
        d.after.has("four", "INBOX", 0, "INBOX", "F");
    }),
    ("an old copy that is found", |d| {
        // What a replica finds when it first looks doesn't raise the floor: the flags of both unite.
        let more = json!({ "location": s(15), "born": s(15), "flags": { "F": on(&s(15)) } });
        change(d, "one", &more, "INBOX", "F S");
    }),
    ("a late bundle brings what was removed and forgotten here", |d| {
        d.of_other();
        d.bring("forgotten", "INBOX", &s(2), &json!({}));
    }),
    ("a removal that was forgotten here", |d| {
        d.of_other();
        d.put(&record("forgotten", "INBOX", &s(1), &json!({ "removal": { "seen": s(1), "stamp": s(2) } })));
    }),
];

/// Makes a full bundle of the signer's without the record of this message, and without what it says of its contents.
fn full_without(draft: &mut Draft, name: &str) {
    full(draft);
    let digest = mailsync::model::Digest::of(&message(name)).to_string();
    let before = draft.forge.lines.len();
    draft.forge.lines.retain(|line| !String::from_utf8_lossy(line).contains(&digest));
    assert!(draft.forge.lines.len() < before, "{name}");
    draft.forge.messages.retain(|contents| *contents != message(name));
}

const FULL: &[Good] = &[
    ("a full bundle of what is here", full),
    ("a full bundle of more", |d| {
        full(d);
        d.bring("new", "Work", &s(12), &json!({ "flags": { "T": on(&s(15)) } }));
        d.after.has("new", "Work", 0, "Work", "T");
    }),
    ("a full bundle without a message that its sender knew", |d| {
        full_without(d, "one");
        d.after.lacks("one", "INBOX", 0);
    }),
    ("a full bundle without a tombstone that is here", |d| full_without(d, "four")),
    ("a full bundle without a folder that is here", |d| {
        full(d);
        d.forge.lines.retain(|line| !line.starts_with(b"{\"folder\":{\"name\":\"Work\""));
        d.after.no_folder("Work");
    }),
    ("a full bundle without a folder that its sender never knew", |d| {
        d.of_other();
        d.put(&folder("Of other", &o(11), true));
        d.next();
        d.after.folder("Of other");
        full(d);
    }),
    ("a full bundle that has forgotten a folder by its horizon", |d| {
        full(d);
        d.forge.manifest["horizon"] = knows(15, 5);
        d.next();
        // A later delta can't bring back what that horizon covers.
        d.of_other();
        d.forge.manifest["tip"] = knows(20, 13);
        d.forge.manifest["horizon"] = knows(15, 5);
        d.put(&folder("Forgotten", &s(14), true));
    }),
    ("a full bundle without a message that its sender never knew", |d| {
        d.of_other();
        d.bring("of-other", "INBOX", &o(11), &json!({}));
        d.next();
        d.after.has("of-other", "INBOX", 0, "INBOX", "");
        full(d);
    }),
    ("a full bundle without a message of which its sender knew all but a flag", |d| {
        // It goes, and a tombstone keeps the flag until all know of it.
        other_says(d, &again("two", &json!({ "flags": { "F": on(&o(13)) } })));
        full_without(d, "two");
        d.after.lacks("two", "INBOX", 0);
    }),
    ("a full bundle without a message that was moved since", |d| {
        other_says(d, &again("two", &json!({ "folder": "Work", "location": o(13), "born": s(3) })));
        full_without(d, "two");
        d.after.has("two", "INBOX", 0, "Work", "");
    }),
    ("a full bundle of one who knows nothing of others", |d| {
        d.of_other();
        d.forge.manifest["kind"] = json!("full");
        d.forge.manifest["tip"] = json!({ OTHER: at(13) });
        d.forge.manifest["horizon"] = json!({});
        d.forge.manifest["issued"] = clocks(&[5, 13]);
        d.put(&again("six", &json!({})));
        d.bring("one", "INBOX", &o(13), &json!({ "floor": format!("{ZERO}-{ZERO}"), "flags": { "F": on(&o(13)) } }));
        // Both have found the same message in the same folder.
        d.after.has("one", "INBOX", 0, "INBOX", "F S");
    }),
    ("a full bundle that has forgotten more", |d| {
        full(d);
        d.forge.manifest["horizon"] = knows(15, 5);
        // Who lacks what that horizon covers has it removed, if the tip covers it; a later delta can't bring it back.
        d.next();
        d.of_other();
        d.forge.manifest["tip"] = knows(20, 13);
        d.forge.manifest["horizon"] = knows(15, 5);
        d.bring("forgotten", "INBOX", &s(14), &json!({}));
    }),
    ("a full bundle that says a tombstone is alive", |d| {
        full(d);
        let four = again("four", &json!({}));
        d.forge.lines.retain(|line| *line != format!("{four}\n").into_bytes());
        let mut alive = four;
        alive["entry"].as_object_mut().unwrap().remove("removal");
        d.put(&alive);
    }),
    ("a delta without a message that its sender knew", |d| {
        d.forge.manifest["base"] = json!({});
        d.forge.manifest["issued"] = clocks(&[1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20]);
        d.put(&again("two", &json!({})));
    }),
];

const DATES: &[Good] = &[
    ("an earlier date of the same delivery", |d| {
        d.put(&again("one", &json!({ "flags": { "S": on(&s(15)) }, "mtime": 1_600_000_000, "mtime_ns": 5 })));
        d.after.dated("one", "INBOX", 1_600_000_000_000_000_005);
    }),
    ("a later date of the same delivery", |d| {
        d.put(&again("one", &json!({ "flags": { "S": on(&s(15)) }, "mtime": 1_800_000_000 })));
    }),
    ("a later date of a later delivery", |d| {
        d.bring("two", "INBOX", &s(15), &json!({ "mtime": 1_800_000_000 }));
        d.after.dated("two", "INBOX", 1_800_000_000_000_000_000);
    }),
    ("an earlier date of a later delivery", |d| {
        d.bring("two", "INBOX", &s(15), &json!({ "mtime": 1_600_000_000 }));
        d.after.dated("two", "INBOX", 1_600_000_000_000_000_000);
    }),
];

pub fn vectors() -> Vec<Vector> {
    [FOLDERS, ENTRIES, FLAGS, MOVES, REMOVALS, FULL, DATES].into_iter().flat_map(|table| good("merge", table)).collect()
}
