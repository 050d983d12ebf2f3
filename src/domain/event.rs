//! The events of a batch: a JSON array of objects, whose keys are the arguments of a single report.
//!
//! Whatever the text is, it is read in time linear in its length, and nested values are passed over without
//! recursion. An event that is malformed does not keep the others from being read.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::{Amount, AmountError, Instant};

/// How many events one batch can have.
pub const MAX_EVENTS: usize = 100_000;

/// Arguments of one event, as written; ids and words are checked by the caller, as those of a single call are.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct UsageEvent<'a> {
    pub customer_id: Option<String>,
    pub resource_id: Option<String>,
    pub feature_id: Option<String>,
    pub value: Option<Amount>,
    pub occurred_at: Option<Instant>,
    /// A JSON object, exactly as it is written in the batch.
    pub dimensions: Option<&'a str>,
    pub idempotency_key: Option<String>,
    pub on_insufficient: Option<String>,
    pub update_behavior: Option<String>,
    /// A JSON object, exactly as it is written in the batch.
    pub metadata: Option<&'a str>,
}

/// Why one element is no event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventError {
    /// The key in question, where there is one.
    pub argument: Option<String>,
    pub message: String,
}

/// Why a text as a whole is no batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventsError {
    pub message: String,
}

/// Reads a batch: each event in its place, or what is wrong with it.
pub fn parse_events(text: &str) -> Result<Vec<Result<UsageEvent<'_>, EventError>>, EventsError> {
    let expected = || format!("events must be an array of 1 to {MAX_EVENTS} objects");
    if !text.trim_start().starts_with('[') {
        return Err(EventsError { message: expected() });
    }
    let elements: Elements = serde_json::from_str(text)
        .map_err(|error| EventsError { message: format!("events is not valid JSON: {error}") })?;
    if elements.count == 0 || elements.count > MAX_EVENTS {
        return Err(EventsError { message: format!("{}, not of {}", expected(), elements.count) });
    }
    Ok(elements.first.into_iter().map(|element| UsageEvent::parse(element.get())).collect())
}

impl<'a> UsageEvent<'a> {
    fn parse(element: &'a str) -> Result<UsageEvent<'a>, EventError> {
        let of_the_whole = |message: &str| EventError { argument: None, message: message.to_owned() };
        if !element.starts_with('{') {
            return Err(of_the_whole("an event must be a JSON object"));
        }
        // The element is known to be valid JSON; but half of a surrogate pair in a key is found only now.
        let read: Arguments =
            serde_json::from_str(element).map_err(|_| of_the_whole("an event has a key that is no text"))?;
        read.0
    }

    /// `value` is valid JSON.
    fn set(&mut self, argument: Argument, value: &'a str) -> Result<(), EventError> {
        if value == "null" {
            return Ok(());
        }
        let read = match argument {
            Argument::CustomerId => put(&mut self.customer_id, string(value)),
            Argument::ResourceId => put(&mut self.resource_id, string(value)),
            Argument::FeatureId => put(&mut self.feature_id, string(value)),
            Argument::Value => put(&mut self.value, number(value)),
            Argument::OccurredAt => put(&mut self.occurred_at, instant(value)),
            Argument::Dimensions => put(&mut self.dimensions, object(value)),
            Argument::IdempotencyKey => put(&mut self.idempotency_key, string(value)),
            Argument::OnInsufficient => put(&mut self.on_insufficient, string(value)),
            Argument::UpdateBehavior => put(&mut self.update_behavior, string(value)),
            Argument::Metadata => put(&mut self.metadata, object(value)),
        };
        read.map_err(|what| {
            let name = argument.name();
            EventError { argument: Some(name.to_owned()), message: format!("{name} {what}") }
        })
    }
}

fn put<T>(place: &mut Option<T>, read: Result<T, &'static str>) -> Result<(), &'static str> {
    *place = Some(read?);
    Ok(())
}

fn string(value: &str) -> Result<String, &'static str> {
    match value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(plain) if !plain.contains('\\') => Ok(plain.to_owned()),
        Some(_) => serde_json::from_str(value).map_err(|_| "has an escape that is no character"),
        None => Err("must be a text"),
    }
}

/// As `numeric` is printed, which never has an exponent.
fn number(value: &str) -> Result<Amount, &'static str> {
    if !value.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return Err("must be a number");
    }
    if value.contains(['e', 'E']) {
        return Err("must be a number without an exponent");
    }
    let amount = Amount::parse(value).map_err(|error| match error {
        AmountError::TooLarge => TOO_LARGE,
        AmountError::TooManyDecimals => "has more than 18 decimals",
        AmountError::NotFinite | AmountError::Malformed => "is no number",
    })?;
    if amount.within_outside_limit() { Ok(amount) } else { Err(TOO_LARGE) }
}

const TOO_LARGE: &str = "has more than 18 digits before the decimal point";

fn object(value: &str) -> Result<&str, &'static str> {
    if value.starts_with('{') { Ok(value) } else { Err("must be a JSON object") }
}

fn instant(value: &str) -> Result<Instant, &'static str> {
    let text = string(value)?;
    timestamp(&text).ok_or("must be an instant with its offset from UTC, such as \"2026-03-01T00:00:00Z\"")
}

/// What is written both in ISO 8601 and in PostgreSQL's way, and nothing else that `Instant::parse` understands.
fn timestamp(text: &str) -> Option<Instant> {
    let bytes = text.as_bytes();
    let has = |place: usize, among: &[u8]| bytes.get(place).is_some_and(|byte| among.contains(byte));
    let shaped = has(4, b"-") && has(7, b"-") && has(10, b"Tt ") && has(13, b":");
    // A second that is counted as the 60th would be another instant here than in PostgreSQL.
    let leaps = has(16, b":") && has(17, b"6");
    let point = text.find('.');
    if !shaped
        || leaps
        || point.is_some_and(|point| point != 19)
        || !text.bytes().all(|byte| byte.is_ascii_digit() || b"-+:. TtZz".contains(&byte))
    {
        return None;
    }
    let (seconds, fraction) = text.split_at(point.unwrap_or(text.len()));
    let offset = fraction.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let fraction = fraction.strip_suffix(offset).unwrap_or_default();
    if fraction.len() <= ".123456".len() {
        return Instant::parse(text).ok();
    }
    // More digits than an instant has: rounded as PostgreSQL rounds them.
    let micros = (fraction.parse::<f64>().ok()? * 1e6).round_ties_even() as i64;
    Some(Instant::parse(&format!("{seconds}{offset}")).ok()?.plus_micros(micros))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Argument {
    CustomerId,
    ResourceId,
    FeatureId,
    Value,
    OccurredAt,
    Dimensions,
    IdempotencyKey,
    OnInsufficient,
    UpdateBehavior,
    Metadata,
}

impl Argument {
    const NAMES: [(Argument, &'static str); 10] = [
        (Argument::CustomerId, "customer_id"),
        (Argument::ResourceId, "resource_id"),
        (Argument::FeatureId, "feature_id"),
        (Argument::Value, "value"),
        (Argument::OccurredAt, "occurred_at"),
        (Argument::Dimensions, "dimensions"),
        (Argument::IdempotencyKey, "idempotency_key"),
        (Argument::OnInsufficient, "on_insufficient"),
        (Argument::UpdateBehavior, "update_behavior"),
        (Argument::Metadata, "metadata"),
    ];

    fn parse(name: &str) -> Option<Argument> {
        Argument::NAMES.iter().find(|(_, known)| *known == name).map(|(argument, _)| *argument)
    }

    fn name(self) -> &'static str {
        Argument::NAMES.iter().find(|(argument, _)| *argument == self).map_or("", |(_, name)| name)
    }
}

/// The elements of an array: as many as a batch may have, and how many there are.
struct Elements<'a> {
    first: Vec<&'a RawValue>,
    count: usize,
}

impl<'de> Deserialize<'de> for Elements<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Elements<'de>, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Elements<'de>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Elements<'de>, A::Error> {
                let mut first = Vec::new();
                while first.len() < MAX_EVENTS {
                    let Some(element) = array.next_element()? else { break };
                    first.push(element);
                }
                let mut count = first.len();
                while count >= MAX_EVENTS && array.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Elements { first, count })
            }
        }
        deserializer.deserialize_seq(Reader)
    }
}

/// An object as an event. The first fault is kept; what follows it is passed over.
struct Arguments<'a>(Result<UsageEvent<'a>, EventError>);

impl<'de> Deserialize<'de> for Arguments<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Arguments<'de>, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Arguments<'de>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Arguments<'de>, A::Error> {
                let mut event = UsageEvent::default();
                let mut fault = None;
                let mut seen = Vec::with_capacity(Argument::NAMES.len());
                while let Some(Key(argument)) = object.next_key()? {
                    let value: &RawValue = object.next_value()?;
                    if fault.is_some() {
                        continue;
                    }
                    let read = match argument {
                        Ok(argument) if seen.contains(&argument) => {
                            let name = argument.name();
                            Err(EventError { argument: Some(name.into()), message: format!("{name} is there twice") })
                        }
                        Ok(argument) => {
                            seen.push(argument);
                            event.set(argument, value.get())
                        }
                        Err(key) => Err(EventError {
                            message: format!("an event has the unknown key \"{key}\""),
                            argument: Some(key),
                        }),
                    };
                    fault = read.err();
                }
                Ok(Arguments(fault.map_or(Ok(event), Err)))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// An argument, or the name that is none.
struct Key(Result<Argument, String>);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Key, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Key, E> {
                Ok(Key(Argument::parse(name).ok_or_else(|| name.to_owned())))
            }
        }
        deserializer.deserialize_str(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The batch of one event.
    fn one(event: &str) -> Result<UsageEvent<'static>, (Option<String>, String)> {
        let text: &'static str = format!("[{event}]").leak();
        let mut events = parse_events(text).unwrap();
        assert_eq!(events.len(), 1);
        events.remove(0).map_err(|error| (error.argument, error.message))
    }

    #[track_caller]
    fn fails(event: &str, argument: Option<&str>, message: &str) {
        assert_eq!(one(event), Err((argument.map(str::to_owned), message.to_owned())), "{event}");
    }

    #[track_caller]
    fn reads_instant(text: &str, utc: &str) {
        let event = one(&format!(r#"{{"occurred_at": "{text}"}}"#)).unwrap();
        assert_eq!(event.occurred_at.unwrap().to_string(), utc, "{text}");
    }

    #[test]
    fn reads_every_argument() {
        let event = one(r#"{"value": -1.50, "metadata": {"b": [1, {}], "a": 1.10}, "customer_id": "c \"1\" \u00fc",
            "dimensions": {}, "feature_id": "f", "occurred_at": "2026-03-01 01:00:00+01", "resource_id": null,
            "idempotency_key": "", "on_insufficient": "cap", "update_behavior": "set"}"#);
        let expected = UsageEvent {
            customer_id: Some("c \"1\" ü".into()),
            resource_id: None,
            feature_id: Some("f".into()),
            value: Some(Amount::parse("-1.5").unwrap()),
            occurred_at: Some(Instant::parse("2026-03-01T00:00:00Z").unwrap()),
            dimensions: Some("{}"),
            idempotency_key: Some(String::new()),
            on_insufficient: Some("cap".into()),
            update_behavior: Some("set".into()),
            metadata: Some(r#"{"b": [1, {}], "a": 1.10}"#),
        };
        assert_eq!(event, Ok(expected));
        assert_eq!(one("{}"), Ok(UsageEvent::default()));
    }

    #[test]
    fn names_what_is_wrong_with_an_event() {
        for event in ["1", "null", "[]", r#""{}""#] {
            fails(event, None, "an event must be a JSON object");
        }
        fails(r#"{"Value": 1}"#, Some("Value"), "an event has the unknown key \"Value\"");
        fails(r#"{"value": 1, "value": null}"#, Some("value"), "value is there twice");
        fails(r#"{"value": null, "value": null}"#, Some("value"), "value is there twice");
        fails(r#"{"\ud800": 1}"#, None, "an event has a key that is no text");
        fails(r#"{"customer_id": 1}"#, Some("customer_id"), "customer_id must be a text");
        fails(r#"{"feature_id": "\ud800"}"#, Some("feature_id"), "feature_id has an escape that is no character");
        fails(r#"{"metadata": [], "value": ""}"#, Some("metadata"), "metadata must be a JSON object");
        fails(r#"{"dimensions": "{}"}"#, Some("dimensions"), "dimensions must be a JSON object");
        let no_instant = "must be an instant with its offset from UTC, such as \"2026-03-01T00:00:00Z\"";
        fails(r#"{"occurred_at": "now"}"#, Some("occurred_at"), &format!("occurred_at {no_instant}"));
        fails(r#"{"occurred_at": 0}"#, Some("occurred_at"), "occurred_at must be a text");
    }

    #[test]
    fn reads_numbers_as_jsonb_prints_them() {
        let most = "999999999999999999.999999999999999999";
        for (text, amount) in [("0", "0"), ("-0.0", "0"), ("1.500000000000000000000", "1.5"), (most, most)] {
            assert_eq!(one(&format!(r#"{{"value": {text}}}"#)).unwrap().value, Amount::parse(amount).ok());
        }
        let too_large = "value has more than 18 digits before the decimal point";
        for (text, message) in [
            ("1000000000000000000", too_large),
            ("-1000000000000000000.0", too_large),
            ("99999999999999999999999999999999999999999999999999", too_large),
            ("0.0000000000000000001", "value has more than 18 decimals"),
            ("1e2", "value must be a number without an exponent"),
            ("1E-2", "value must be a number without an exponent"),
            (r#""1""#, "value must be a number"),
            (r#""NaN""#, "value must be a number"),
            ("true", "value must be a number"),
            ("[1]", "value must be a number"),
            (r#"{"e": 1}"#, "value must be a number"),
        ] {
            fails(&format!(r#"{{"value": {text}}}"#), Some("value"), message);
        }
    }

    #[test]
    fn reads_instants_in_both_ways_of_writing() {
        for text in [
            "2026-03-01T00:00:00Z",
            "2026-03-01 00:00:00+00",
            "2026-02-28t18:30:00-05:30",
            "2026-03-01T05:45+0545",
            "2026-03-01T00:00:00.0z",
            "2026-03-01 00:00:00.0000004999+00:00",
            "2026-02-28T23:59:59.9999995Z",
            "2026-03-01T00:00:00.0000005Z",
        ] {
            reads_instant(text, "2026-03-01T00:00:00Z");
        }
        reads_instant("1969-12-31 23:59:59.1234567+00", "1969-12-31T23:59:59.123457Z");
        reads_instant("2024-02-29T12:00:00.5-00:30", "2024-02-29T12:30:00.5Z");
        for text in [
            "",
            "infinity",
            "2026-03-01",
            "2026-03-01T00:00:00",
            "2026-03-01T00Z",
            "2026-3-1T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-03-01T24:00:00Z",
            "2016-12-31T23:59:60Z",
            "2026-03-01T00:00.0000000Z",
            "2026-03-01T00:00:00,5Z",
            "2026-03-01T00:00:00.Z",
            "2026-03-01T00:00:00.0000000.1Z",
            "2026-03-01T00:00:00Z[UTC]",
            "2026-03-01T00:00:00+00 ",
            "２026-03-01T00:00:00Z",
            "20260301T000000Z",
            "1e9",
        ] {
            let event = one(&format!(r#"{{"occurred_at": "{text}"}}"#));
            assert_eq!(event.map_err(|(argument, _)| argument), Err(Some("occurred_at".into())), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_batch() {
        let message = |text: &str| parse_events(text).unwrap_err().message;
        let expected = "events must be an array of 1 to 100000 objects";
        for text in ["", "{}", "null", r#""[]""#, "1", "x[", "\u{feff}[{}]"] {
            assert_eq!(message(text), expected, "{text}");
        }
        assert_eq!(message("[]"), format!("{expected}, not of 0"));
        for text in
            ["[", "[{}", "[{}]]", "[{},]", "[{} {}]", r#"[{"a": 01}]"#, "[nul]", "[\"\t\"]", "[{\"a\":\"\\x\"}]"]
        {
            assert!(message(text).starts_with("events is not valid JSON: "), "{text}");
        }
    }

    #[test]
    fn one_bad_event_leaves_the_others() {
        let events = parse_events(r#" [ {"value": 1} , 7, {"value": 2}] "#).unwrap();
        let values: Vec<_> = events.iter().map(|event| event.as_ref().map(|event| event.value)).collect();
        assert_eq!((values[0], values[2]), (Ok(Amount::parse("1").ok()), Ok(Amount::parse("2").ok())));
        assert!(values[1].is_err());
    }
}
