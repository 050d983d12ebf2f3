//! Intervals and long texts, as a reader wants them.

use credit_pools_domain::Span;

/// Such as `1 month`, `1 day 12 hours`.
pub fn span_in_words(span: Span) -> String {
    let seconds = span.micros / 1_000_000;
    let parts = [
        (i64::from(span.months) / 12, "year"),
        (i64::from(span.months) % 12, "month"),
        (i64::from(span.days), "day"),
        (seconds / 3_600, "hour"),
        (seconds / 60 % 60, "minute"),
        (seconds % 60, "second"),
    ];
    let words: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count != 0)
        .map(|(count, unit)| format!("{count} {unit}{}", if count.abs() == 1 { "" } else { "s" }))
        .collect();
    if words.is_empty() { "0 seconds".to_owned() } else { words.join(" ") }
}

/// At most so many characters of a text.
pub fn beginning(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}\u{2026}", text.get(..end).unwrap_or_default()),
    }
}
