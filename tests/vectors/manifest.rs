//! What a manifest says, and how.

use serde_json::{Map, Value, json};

use super::{
    BEYOND, Bad, Draft, OTHER, Same, Vector, Verdict, ZERO, at, bad, changed, clocks, knows, other, receiver, same,
};
use crate::support::forge::{Forge, INCARNATION, clock};

fn set(forge: &mut Forge, field: &str, value: Value) {
    forge.manifest.insert(field.to_owned(), value);
}

/// The manifest with this number in a field that nobody knows.
fn beside(text: &str, number: &str) -> Vec<u8> {
    text.replace("\"number\":", &format!("\"x\":[{number}],\"number\":")).into()
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!(1), |inner, _| json!([inner]))
}

/// The signer's knowledge, and so many incarnations besides.
fn incarnations(more: usize) -> Value {
    let mut all = unknown(more, "0000000000000001");
    all.extend([(INCARNATION.to_owned(), json!(at(20))), (OTHER.to_owned(), json!(at(5)))]);
    Value::Object(all)
}

/// So many incarnations of which nothing is known, each with this clock.
fn unknown(count: usize, clock: &str) -> Map<String, Value> {
    (1..=count).map(|n| (format!("{:016x}", n << 20), json!(clock))).collect()
}

/// What the sender passes over.
fn passes(forge: &mut Forge, after: &Value, until: &Value) {
    set(forge, "passes_over", json!({ "after": after, "until": until }));
}

const OF_FORM: &[Bad] = &[
    ("an array for the manifest", "9.8", "expected an object", |f| f.text = |_| b"[]\n".to_vec()),
    ("nothing for the manifest", "9.8", "manifest.json", |f| f.text = |_| Vec::new()),
    ("text behind the manifest", "9.8", "trailing", |f| f.text = |text| [text.trim_end(), "{}\n"].concat().into()),
    ("a byte order mark", "9.8", "manifest.json", |f| f.text = |text| format!("\u{feff}{text}").into()),
    ("no newline", "9.8", "doesn't end with a newline", |f| f.text = |text| text.trim_end().into()),
    ("a space behind the newline", "9.8", "doesn't end with a newline", |f| f.text = |text| (text + " ").into()),
    ("a comment", "9.8", "manifest.json", |f| f.text = |text| text.replacen('{', "{/* hello */", 1).into()),
    ("a comma too many", "9.8", "trailing comma", |f| f.text = |text| text.replace("}\n", ",}\n").into()),
    ("a field twice", "9.8", "\"number\" stands twice", |f| {
        f.text = |text| text.replace("\"number\":", "\"number\":11,\"number\":").into();
    }),
    ("an unknown field twice", "9.8", "\"x\" stands twice", |f| {
        f.text = |text| text.replace("\"number\":", "\"x\":1,\"\\u0078\":1,\"number\":").into();
    }),
    ("a field twice within an unknown one", "9.8", "\"y\" stands twice", |f| {
        f.text = |text| text.replace("\"number\":", "\"x\":[{\"y\":1,\"y\":1}],\"number\":").into();
    }),
    ("an incarnation twice", "9.8", "stands twice", |f| {
        f.text = |text| text.replace("\"tip\":{", "\"tip\":{\"00000000000000aa\":\"0000000000000001\",").into();
    }),
    ("null for no invitation", "9.8", "null", |f| set(f, "invitation", Value::Null)),
    ("null for no proof", "9.8", "null", |f| set(f, "proof", Value::Null)),
    ("null for no bundle before", "9.8", "null", |f| set(f, "follows", Value::Null)),
    ("null for no base", "9.8", "null", |f| set(f, "base", Value::Null)),
    ("an array for the sender", "9.8", "expected an object", |f| set(f, "sender", json!(["x", "signer", INCARNATION]))),
    ("an array for the counts", "9.8", "expected an object", |f| set(f, "counts", json!([1, 1, 1, 0]))),
    ("an array for the entries", "9.8", "expected an object", |f| set(f, "entries", json!([1, "x"]))),
    ("an array for the base", "9.8", "manifest.json", |f| set(f, "base", json!([]))),
    ("an array for the invitation", "9.8", "expected an object", |f| set(f, "invitation", json!(["new", "x"]))),
    ("an object for what is issued", "9.8", "manifest.json", |f| set(f, "issued", json!({}))),
    ("a third kind", "9.8", "manifest.json", |f| set(f, "kind", json!("gamma"))),
    ("a kind in capitals", "9.8", "manifest.json", |f| set(f, "kind", json!("Delta"))),
    ("a negative number", "9.8", "manifest.json", |f| set(f, "number", json!(-1))),
    ("a number of 65 bits", "9.8", "manifest.json", |f| {
        f.text = |text| text.replace("\"number\":11", "\"number\":18446744073709551616").into();
    }),
    ("a number as text", "9.8", "manifest.json", |f| set(f, "number", json!("11"))),
    ("a fraction", "9.8", "no integer", |f| set(f, "number", json!(11.0))),
    ("an exponent", "9.8", "no integer", |f| {
        f.text = |text| text.replace("\"number\":11", "\"number\":11e0").into();
    }),
    ("a fraction that nobody asks for", "9.8", "no integer", |f| set(f, "x", json!([1.5]))),
    ("an exponent that nobody asks for", "9.8", "no integer", |f| f.text = |text| beside(&text, "1e5")),
    ("minus zero that nobody asks for", "9.8", "no integer", |f| f.text = |text| beside(&text, "-0")),
    ("a number of 65 bits that nobody asks for", "9.8", "no integer", |f| {
        f.text = |text| beside(&text, "18446744073709551616");
    }),
    ("a negative number of 65 bits that nobody asks for", "9.8", "no integer", |f| {
        f.text = |text| beside(&text, "-9223372036854775809");
    }),
    ("a number of 5000 digits that nobody asks for", "9.8", "number", |f| {
        f.text = |text| beside(&text, &"7".repeat(5000));
    }),
    ("minus zero", "9.8", "no integer", |f| f.text = |text| text.replace("\"number\":11", "\"number\":-0").into()),
    ("a zero before a number", "9.8", "invalid number", |f| {
        f.text = |text| text.replace("\"number\":11", "\"number\":011").into();
    }),
    ("a plus before a number", "9.8", "manifest.json", |f| {
        f.text = |text| text.replace("\"number\":11", "\"number\":+11").into();
    }),
    ("too deep", "9.8", "nested more than 32 deep", |f| set(f, "x", nested(32))),
    ("half a character", "9.8", "surrogate", |f| {
        f.text = |text| text.replace("\"number\":", "\"x\":\"\\ud800\\ud800\",\"number\":").into();
    }),
    ("half a character at the end", "9.8", "manifest.json", |f| {
        f.text = |text| text.replace("\"number\":", "\"x\":\"\\udc00\",\"number\":").into();
    }),
    ("bytes that are no text", "9.8", "not UTF-8", |f| {
        set(f, "x", json!("?"));
        f.text = |text| text.into_bytes().into_iter().map(|b| if b == b'?' { 0xff } else { b }).collect();
    }),
    ("a control character within a string", "9.8", "control character", |f| {
        f.text = |text| text.replace("\"name\":\"signer\"", "\"name\":\"sig\tner\"").into();
    }),
    ("a clock in capitals", "9.8", "lower-case", |f| f.manifest["tip"][OTHER] = json!(at(5).to_uppercase())),
    ("a short clock", "9.8", "hexadecimal digits", |f| f.manifest["tip"][OTHER] = json!("1")),
    ("a long clock", "9.8", "hexadecimal digits", |f| f.manifest["tip"][OTHER] = json!(at(5) + "0")),
    ("a clock as a number", "9.8", "manifest.json", |f| f.manifest["tip"][OTHER] = json!(5)),
    ("an incarnation in capitals", "9.8", "lower-case", |f| f.manifest["tip"]["00000000000000AB"] = json!(at(5))),
    ("a short incarnation", "9.8", "hexadecimal digits", |f| f.manifest["tip"]["ab"] = json!(at(5))),
    ("a digest in capitals", "9.8", "manifest.json", |f| set(f, "state_digest", json!("A".repeat(64)))),
    ("a short digest", "9.8", "manifest.json", |f| set(f, "state_digest", json!("0".repeat(63)))),
    ("a recipient that is no id", "9.8", "manifest.json", |f| set(f, "recipient", json!("receiver"))),
    ("a recipient with padding", "9.8", "manifest.json", |f| {
        set(f, "recipient", json!(format!("{}=", receiver().public_key().id())));
    }),
    ("a token that is short", "9.8", "manifest.json", |f| {
        set(f, "invitation", json!({ "name": "new", "token": "00" }));
    }),
    ("an invited name that is empty", "9.9", "name", |f| invite(f, "")),
    ("an invited name that is too long", "9.9", "name", |f| invite(f, &"x".repeat(256))),
    ("an invited name with a control character", "9.9", "name", |f| invite(f, "a\u{9b}b")),
    ("an empty name", "9.9", "the sender's name", |f| f.manifest["sender"]["name"] = json!("")),
    ("a name that is too long", "9.9", "the sender's name", |f| f.manifest["sender"]["name"] = json!("é".repeat(128))),
    ("a name with a control character", "9.9", "the sender's name", |f| {
        f.manifest["sender"]["name"] = json!("sig\u{85}ner");
    }),
    ("a name with an escape", "9.9", "the sender's name", |f| f.manifest["sender"]["name"] = json!("\u{1b}[2J")),
    ("wants backwards", "9.9", "\"wants\" is not", |f| set(f, "wants", json!(["1".repeat(64), "0".repeat(64)]))),
    ("wants twice", "9.9", "\"wants\" is not", |f| set(f, "wants", json!(["1".repeat(64), "1".repeat(64)]))),
    ("something left out of a full bundle", "9.9", "a full bundle leaves", |f| {
        set(f, "kind", json!("full"));
        set(f, "left_out", json!({ OTHER: at(3) }));
    }),
    ("null for nothing left out", "9.8", "null", |f| set(f, "left_out", Value::Null)),
    ("an array for what is left out", "9.8", "manifest.json", |f| set(f, "left_out", json!([OTHER, at(3)]))),
    ("left out after a number", "9.8", "manifest.json", |f| set(f, "left_out", json!({ OTHER: 3 }))),
    ("left out of an incarnation in capitals", "9.8", "lower-case", |f| {
        set(f, "left_out", json!({ "00000000000000AA": at(3) }));
    }),
    ("left out of an incarnation twice", "9.8", "stands twice", |f| {
        set(f, "left_out", json!({ OTHER: at(3) }));
        f.text =
            |text| text.replace("\"left_out\":{", "\"left_out\":{\"00000000000000aa\":\"0000000000000001\",").into();
    }),
    ("passing over nothing", "9.9", "\"passes_over\" is empty", |f| passes(f, &json!({}), &json!({}))),
    ("passing over from where, and nothing else", "9.9", "\"passes_over\" is empty", |f| {
        passes(f, &json!({ OTHER: at(3) }), &json!({}));
    }),
    ("passing over what is believed", "9.9", "\"after\" is not before", |f| {
        passes(f, &json!({ OTHER: at(3) }), &json!({ OTHER: at(3) }));
    }),
    ("passing over backwards", "9.9", "\"after\" is not before", |f| {
        passes(f, &json!({ OTHER: at(4) }), &json!({ OTHER: at(3) }));
    }),
    ("passing over from where, and not to where", "9.9", "\"after\" is not before", |f| {
        passes(f, &json!({ OTHER: at(3), "00000000000000bb": at(1) }), &json!({ OTHER: at(4) }));
    }),
    ("passing over with null", "9.8", "manifest.json", |f| set(f, "passes_over", json!(null))),
    ("an array for what is passed over", "9.8", "expected an object", |f| {
        set(f, "passes_over", json!([{}, { OTHER: at(3) }]));
    }),
    ("passing over and not from where", "9.8", "missing field", |f| {
        set(f, "passes_over", json!({ "until": { OTHER: at(3) } }));
    }),
    ("passing over and not to where", "9.8", "missing field", |f| {
        set(f, "passes_over", json!({ "after": { OTHER: at(3) } }));
    }),
    ("passing over up to a clock in capitals", "9.8", "lower-case", |f| {
        passes(f, &json!({}), &json!({ OTHER: at(3).to_uppercase() }));
    }),
    ("another format", "9.7", "not a bundle", |f| set(f, "format", json!("other-bundle"))),
    ("version 0", "9.7", "no version 0", |f| set(f, "version", json!(0))),
    ("version 2", "9.7", "newer mailsync", |f| set(f, "version", json!(2))),
    ("version 2 with other fields", "9.7", "newer mailsync", |f| {
        f.text = |_| b"{\"version\":2,\"format\":\"mailsync-bundle\",\"kind\":9}\n".to_vec();
    }),
    ("a feature", "9.7", "the feature \"patches\"", |f| set(f, "features", json!(["patches"]))),
    ("a feature and other fields", "9.7", "the feature \"patches\"", |f| {
        f.text = |_| b"{\"format\":\"mailsync-bundle\",\"version\":1,\"features\":[\"patches\"],\"kind\":9}\n".to_vec();
    }),
];

fn invite(forge: &mut Forge, name: &str) {
    set(forge, "invitation", json!({ "name": name, "token": "0".repeat(64) }));
}

const OF_CLAIMS: &[Bad] = &[
    ("a full bundle with a base", "9.16", "it is full, and has a base", |f| set(f, "kind", json!("full"))),
    ("a base above the tip", "9.17", "its base knows more", |f| set(f, "base", knows(21, 5))),
    ("a base beside the tip", "9.17", "its base knows more", |f| f.manifest["base"]["00000000000000bb"] = json!(at(1))),
    ("a horizon above the tip", "9.17", "its horizon has forgotten", |f| f.manifest["horizon"] = knows(21, 5)),
    ("a horizon beside the tip", "9.17", "its horizon has forgotten", |f| {
        f.manifest["horizon"]["00000000000000bb"] = json!(at(1));
    }),
    ("issued backwards", "9.18", "not in ascending order", |f| set(f, "issued", clocks(&[15, 12, 20]))),
    ("issued twice", "9.18", "not in ascending order", |f| set(f, "issued", clocks(&[12, 12, 20]))),
    ("issued at the base", "9.18", "not between", |f| set(f, "issued", clocks(&[10, 12, 20]))),
    ("issued before the base", "9.18", "not between", |f| set(f, "issued", clocks(&[9, 12, 20]))),
    ("issued after the tip", "9.18", "not between", |f| set(f, "issued", clocks(&[12, 20, 21]))),
    ("issued at zero", "9.18", "not between", |f| set(f, "issued", json!([ZERO, at(20)]))),
    ("a tip that was not issued", "9.18", "what \"issued\" doesn't end with", |f| set(f, "issued", clocks(&[12, 15]))),
    ("nothing issued", "9.18", "what \"issued\" doesn't end with", |f| set(f, "issued", json!([]))),
    ("a tip without the sender", "9.17", "its base knows more", |f| set(f, "tip", json!({ OTHER: at(5) }))),
    ("a tip of zero", "9.19", "has the zero clock", |f| f.manifest["tip"]["00000000000000bb"] = json!(ZERO)),
    ("a base of zero", "9.19", "has the zero clock", |f| f.manifest["base"]["00000000000000bb"] = json!(ZERO)),
    ("a horizon of zero", "9.19", "has the zero clock", |f| f.manifest["horizon"]["00000000000000bb"] = json!(ZERO)),
    ("a clock beyond the last one", "9.19", "beyond the last one", |f| f.manifest["tip"][OTHER] = json!(BEYOND)),
    ("a clock of 64 bits", "9.19", "clock", |f| f.manifest["tip"][OTHER] = json!("f".repeat(16))),
    ("left out after zero", "9.19", "has the zero clock", |f| set(f, "left_out", json!({ OTHER: ZERO }))),
    ("left out after what is beyond the last clock", "9.19", "beyond the last one", |f| {
        set(f, "left_out", json!({ OTHER: BEYOND }));
    }),
    ("passing over from zero", "9.19", "has the zero clock", |f| {
        passes(f, &json!({ OTHER: ZERO }), &json!({ OTHER: at(3) }));
    }),
    ("passing over up to what is beyond the last clock", "9.19", "beyond the last one", |f| {
        passes(f, &json!({ OTHER: at(3) }), &json!({ OTHER: BEYOND }));
    }),
    ("left out of more incarnations than a knowledge has", "9.15", "more than 4096 incarnations", |f| {
        set(f, "left_out", Value::Object(unknown(4097, &at(3))));
    }),
    ("passing over from more incarnations than a knowledge has", "9.15", "more than 4096 incarnations", |f| {
        passes(f, &Value::Object(unknown(4097, &at(3))), &Value::Object(unknown(4096, &at(4))));
    }),
    ("passing over more incarnations than a knowledge has", "9.15", "more than 4096 incarnations", |f| {
        passes(f, &json!({}), &Value::Object(unknown(4097, &at(3))));
    }),
    ("more folders than a bundle has", "9.15", "the number of its folders is above 65536", |f| {
        set(f, "counts", json!({ "folders": 65_537, "entries": 1, "messages": 1, "jobs": 0 }));
    }),
    ("more statements than a bundle has", "9.15", "the number of its statements about jobs is above 60000", |f| {
        set(f, "counts", json!({ "folders": 1, "entries": 1, "messages": 1, "jobs": 60_001 }));
        set(f, "jobs", json!({ "bytes": 0, "sha256": "0".repeat(64) }));
    }),
    ("more incarnations than a knowledge has", "9.15", "more than 4096 incarnations", |f| {
        set(f, "tip", incarnations(4095));
    }),
];

/// Each field that must be there, left out.
fn missing() -> Vec<Vector> {
    let fields = [
        "format",
        "version",
        "features",
        "kind",
        "number",
        "made",
        "sender",
        "recipient",
        "base",
        "tip",
        "horizon",
        "issued",
        "state_digest",
        "wants",
        "counts",
        "bytes",
        "entries",
        "jobs",
    ];
    let without = |field: &str| {
        let about = format!("without {}", field.replace('_', " "));
        changed("manifest", &about, Verdict::Rejected("9.8", "missing field"), |forge| {
            // What the forge fills in is there only when it has packed everything else.
            forge.text = match field {
                "counts" => |text| left_out(&text, "counts"),
                "bytes" => |text| left_out(&text, "bytes"),
                "entries" => |text| left_out(&text, "entries"),
                "jobs" => |text| left_out(&text, "jobs"),
                _ => String::into_bytes,
            };
            forge.manifest.remove(field);
        })
    };
    let inner = |(field, member): (&str, &str)| {
        let about = format!("{field} without {member}");
        changed("manifest", &about, Verdict::Rejected("9.8", "missing field"), |forge| {
            if field == "counts" {
                set(forge, "counts", json!({ "folders": 1, "entries": 1, "messages": 1, "jobs": 0 }));
            }
            assert!(forge.manifest[field].as_object_mut().unwrap().remove(member).is_some());
        })
    };
    let members = [
        ("sender", "id"),
        ("sender", "name"),
        ("sender", "incarnation"),
        ("counts", "folders"),
        ("counts", "entries"),
        ("counts", "messages"),
        ("counts", "jobs"),
    ];
    fields.into_iter().map(without).chain(members.into_iter().map(inner)).collect()
}

fn left_out(text: &str, field: &str) -> Vec<u8> {
    let mut manifest: Map<String, Value> = serde_json::from_str(text).unwrap();
    assert!(manifest.remove(field).is_some(), "{field}");
    format!("{}\n", Value::Object(manifest)).into_bytes()
}

/// What makes no difference.
const SAME: &[Same] = &[
    ("a layout with spaces", |f| {
        f.text = |text| {
            let value: Value = serde_json::from_str(&text).unwrap();
            format!("\r\n\t {}\r\n \n", serde_json::to_string_pretty(&value).unwrap()).into_bytes()
        };
    }),
    ("fields in another order", |f| {
        f.text = |text| {
            let manifest: Map<String, Value> = serde_json::from_str(&text).unwrap();
            let fields: Vec<String> = manifest.iter().rev().map(|(name, value)| format!("{name:?}:{value}")).collect();
            format!("{{{}}}\n", fields.join(",")).into_bytes()
        };
    }),
    ("escapes", |f| {
        f.text = |text| text.replace("\"number\"", "\"\\u006eumber\"").replace("\"delta\"", "\"\\u0064elta\"").into();
    }),
    ("unknown fields", |f| {
        set(f, "later", json!({ "x": [1, null, i64::MIN, u64::MAX, "\u{1F600}", true], "": {} }));
        f.manifest["sender"]["later"] = json!([]);
    }),
    ("as deep as may be", |f| set(f, "x", nested(31))),
    ("the greatest numbers", |f| {
        set(f, "number", json!(u64::MAX));
        set(f, "made", json!(u64::MAX));
        set(f, "follows", json!(u64::MAX));
    }),
    ("the least numbers", |f| set(f, "made", json!(0))),
    ("a recipient", |f| set(f, "recipient", json!(receiver().public_key().id().to_string()))),
    ("a bundle before it that there never was", |f| set(f, "follows", json!(4711))),
    ("an invitation to one who is known", |f| invite(f, "receiver")),
    ("a proof by one who is known", |f| set(f, "proof", json!("0".repeat(64)))),
    ("a name of 255 bytes", |f| f.manifest["sender"]["name"] = json!("x".repeat(255))),
    ("a name that isn't the one known here", |f| f.manifest["sender"]["name"] = json!("Ann's laptop, \u{1F4BB}")),
    ("a state digest that is wrong", |f| set(f, "state_digest", json!("f".repeat(64)))),
    ("wants of what nobody has", |f| set(f, "wants", json!(["0".repeat(64), "1".repeat(64), "f".repeat(64)]))),
    ("a base of less than is known", |f| {
        set(f, "base", knows(8, 5));
        set(f, "issued", clocks(&[10, 12, 15, 20]));
    }),
    ("a base of one incarnation", |f| set(f, "base", json!({ INCARNATION: at(10) }))),
    ("a base of nothing", |f| {
        set(f, "base", json!({}));
        set(f, "issued", clocks(&[1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20]));
    }),
    ("an incarnation of which nothing is known", |f| f.manifest["tip"]["00000000000000bb"] = json!(at(30))),
    ("no horizon", |f| set(f, "horizon", json!({}))),
    ("a horizon up to the tip", |f| set(f, "horizon", knows(20, 5))),
    ("a tip of the first clock", |f| f.manifest["tip"]["00000000000000bb"] = json!("0000000000000001")),
    ("nothing left out", |f| set(f, "left_out", json!({}))),
    ("left out of what is known", |f| set(f, "left_out", json!({ OTHER: at(3) }))),
    ("left out of what nobody has told of", |f| set(f, "left_out", json!({ "00000000000000bb": at(30) }))),
    ("left out of as many incarnations as can be", |f| {
        set(f, "left_out", Value::Object(unknown(4096, "1fffffffffffffff")));
    }),
    ("passing over something", |f| passes(f, &json!({ OTHER: at(3) }), &json!({ OTHER: at(8) }))),
    ("passing over all of an incarnation", |f| passes(f, &json!({}), &json!({ "00000000000000bb": at(30) }))),
    ("passing over with a member that nobody asks for", |f| {
        set(f, "passes_over", json!({ "after": {}, "until": { OTHER: at(8) }, "x": [1] }));
    }),
    ("passing over as many incarnations as can be", |f| {
        passes(f, &Value::Object(unknown(4096, "0000000000000001")), &Value::Object(unknown(4096, "1fffffffffffffff")));
    }),
];

/// What can't be judged by the manifest alone.
fn not_yet() -> Vec<Vector> {
    let far = Verdict::Waits("9.22", "more than a day ahead");
    vec![
        changed("manifest", "a tip of the last clock", far, |f| f.manifest["tip"][OTHER] = json!("1fffffffffffffff")),
        changed("manifest", "a tip of the year 2900", far, |f| {
            let far = clock(29_348_006_400_000, 0);
            set(f, "tip", json!({ INCARNATION: far, OTHER: at(5) }));
            set(f, "issued", json!([at(12), at(15), far]));
        }),
    ]
}

/// A bundle that starts an incarnation of its own.
fn incarnation() -> Vector {
    let mut draft = Draft::delta();
    draft.of_other();
    draft.forge.manifest["tip"] = json!({ INCARNATION: at(10), OTHER: at(5), "00000000000000cc": at(13) });
    draft.forge.manifest["sender"]["incarnation"] = json!("00000000000000cc");
    let stamp = |minutes| format!("{}-00000000000000cc", at(minutes));
    draft.bring("new", "INBOX", &stamp(13), &json!({}));
    draft.after.has("new", "INBOX", 0, "INBOX", "");
    assert_eq!(draft.forge.key.public_key().id(), other().public_key().id());
    draft.finish("manifest", "a new incarnation", Verdict::Accepted)
}

pub fn vectors() -> Vec<Vector> {
    [
        bad("manifest", OF_FORM),
        bad("manifest", OF_CLAIMS),
        missing(),
        same("manifest", SAME),
        not_yet(),
        vec![incarnation()],
    ]
    .into_iter()
    .flatten()
    .collect()
}
