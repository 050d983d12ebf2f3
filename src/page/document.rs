//! The document around the data.

use sha2::{Digest, Sha256};

use crate::escape;
use crate::model::{Page, Pool};

const STYLE: &str = include_str!("page.css");
/// In one scope, so that nothing is global.
const SCRIPT: &str = concat!(
    "(() => {\n\"use strict\";\n",
    include_str!("js/read.js"),
    include_str!("js/chart.js"),
    include_str!("js/parts.js"),
    include_str!("js/page.js"),
    "})();\n"
);
const BODY: &str = include_str!("page.html");
/// A square with two bars, so that a browser asks no server for an icon.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'%3E\
    %3Crect width='8' height='8' rx='2' fill='%230b5cad'/%3E%3Cpath d='M2 6V4h1.5v2zM4.5 6V2H6v4z' fill='%23fff'/%3E%3C/svg%3E";

/// What the browser may do: run this script and apply this style.
fn policy() -> String {
    let hash = |text: &str| escape::base64(&Sha256::digest(text.as_bytes()));
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src data:; base-uri 'none'; \
         form-action 'none'",
        hash(SCRIPT),
        hash(STYLE)
    )
}

/// `data` is JSON, escaped.
pub fn document(page: &Page, shown: &[&Pool], left_out: i64, data: &str) -> String {
    let customer = escape::html(&page.customer_id);
    let mut out = String::with_capacity(data.len() + STYLE.len() + SCRIPT.len() + 64 * shown.len() + 16_384);
    out += "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
    out += &format!("<meta http-equiv=\"Content-Security-Policy\" content=\"{}\">\n", escape::html(&policy()));
    out += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
    out += "<meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"referrer\" content=\"no-referrer\">\n";
    out += &format!("<title>Credits of {customer}</title>\n<link rel=\"icon\" href=\"{ICON}\">\n");
    out += &format!("<style>{STYLE}</style>\n</head>\n<body>\n");
    let mut parts = BODY.splitn(3, "@@");
    out += parts.next().unwrap_or_default();
    out += &customer;
    out += parts.next().unwrap_or_default();
    out += &plain_table(page, shown, left_out);
    out += parts.next().unwrap_or_default();
    out += &format!("<script type=\"application/json\" id=\"data\">{data}</script>\n");
    out += &format!("<script>{SCRIPT}</script>\n</body>\n</html>\n");
    out
}

/// For readers without a script.
fn plain_table(page: &Page, shown: &[&Pool], left_out: i64) -> String {
    if shown.is_empty() {
        return "<p>There is no pool to show.</p>".to_owned();
    }
    let mut out = String::from(
        "<table><caption>Balances</caption><thead><tr><th scope=\"col\">Resource<th scope=\"col\">Credit type\
         <th scope=\"col\" class=\"n\">Balance</thead><tbody>\n",
    );
    for pool in shown {
        let resource = pool.resource_id.as_deref().map_or("Global pool".to_owned(), escape::html);
        let known = page.credit_types.get(&pool.credit_type_id).and_then(|known| known.display_name.as_deref());
        let credit_type = escape::html(known.unwrap_or(&pool.credit_type_id));
        out += &format!(
            "<tr><th scope=\"row\"><bdi>{resource}</bdi><td><bdi>{credit_type}</bdi><td class=\"n\">{}\n",
            pool.figures.balance
        );
    }
    out += "</tbody></table>";
    if left_out > 0 {
        out += &format!("<p>{left_out} more pools are not on this page.</p>");
    }
    out
}
