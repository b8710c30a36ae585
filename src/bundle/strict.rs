//! JSON of which no two readers can understand different things: UTF-8, no member twice, an object only where one is
//! meant, and null only where the format names it. serde by itself takes an array for a struct, null for what may be
//! absent, and doesn't look at what nobody asks for.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::limits;

/// Reads one JSON object, and checks what a type alone can't.
pub fn parse<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, String> {
    let text = std::str::from_utf8(json).map_err(|error| format!("it is not UTF-8: {error}"))?;
    check(text).and_then(|()| serde_json::from_str::<Object<T>>(text)).map(|object| object.0).map_err(|e| e.to_string())
}

/// Whether no object has a member twice, known or not, nothing is nested too deeply, and every number is an integer.
fn check(text: &str) -> serde_json::Result<()> {
    let mut json = serde_json::Deserializer::from_str(text);
    Checked { depth: 0 }.deserialize(&mut json)?;
    json.end()
}

/// What is an object in JSON.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = T;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_map(Members(PhantomData)).map(Self)
    }
}

/// A field that is an object.
pub(super) fn object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    Object::deserialize(deserializer).map(|object| object.0)
}

/// A field that may be absent, and is not null. It needs `default`, too.
pub(super) fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// An object that may be absent, and is not null. It needs `default`, too.
pub(super) fn present_object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    object(deserializer).map(Some)
}

/// A field that is an array of objects.
pub(super) fn objects<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Vec::<Object<T>>::deserialize(deserializer).map(|all| all.into_iter().map(|object| object.0).collect())
}

/// A field that may be null, and is not absent.
pub(super) fn nullable<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer)
}

/// An object or null, and not absent.
pub(super) fn nullable_object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Option::<Object<T>>::deserialize(deserializer).map(|object| object.map(|object| object.0))
}

/// Goes through any JSON.
#[derive(Clone, Copy)]
struct Checked {
    depth: usize,
}

#[derive(PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// The names of an object's members: mostly few, and then they cost no tree.
#[derive(Default)]
struct Names<'a> {
    few: Vec<Name<'a>>,
    many: BTreeSet<Name<'a>>,
}

impl<'a> Names<'a> {
    const FEW: usize = 16;

    /// Whether it is the first of this name.
    fn is_new(&mut self, name: Name<'a>) -> bool {
        if self.few.contains(&name) {
            return false;
        }
        if self.few.len() < Self::FEW {
            self.few.push(name);
            return true;
        }
        self.many.insert(name)
    }
}

impl Checked {
    fn within<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth == limits::JSON_DEPTH {
            return Err(E::custom(format_args!("nested more than {} deep", limits::JSON_DEPTH)));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Checked {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Checked {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    /// A fraction, an exponent, minus zero, or more digits than 64 bits have.
    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        Err(E::custom("a number that is no integer from -2^63 to 2^64 - 1"))
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let inner = self.within()?;
        while seq.next_element_seed(inner)?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.within()?;
        let mut names = Names::default();
        while let Some(name) = map.next_key::<Name<'de>>()? {
            let text = name.0.clone();
            if !names.is_new(name) {
                return Err(A::Error::custom(format_args!("\"{text}\" stands twice")));
            }
            map.next_value_seed(inner)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Inner {
        n: u8,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Outer {
        #[serde(deserialize_with = "object")]
        inner: Inner,
        #[serde(default, deserialize_with = "present")]
        number: Option<u64>,
        #[serde(default, deserialize_with = "present_object")]
        more: Option<Inner>,
        #[serde(deserialize_with = "nullable")]
        text: Option<String>,
        #[serde(deserialize_with = "nullable_object")]
        last: Option<Inner>,
    }

    #[test]
    fn json_is_read_in_one_way_or_not_at_all() {
        let least = r#""inner":{"n":1},"text":null,"last":null"#;
        let deep = |depth: usize| format!("{{{least},\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        let many = |last: u32| {
            let members: Vec<_> = (0..100).chain([last]).map(|n| format!("\"{n}\":0")).collect();
            format!("{{{least},\"x\":{{{}}}}}", members.join(","))
        };
        for good in [
            format!("{{{least}}}"),
            format!(" {{ {least} }}\n"),
            format!(
                r#"{{{least},"number":5,"more":{{"n":2,"x":null}},"x":[null,18446744073709551615,"é",true,-9223372036854775808,0]}}"#
            ),
            r#"{"inner":{"n":1},"text":"t","last":{"n":3}}"#.into(),
            deep(limits::JSON_DEPTH - 1),
            many(100),
        ] {
            assert!(parse::<Outer>(good.as_bytes()).is_ok(), "{good}: {:?}", parse::<Outer>(good.as_bytes()));
        }
        for (wrong, why) in [
            (r#"[{"n":1},null]"#.into(), "an object"),
            (r#"{"inner":[1],"text":null,"last":null}"#.into(), "an object"),
            (r#"{"inner":{"n":1},"text":null,"last":[3]}"#.into(), "an object"),
            (format!(r#"{{{least},"more":[2]}}"#), "an object"),
            (format!(r#"{{{least},"more":null}}"#), "null"),
            (format!(r#"{{{least},"number":null}}"#), "null"),
            (format!(r#"{{{least},"number":5.0}}"#), "no integer"),
            (format!(r#"{{{least},"number":5e0}}"#), "no integer"),
            (format!(r#"{{{least},"number":-0}}"#), "no integer"),
            (format!(r#"{{{least},"x":1.5}}"#), "no integer"),
            (format!(r#"{{{least},"x":[{{"y":1e5}}]}}"#), "no integer"),
            (format!(r#"{{{least},"x":-0}}"#), "no integer"),
            (format!(r#"{{{least},"x":18446744073709551616}}"#), "no integer"),
            (format!(r#"{{{least},"x":-9223372036854775809}}"#), "no integer"),
            (format!(r#"{{{least},"x":1{}}}"#, "0".repeat(5000)), "number"),
            (format!(r#"{{{least},"number":05}}"#), "invalid number"),
            (r#"{"inner":{"n":1},"last":null}"#.into(), "missing field `text`"),
            (r#"{"inner":{"n":1},"text":null}"#.into(), "missing field `last`"),
            (format!(r#"{{{least},"text":null}}"#), "twice"),
            (format!(r#"{{{least},"x":1,"x":1}}"#), "twice"),
            (format!(r#"{{{least},"x":1,"\u0078":1}}"#), "twice"),
            (format!(r#"{{{least},"x":[{{"y":1,"y":1}}]}}"#), "twice"),
            (many(99), "twice"),
            (deep(limits::JSON_DEPTH), "deep"),
            (format!(r#"{{{least},"x":"\ud800\ud800"}}"#), "surrogate"),
            (format!(r#"{{{least},"x":"\ud800"}}"#), "hex escape"),
            (format!("{{{least}}} x"), "trailing"),
            (format!("\u{feff}{{{least}}}"), "expected value"),
        ] {
            let wrong: String = wrong;
            let error = parse::<Outer>(wrong.as_bytes()).unwrap_err();
            assert!(error.contains(why), "{wrong}: {error}");
        }
        let not_text = [format!("{{{least},\"x\":\"").as_bytes(), b"\xff\"}"].concat();
        assert!(parse::<Outer>(&not_text).unwrap_err().contains("not UTF-8"));
    }
}
