//! Batches against a reader of JSON that is as naive as can be.

use jiff::civil;
use jiff::tz::Offset;
use proptest::prelude::*;
use proptest::sample::select;

use super::cases;
use crate::{Amount, EventError, Instant, MAX_EVENTS, UsageEvent, parse_events};

const NAMES: [&str; 10] = [
    "customer_id",
    "resource_id",
    "feature_id",
    "value",
    "occurred_at",
    "dimensions",
    "idempotency_key",
    "on_insufficient",
    "update_behavior",
    "metadata",
];

/// What stands at a place of the text. Texts with half of a surrogate pair are no texts.
#[derive(Debug)]
enum Json {
    Null,
    Bool,
    Number,
    Text(Option<String>),
    Array(Vec<Spanned>),
    Object(Vec<(Option<String>, Spanned)>),
}

/// With the text that it was read from.
#[derive(Debug)]
struct Spanned(String, Json);

/// Reads character by character, and recursively.
struct Naive {
    characters: Vec<char>,
    next: usize,
}

impl Naive {
    fn read(text: &str) -> Option<Spanned> {
        let mut naive = Naive { characters: text.chars().collect(), next: 0 };
        let value = naive.value()?;
        (naive.next == naive.characters.len()).then_some(value)
    }

    fn take(&mut self, wanted: impl Fn(char) -> bool) -> Option<char> {
        let found = *self.characters.get(self.next).filter(|c| wanted(**c))?;
        self.next += 1;
        Some(found)
    }

    fn space(&mut self) {
        while self.take(|c| [' ', '\n', '\r', '\t'].contains(&c)).is_some() {}
    }

    fn word(&mut self, word: &str, value: Json) -> Option<Json> {
        word.chars().all(|c| self.take(|found| found == c).is_some()).then_some(value)
    }

    /// With the space around it.
    fn value(&mut self) -> Option<Spanned> {
        self.space();
        let from = self.next;
        let value = match self.characters.get(from)? {
            'n' => self.word("null", Json::Null),
            't' => self.word("true", Json::Bool),
            'f' => self.word("false", Json::Bool),
            '"' => self.text().map(Json::Text),
            '[' => self.items(']', Naive::value).map(Json::Array),
            '{' => self.items('}', Naive::member).map(Json::Object),
            _ => self.number(),
        }?;
        let text = self.characters[from..self.next].iter().collect();
        self.space();
        Some(Spanned(text, value))
    }

    fn member(&mut self) -> Option<(Option<String>, Spanned)> {
        self.space();
        let key = self.text()?;
        self.space();
        self.take(|c| c == ':')?;
        Some((key, self.value()?))
    }

    fn items<T>(&mut self, close: char, item: fn(&mut Naive) -> Option<T>) -> Option<Vec<T>> {
        self.next += 1;
        self.space();
        let mut items = Vec::new();
        if self.take(|c| c == close).is_some() {
            return Some(items);
        }
        loop {
            items.push(item(self)?);
            if self.take(|c| c == close).is_some() {
                return Some(items);
            }
            self.take(|c| c == ',')?;
        }
    }

    fn number(&mut self) -> Option<Json> {
        let digits = |naive: &mut Naive| {
            let from = naive.next;
            while naive.take(|c| c.is_ascii_digit()).is_some() {}
            (naive.next > from).then_some(())
        };
        let _ = self.take(|c| c == '-');
        if self.take(|c| c == '0').is_none() {
            digits(self)?;
        }
        if self.take(|c| c == '.').is_some() {
            digits(self)?;
        }
        if self.take(|c| c == 'e' || c == 'E').is_some() {
            let _ = self.take(|c| c == '+' || c == '-');
            digits(self)?;
        }
        Some(Json::Number)
    }

    fn text(&mut self) -> Option<Option<String>> {
        self.take(|c| c == '"')?;
        let mut units: Vec<u16> = Vec::new();
        loop {
            let mut add = |c: char| units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
            match self.take(|c| c >= ' ')? {
                '"' => return Some(String::from_utf16(&units).ok()),
                '\\' => match self.take(|_| true)? {
                    c @ ('"' | '\\' | '/') => add(c),
                    'b' => add('\u{8}'),
                    'f' => add('\u{c}'),
                    'n' => add('\n'),
                    'r' => add('\r'),
                    't' => add('\t'),
                    'u' => {
                        let digit = |naive: &mut Naive| naive.take(|c| c.is_ascii_hexdigit())?.to_digit(16);
                        let digits = [digit(self)?, digit(self)?, digit(self)?, digit(self)?];
                        units.push(digits.iter().fold(0, |unit, digit| unit * 16 + *digit as u16));
                    }
                    _ => return None,
                },
                c => add(c),
            }
        }
    }
}

/// "18+18 digits", and no exponent.
fn naive_amount(text: &str) -> Option<Amount> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let (sign, whole) = whole.strip_prefix('-').map_or((1, whole), |rest| (-1, rest));
    let fraction = fraction.trim_end_matches('0');
    if text.contains(['e', 'E']) || whole.len() > 18 || fraction.len() > 18 {
        return None;
    }
    let digits: i128 = format!("{whole}{fraction}").parse().unwrap();
    Amount::from_scaled(sign * digits, fraction.len() as u32)
}

/// `2026-03-01T00:00[:00[.0…]](Z|+00[[:]00[[:]00]])`, also with a space instead of the `T`.
fn naive_instant(text: &str) -> Option<Instant> {
    let pattern = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "0");
    let (date_time, rest) = text.split_at_checked(16)?;
    if !["0000-00-00T00:00", "0000-00-00t00:00", "0000-00-00 00:00"].contains(&&pattern(date_time)[..]) {
        return None;
    }
    let number = |text: &str| text.parse::<i64>().unwrap();
    let part = |from: usize, until: usize| number(&date_time[from..until]);
    let start = rest.find(['Z', 'z', '+', '-'])?;
    let (seconds, offset) = rest.split_at(start);
    let (seconds, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
    let seconds = match &pattern(seconds)[..] {
        "" if !rest.contains('.') => 0,
        ":00" => number(&seconds[1..]),
        _ => return None,
    };
    if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // PostgreSQL's way; `times` knows the nearest one in another.
    let micros = (format!("0.{fraction}").parse::<f64>().unwrap() * 1e6).round_ties_even() as i64;
    let offset = match (&pattern(offset)[1..], offset.as_bytes()[0]) {
        ("", b'Z' | b'z') => 0,
        ("00" | "0000" | "000000" | "00:00" | "00:00:00", sign @ (b'+' | b'-')) => {
            let digits = format!("{:0<6}", offset[1..].replace(':', ""));
            let [hours, minutes, seconds] = [0, 2, 4].map(|at| number(&digits[at..at + 2]));
            if hours > 25 || minutes > 59 || seconds > 59 {
                return None;
            }
            (hours * 3600 + minutes * 60 + seconds) * if sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };
    let small = |number: i64| number as i8;
    let (month, day, hour, minute) = (part(5, 7), part(8, 10), part(11, 13), part(14, 16));
    let local = civil::DateTime::new(
        part(0, 4) as i16,
        small(month),
        small(day),
        small(hour),
        small(minute),
        small(seconds),
        0,
    )
    .ok()?;
    let at = Offset::UTC.to_timestamp(local).ok()?.as_second() - offset - 946_684_800;
    Some(Instant::from_micros(at * 1_000_000 + micros))
}

/// What an element says, or the argument that is wrong.
fn naive_event(element: &Spanned) -> Result<UsageEvent<'_>, Option<String>> {
    let Spanned(_, Json::Object(members)) = element else { return Err(None) };
    if members.iter().any(|(key, _)| key.is_none()) {
        return Err(None);
    }
    let mut event = UsageEvent::default();
    for (index, (key, Spanned(text, value))) in members.iter().enumerate() {
        let key = key.clone().unwrap();
        let wrong = Err(Some(key.clone()));
        if !NAMES.contains(&&key[..]) || members[..index].iter().any(|(other, _)| other.as_ref() == Some(&key)) {
            return wrong;
        }
        let string = match value {
            Json::Text(string) => string.clone(),
            _ => None,
        };
        let right = match (&key[..], value) {
            (_, Json::Null) => true,
            ("value", Json::Number) => {
                event.value = naive_amount(text);
                event.value.is_some()
            }
            ("value", _) => false,
            ("occurred_at", _) => {
                event.occurred_at = string.as_deref().and_then(naive_instant);
                event.occurred_at.is_some()
            }
            ("dimensions", Json::Object(_)) => event.dimensions.replace(text).is_none(),
            ("metadata", Json::Object(_)) => event.metadata.replace(text).is_none(),
            ("dimensions" | "metadata", _) => false,
            (name, _) => {
                let place = match name {
                    "customer_id" => &mut event.customer_id,
                    "resource_id" => &mut event.resource_id,
                    "feature_id" => &mut event.feature_id,
                    "idempotency_key" => &mut event.idempotency_key,
                    "on_insufficient" => &mut event.on_insufficient,
                    _ => &mut event.update_behavior,
                };
                place.clone_from(&string);
                string.is_some()
            }
        };
        if !right {
            return wrong;
        }
    }
    Ok(event)
}

/// Reads a text in both ways. Returns how many of its events are well-formed and malformed, if it is a batch.
fn check(text: &str) -> Option<(usize, usize)> {
    let naive = Naive::read(text);
    let elements = match &naive {
        Some(Spanned(_, Json::Array(elements))) if !elements.is_empty() => elements,
        _ => {
            assert!(parse_events(text).is_err(), "{text}");
            return None;
        }
    };
    let events = parse_events(text).unwrap_or_else(|error| panic!("{}: {text}", error.message));
    assert_eq!(events.len(), elements.len());
    let mut malformed = 0;
    for (event, element) in events.iter().zip(elements) {
        malformed += usize::from(event.is_err());
        if let Err(EventError { argument: Some(argument), message }) = event {
            assert!(message.contains(argument), "{message} does not name {argument}");
        }
        let expected = naive_event(element);
        assert_eq!(event.as_ref().map_err(|error| &error.argument), expected.as_ref(), "{}", element.0);
    }
    // They point into the text itself.
    let inside = |slice: &str| text.as_bytes().as_ptr_range().contains(&slice.as_ptr());
    let slices = events.iter().flatten().flat_map(|event| [event.dimensions, event.metadata]);
    assert!(slices.flatten().all(inside));
    Some((events.len() - malformed, malformed))
}

/// Written in one of the ways in which JSON can be.
fn print_text(text: &str, escaped: u8) -> String {
    let mut printed = String::from('"');
    for (c, place) in text.chars().zip(0..) {
        match c {
            '"' | '\\' => printed.extend(['\\', c]),
            '\n' if escaped.is_multiple_of(2) => printed.push_str("\\n"),
            _ if c < ' ' || (escaped > 127 && place % 3 == escaped % 3) => {
                c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| printed += &format!("\\u{unit:04X}"));
            }
            _ => printed.push(c),
        }
    }
    printed + "\""
}

/// Local time at an offset, from its year to the offset.
fn print_instant(at: Instant, minutes: i32, style: u8, digits: &str) -> String {
    let micros = at.micros().div_euclid(1_000_000) * 1_000_000 + 946_684_800_000_000;
    let local = jiff::Timestamp::from_microsecond(micros + i64::from(minutes) * 60_000_000).unwrap();
    let local = Offset::UTC.to_datetime(local).strftime(["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"][style as usize % 2]);
    let point = if digits.is_empty() { "" } else { "." };
    let (sign, hour, minute) = (if minutes < 0 { '-' } else { '+' }, minutes.abs() / 60, minutes.abs() % 60);
    let offset = match style % 5 {
        _ if minutes == 0 && style > 127 => "Z".into(),
        0..3 if minute == 0 => format!("{sign}{hour:02}"),
        1 => format!("{sign}{hour:02}{minute:02}"),
        2 => format!("{sign}{hour:02}:{minute:02}:00"),
        _ => format!("{sign}{hour:02}:{minute:02}"),
    };
    format!("{local}{point}{digits}{offset}")
}

/// An argument and what it is to be read as: put into an event by `put`.
#[derive(Clone, Debug)]
struct Member {
    name: &'static str,
    printed: String,
    expected: Expected,
}

#[derive(Clone, Debug)]
enum Expected {
    Nothing,
    Text(String),
    Amount(Amount),
    Instant(Instant),
    Slice,
}

const TEXTS: [&str; 6] =
    ["customer_id", "resource_id", "feature_id", "idempotency_key", "on_insufficient", "update_behavior"];

fn texts() -> impl Strategy<Value = Member> {
    let text = prop_oneof![2 => "[a-z-]{0,12}", 1 => "\\PC{0,6}", 1 => "[\"\\\\/\n\u{1}ü😀\u{7f}{}\\[\\]:,]{0,8}"];
    (select(&TEXTS[..]), text, any::<u8>()).prop_map(|(name, text, escaped)| Member {
        name,
        printed: print_text(&text, escaped),
        expected: Expected::Text(text),
    })
}

fn amounts() -> impl Strategy<Value = Member> {
    let limit = 10_i128.pow(36);
    let raw = prop_oneof![1 - limit..limit, -99..100_i128, Just(limit - 1), Just(1 - limit)];
    (raw, 0..3_usize).prop_map(|(raw, zeros)| {
        let amount = Amount::from_raw(raw);
        let point = if zeros > 0 && amount.decimals() == 0 { "." } else { "" };
        let printed = format!("{amount}{point}{}", "0".repeat(zeros));
        Member { name: "value", printed, expected: Expected::Amount(amount) }
    })
}

/// From the year 1000 to 9000, or nearer.
fn times() -> impl Strategy<Value = Member> {
    let micros = prop_oneof![super::calendar::instants().prop_map(Instant::micros), -MILLENNIUM..7 * MILLENNIUM];
    let written = (any::<[u8; 2]>(), -900..900_i32, 0..7_usize, "[0-9]{0,4}");
    (micros, written).prop_map(|(at, ([style, zone], minutes, digits, more))| {
        let minutes = [0, minutes, minutes / 60 * 60, 330][usize::from(zone % 4)];
        let mut fraction = format!("{:06}", at.rem_euclid(1_000_000));
        fraction.truncate(digits);
        let mut micros: i64 = format!("{fraction:0<6}").parse().unwrap();
        // Neither PostgreSQL's way nor the nearest microsecond is in doubt but for a half.
        if digits == 6 && more.trim_end_matches('0') != "5" {
            micros += i64::from(more.as_str() > "5");
            fraction += &more;
        }
        let second = Instant::from_micros(at.div_euclid(1_000_000) * 1_000_000);
        let printed = print_text(&print_instant(second, minutes, style, &fraction), zone);
        Member { name: "occurred_at", printed, expected: Expected::Instant(second.plus_micros(micros)) }
    })
}

/// In microseconds.
const MILLENNIUM: i64 = 1000 * 365 * super::calendar::DAY;

/// Any JSON, as a text with spaces and idle escapes here and there.
fn trees() -> impl Strategy<Value = String> {
    let space = || select(&["", "", " ", "\n\t"][..]);
    let name = prop_oneof![select(&NAMES[..]).prop_map(str::to_owned), "[a-z]{0,3}", "\\PC{0,3}"];
    let leaf = prop_oneof![
        select(&["null", "true", "false", "0", "-0", "1.50", "12e3", "0.5E-3", "1e999", "[]", "{}"][..])
            .prop_map(str::to_owned),
        select(&["\"\\ud83d\"", "\"\\ud83d\\ude00\"", "\"2026-03-01 00:00:00+00\"", "\"2026-03-01T00:00:00Z\""][..])
            .prop_map(str::to_owned),
        ("\\PC{0,4}", any::<u8>()).prop_map(|(text, escaped)| print_text(&text, escaped)),
    ];
    leaf.prop_recursive(4, 30, 6, move |inner| {
        let inner = (space(), inner, space()).prop_map(|(before, inner, after)| format!("{before}{inner}{after}"));
        let member = (space(), name.clone(), any::<u8>(), space(), inner.clone()).prop_map(
            |(before, key, escaped, after, inner)| format!("{before}{}{after}:{inner}", print_text(&key, escaped)),
        );
        prop_oneof![
            prop::collection::vec(inner, 0..5).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(member, 0..5).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

fn objects() -> impl Strategy<Value = Member> {
    let object = prop_oneof![Just("{}".to_owned()), trees().prop_map(|tree| format!("{{ \"k\" : {tree}}}"))];
    (select(&["dimensions", "metadata"][..]), object).prop_map(|(name, printed)| Member {
        name,
        printed,
        expected: Expected::Slice,
    })
}

fn members() -> impl Strategy<Value = Vec<Member>> {
    let nothing =
        select(&NAMES[..]).prop_map(|name| Member { name, printed: "null".into(), expected: Expected::Nothing });
    let member = prop_oneof![4 => texts(), 2 => amounts(), 2 => times(), 2 => objects(), 1 => nothing];
    prop::collection::vec(member, 0..9).prop_map(|mut members: Vec<Member>| {
        let mut seen = Vec::new();
        members.retain(|member| {
            !seen.contains(&member.name) && {
                seen.push(member.name);
                true
            }
        });
        members
    })
}

fn print_event(members: &[Member], space: &str) -> String {
    let print = |member: &Member| format!("{space}\"{}\":{space}{}{space}", member.name, member.printed);
    format!("{{{}}}", members.iter().map(print).collect::<Vec<_>>().join(","))
}

fn print_batch(events: &[Vec<Member>], space: &str) -> String {
    let printed: Vec<String> = events.iter().map(|members| print_event(members, space)).collect();
    format!("{space}[{space}{}{space}]{space}", printed.join(&format!("{space},{space}")))
}

fn batches() -> impl Strategy<Value = (Vec<Vec<Member>>, &'static str)> {
    (prop::collection::vec(members(), 1..6), select(&["", " ", "\r\n\t "][..]))
}

/// What the members are to be read as.
fn event_of(members: &[Member]) -> UsageEvent<'_> {
    let mut event = UsageEvent::default();
    for Member { name, printed, expected } in members {
        match (*name, expected.clone()) {
            (_, Expected::Nothing) => {}
            ("value", Expected::Amount(amount)) => event.value = Some(amount),
            ("occurred_at", Expected::Instant(at)) => event.occurred_at = Some(at),
            ("dimensions", Expected::Slice) => event.dimensions = Some(printed),
            ("metadata", Expected::Slice) => event.metadata = Some(printed),
            ("customer_id", Expected::Text(text)) => event.customer_id = Some(text),
            ("resource_id", Expected::Text(text)) => event.resource_id = Some(text),
            ("feature_id", Expected::Text(text)) => event.feature_id = Some(text),
            ("idempotency_key", Expected::Text(text)) => event.idempotency_key = Some(text),
            ("on_insufficient", Expected::Text(text)) => event.on_insufficient = Some(text),
            ("update_behavior", Expected::Text(text)) => event.update_behavior = Some(text),
            other => unreachable!("{other:?}"),
        }
    }
    event
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn events_are_read_as_they_were_written((batch, space) in batches()) {
        let text = print_batch(&batch, space);
        let events = parse_events(&text).unwrap();
        prop_assert_eq!(events, batch.iter().map(|members| Ok(event_of(members))).collect::<Vec<_>>());
        prop_assert_eq!(check(&text), Some((batch.len(), 0)));
    }

    #[test]
    fn what_is_changed_in_a_batch_is_read_or_refused((batch, space) in batches(), changes in changes()) {
        check(&changed(&print_batch(&batch, space), &changes));
    }

    #[test]
    fn a_key_twice_is_an_error_of_its_event(
        (batch, space) in batches(),
        [at, member, to] in any::<[prop::sample::Index; 3]>(),
        null in any::<bool>(),
    ) {
        let mut batch = batch;
        let at = at.index(batch.len());
        prop_assume!(!batch[at].is_empty());
        let mut again = batch[at][member.index(batch[at].len())].clone();
        if null {
            again.printed = "null".into();
        }
        let (name, to) = (again.name, to.index(batch[at].len() + 1));
        batch[at].insert(to, again);
        let text = print_batch(&batch, space);
        let events = parse_events(&text).unwrap();
        for (index, (event, members)) in events.into_iter().zip(&batch).enumerate() {
            let expected = if index == at { Err(Some(name.to_owned())) } else { Ok(event_of(members)) };
            prop_assert_eq!(event.map_err(|error| error.argument), expected);
        }
    }

    #[test]
    fn any_json_is_read_or_refused(trees in prop::collection::vec(trees(), 0..4), array in any::<bool>()) {
        let text = if array { format!("[{}]", trees.join(",")) } else { trees.join(",") };
        let read = check(&text);
        prop_assert!(!array || trees.is_empty() || read.is_some());
    }

    /// Members that are right beside members that are not.
    #[test]
    fn the_first_fault_is_named(members in members(), strange in prop::collection::vec((select(&NAMES[..]), trees()), 1..3)) {
        let strange = strange.iter().map(|(name, tree)| format!("\"{name}\":{tree}"));
        let all: Vec<String> = members.iter().map(|m| format!("\"{}\":{}", m.name, m.printed)).chain(strange).collect();
        let read = check(&format!("[{{{}}}]", all.join(",")));
        prop_assert!(read.is_some());
    }
}

/// Pieces of batches, so that much of what they make is nearly one.
fn scraps() -> impl Strategy<Value = String> {
    let scrap = prop_oneof![
        select(&["[", "]", "{", "}", ",", ":", "\"", "\\", "\\u", "d83d", "null", "-", "1", "0", ".5", "e", " "][..])
            .prop_map(str::to_owned),
        select(&["\"value\":1", "\"value\"", "\"metadata\":{}", "[{", "}]", "},{", "\"occurred_at\":\"2026"][..])
            .prop_map(str::to_owned),
        "\\PC{0,2}",
    ];
    prop::collection::vec(scrap, 0..12).prop_map(|scraps| scraps.concat())
}

/// A change of a text at a place: bytes go, and others come.
type Change = (prop::sample::Index, usize, String);

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = (
        any::<prop::sample::Index>(),
        0..3_usize,
        prop_oneof![2 => "[\\[\\]{}:,\"\\\\0-9eTZ.+ -]{0,2}", 1 => scraps()],
    );
    prop::collection::vec(change, 1..4)
}

fn changed(text: &str, changes: &[Change]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for (at, away, come) in changes {
        let from = at.index(bytes.len() + 1);
        let until = (from + away).min(bytes.len());
        bytes.splice(from..until, come.bytes());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn any_text_is_read_or_refused(scraps in scraps(), bytes in prop::collection::vec(any::<u8>(), 0..40), inside in any::<bool>()) {
        check(&String::from_utf8_lossy(&bytes));
        check(&scraps);
        check(&format!("[{scraps}]"));
        check(&format!("[{{{scraps}}}]"));
        let bytes = String::from_utf8_lossy(&bytes).into_owned();
        check(&if inside { format!("[\"{bytes}\"]") } else { format!("[{{\"metadata\":{{{bytes}}}}}]") });
    }

    /// Where it matters most: instants and numbers.
    #[test]
    fn what_is_changed_in_an_instant_or_a_number_is_read_or_refused(
        time in times(),
        amount in amounts(),
        at in any::<[prop::sample::Index; 2]>(),
        away in 0..2_usize,
        come in "[0-9TZtz:.+ -]{0,2}",
    ) {
        let time = changed(time.printed.trim_matches('"'), &[(at[0], away, come.clone())]);
        check(&format!("[{{\"occurred_at\": \"{time}\"}}]"));
        check(&format!("[{{\"value\": {}}}]", changed(&amount.printed, &[(at[1], away, come)])));
    }

    /// 18 digits before the point and 18 behind it.
    #[test]
    fn numbers_have_an_end(
        minus in select(&["", "-"][..]),
        whole in "[1-9][0-9]{15,19}|0",
        fraction in "|[.][0-9]{15,18}[0-9]{0,2}",
        zeros in 0..3_usize,
        exponent in select(&["", "", "", "e0", "E+5", "e-1"][..]),
    ) {
        let zeros = if fraction.is_empty() { 0 } else { zeros };
        let number = format!("{minus}{whole}{fraction}{}{exponent}", "0".repeat(zeros));
        let decimals = fraction.trim_start_matches('.').trim_end_matches('0').len();
        let fits = whole.len() <= 18 && decimals <= 18 && exponent.is_empty();
        prop_assert_eq!(check(&format!("[{{\"value\":{number}}}]")), Some((usize::from(fits), usize::from(!fits))));
    }
}

fn nested(open: &str, close: &str, levels: usize) -> String {
    open.repeat(levels) + &close.repeat(levels)
}

#[test]
fn depth_is_no_danger() {
    for levels in [100_000, 300_000] {
        let deep = nested("[", "]", levels);
        // Three elements, of which the first has the depth in an object and the second is it.
        let text = format!("[{{\"metadata\": {{\"a\":{deep}}}, \"value\": 1}},{deep},{{\"value\":{deep}}}]");
        let events = parse_events(&text).unwrap();
        let first = events[0].as_ref().unwrap();
        assert_eq!(first.metadata, Some(&format!("{{\"a\":{deep}}}")[..]));
        assert_eq!(first.value, Some(Amount::ONE));
        assert_eq!(events[1].as_ref().unwrap_err().argument, None);
        assert_eq!(events[2].as_ref().unwrap_err().argument, Some("value".into()));
        // Nothing but depth.
        assert!(parse_events(&deep).unwrap()[0].is_err());
        assert!(parse_events(&"[".repeat(levels)).is_err());
        assert!(parse_events(&"[{\"metadata\":".repeat(levels)).is_err());
        let (open, close) = ("[{\"metadata\":".repeat(levels), "}]".repeat(levels));
        assert!(parse_events(&format!("{open}{{}}{close}")).unwrap()[0].is_err());
        assert!(parse_events(&format!("[{}", nested("{\"a\":[", "]}", levels))).is_err());
    }
}

#[test]
fn batches_have_an_end() {
    let batch = |event: &str, count: usize| format!("[{}{event}]", format!("{event},").repeat(count - 1));
    let text = batch("{\"value\":1}", MAX_EVENTS);
    let events = parse_events(&text).unwrap();
    assert_eq!((events.len(), MAX_EVENTS), (100_000, 100_000));
    let one = UsageEvent { value: Some(Amount::ONE), ..UsageEvent::default() };
    assert!(events.iter().all(|event| event.as_ref() == Ok(&one)));
    let expected = "events must be an array of 1 to 100000 objects, not of";
    for (event, count) in [("{\"value\":1}", MAX_EVENTS + 1), ("1", MAX_EVENTS + 1), ("{}", 1_000_000)] {
        assert_eq!(parse_events(&batch(event, count)).unwrap_err().message, format!("{expected} {count}"));
    }
}

#[test]
fn length_is_no_danger() {
    let long = "x".repeat(3_000_000);
    let text = format!("[{{\"customer_id\": \"{long}\", \"{long}\": 1}}, {{\"value\": {}}}]", "1".repeat(3_000_000));
    let events = parse_events(&text).unwrap();
    assert_eq!(events[0].as_ref().unwrap_err().argument.as_ref(), Some(&long));
    assert_eq!(events[1].as_ref().unwrap_err().argument.as_deref(), Some("value"));
    let keys: String = (0..200_000).map(|key| format!("\"{key}\":{key},")).collect();
    let text = format!("[{{{keys}\"value\":1}}]");
    assert_eq!(parse_events(&text).unwrap()[0].as_ref().unwrap_err().argument.as_deref(), Some("0"));
}
