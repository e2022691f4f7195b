//! The page around the sections.
//!
//! In: sources. Out: HTML. Never: text of a source that is not escaped.

use super::Source;
use super::sections::{headlines, loads, section};
use crate::failure::Failure;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:920px;margin:2em auto;padding:0 1em;color:#1a1a1a}\
table{border-collapse:collapse;margin:.5em 0 1.5em}td,th{padding:.25em .8em;border-bottom:1px solid #ddd;text-align:right}\
td:first-child,th:first-child{text-align:left}svg{max-width:100%;height:auto}code,pre{font-size:13px;overflow-x:auto}\
.numbers{display:flex;gap:3em;flex-wrap:wrap;margin:1em 0 2em}.number b{display:block;font-size:2.6em;line-height:1.1}\
.number span{color:#555}.machine{color:#555;font-size:14px}";

/// The whole page.
pub fn html(sources: &[Source]) -> Result<String, Failure> {
    // Loads and probes say most; what comes first on the command line counts first.
    let order = ["targets", "compare", "load", "probe"];
    let found = order.iter().flat_map(|kind| sources.iter().filter(move |source| source.kind == **kind));
    let numbers: String = found
        .flat_map(headlines)
        .take(2)
        .map(|(number, meaning)| {
            format!("<div class=number><b>{}</b><span>{}</span></div>", escape(&number), escape(&meaning))
        })
        .collect();
    let mut body = loads(sources)?;
    for source in sources {
        let (command, machine) = (source.all["command"].as_str().unwrap_or_default(), &source.all["machine"]);
        let facts: Vec<String> = machine
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                format!("{}: {}", escape(&name.replace('_', " ")), escape(&value))
            })
            .collect();
        body += &format!(
            "<h2>{}: {}</h2><p class=machine><code>{}</code><br>{}</p>{}",
            escape(&source.kind),
            escape(&source.name),
            escape(command),
            facts.join(" · "),
            section(source)?
        );
    }
    Ok(format!(
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8><title>ringmain-bench</title>\
         <meta name=viewport content=\"width=device-width\"><style>{STYLE}</style></head><body>\
         <h1>ringmain-bench</h1><div class=numbers>{numbers}</div>{body}</body></html>\n"
    ))
}

/// A table with a row of heads.
pub fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let heads: String = heads.iter().map(|head| format!("<th>{}</th>", escape(head))).collect();
    let row = |row: &Vec<String>| -> String {
        let cells: String = row.iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect();
        format!("<tr>{cells}</tr>")
    };
    let rows: String = rows.iter().map(row).collect();
    format!("<table><tr>{heads}</tr>{rows}</table>")
}

/// Text as HTML shows it.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
