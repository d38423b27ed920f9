//! The report as one file: tables, pictures, what was skipped and what failed; nothing is fetched to read it.

use std::error::Error;
use std::fmt::Write;
use std::path::Path;

use crate::plot;
use crate::report::{Cost, Report, Row, Series};

const STYLE: &str = "body{font:15px/1.5 sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#222}\
    table{border-collapse:collapse;font-size:12px;display:block;overflow-x:auto}\
    th,td{padding:2px 8px;border-bottom:1px solid #ddd;text-align:right}td{white-space:nowrap}th{vertical-align:bottom}\
    svg{max-width:100%;height:auto}.failed{color:#b00}";

/// More lines than this in one picture nobody can tell apart.
const LINES_MAX: usize = 8;

/// Writes it.
pub(crate) fn write(report: &Report, path: &Path) -> Result<(), Box<dyn Error>> {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'><title>Load test</title><style>{STYLE}</style>\
         </head><body><h1>Load test</h1>\n"
    );
    list(&mut page, "Failed", "failed", &report.failures)?;
    for (scenario, rows) in &report.tables {
        writeln!(page, "<h2>{}</h2>", escape(scenario))?;
        table(&mut page, rows)?;
        pictures(&mut page, report, scenario)?;
    }
    list(&mut page, "Skipped", "skipped", &report.skipped)?;
    page += "</body></html>\n";
    std::fs::write(path, page)?;
    Ok(())
}

fn list(page: &mut String, title: &str, class: &str, items: &[String]) -> Result<(), std::fmt::Error> {
    if items.is_empty() {
        return Ok(());
    }
    write!(page, "<h2>{title}</h2><ul class='{class}'>")?;
    items.iter().try_for_each(|item| write!(page, "<li>{}</li>", escape(item)))?;
    page.write_str("</ul>\n")
}

fn table(page: &mut String, rows: &[Row]) -> Result<(), std::fmt::Error> {
    let Some(first) = rows.first() else { return Ok(()) };
    page.write_str("<table><tr>")?;
    first.cells().try_for_each(|(head, _)| write!(page, "<th>{}</th>", escape(&head.replace('_', " "))))?;
    page.write_str("</tr>\n")?;
    for row in rows {
        page.write_str("<tr>")?;
        row.cells().try_for_each(|(_, value)| write!(page, "<td>{}</td>", escape(&value)))?;
        page.write_str("</tr>\n")?;
    }
    page.write_str("</table>\n")
}

/// The pictures that belong to a scenario: their names begin with its.
fn pictures(page: &mut String, report: &Report, scenario: &str) -> Result<(), Box<dyn Error>> {
    let plots = &report.plots;
    let of = |all: &[Series]| -> Vec<Series> {
        let is_ours = |series: &&Series| belongs(&series.name, scenario) && series.points.len() > 1;
        all.iter().filter(is_ours).cloned().collect()
    };
    let memory = of(&plots.memory);
    if !memory.is_empty() {
        *page += &plot::memory("Memory against sessions", &memory)?;
    }
    let costs: Vec<Cost> = plots.costs.iter().filter(|cost| belongs(&cost.name, scenario)).cloned().collect();
    if !costs.is_empty() {
        *page += &plot::costs("Processor time of one operation; dark: the limit", &costs)?;
    }
    for some in of(&plots.latencies).chunks(LINES_MAX) {
        *page += &plot::latencies("Latency", some)?;
    }
    for some in of(&plots.throughput).chunks(LINES_MAX) {
        *page += &plot::throughput("Throughput", some)?;
    }
    Ok(())
}

fn belongs(name: &str, scenario: &str) -> bool {
    name.split([' ', ',']).next() == Some(scenario)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&#39;").replace('"', "&quot;")
}
