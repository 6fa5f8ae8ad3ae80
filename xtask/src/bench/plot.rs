//! One plot for each family of rows: bars, each row to its own scale, its numbers beside them.

use std::fmt::Write as _;

use anyhow::Result;

use super::peers::Peer;
use super::results::{Results, RowResult};
use super::rows::Family;
use super::table::{is_void, number, target};

const FOLDER: &str = "docs/plots";

/// A plot, as the page shows it.
pub(super) struct Plot {
    pub(super) title: &'static str,
    /// Relative to the page.
    pub(super) file: String,
}

/// Draws all families that have rows.
pub(super) fn write_all(results: &Results) -> Result<Vec<Plot>> {
    std::fs::create_dir_all(FOLDER)?;
    let mut plots = Vec::new();
    for family in Family::ALL {
        let rows: Vec<&RowResult> = results
            .rows
            .iter()
            .filter(|row| row.row.family == family)
            .collect();
        if rows.is_empty() {
            continue;
        }
        let file = format!("{}.svg", family.name());
        std::fs::write(format!("{FOLDER}/{file}"), svg(results, family.title(), &rows))?;
        plots.push(Plot {
            title: family.title(),
            file: format!("plots/{file}"),
        });
    }
    Ok(plots)
}

const WIDTH: u32 = 760;
const LABELS: u32 = 90;
const BARS: u32 = 540;
const BAR: u32 = 16;
const HEADING: u32 = 22;
const GAP: u32 = 14;
const TOP: u32 = 40;

const fn color(peer: Peer) -> &'static str {
    match peer {
        Peer::Relay => "#9aa0a6",
        Peer::Martlet => "#0b7a75",
        Peer::Mosquitto => "#3c5a99",
        Peer::Rumqttd => "#c0652a",
    }
}

fn svg(results: &Results, title: &str, rows: &[&RowResult]) -> String {
    let mut body = String::new();
    let mut y = TOP;
    for row in rows {
        let _ = writeln!(
            body,
            r#"<text x="8" y="{}" font-weight="bold">{} ({})</text>"#,
            y + 15,
            escaped(&row.row.title),
            row.row.figure.unit()
        );
        y += HEADING;
        let medians: Vec<(Peer, f64, bool)> = row
            .cells
            .iter()
            .filter_map(|(peer, cell)| Some((*peer, cell.median()?, is_void(row, *peer, cell))))
            .collect();
        let target = target(results, row);
        let largest = medians
            .iter()
            .map(|(_, median, _)| *median)
            .chain(target)
            .fold(1e-9, f64::max);
        let width = |value: f64| (value / largest).max(0.0) * f64::from(BARS);
        let start = y;
        for (peer, median, void) in &medians {
            let mark = if *void { " (void)" } else { "" };
            let _ = writeln!(
                body,
                r#"<text x="{}" y="{}" text-anchor="end">{}</text><rect x="{LABELS}" y="{}" width="{:.1}" height="{}" fill="{}"/><text x="{:.1}" y="{}">{}{mark}</text>"#,
                LABELS - 6,
                y + 12,
                peer.name(),
                y + 1,
                width(*median),
                BAR - 3,
                color(*peer),
                f64::from(LABELS) + width(*median) + 5.0,
                y + 12,
                number(*median),
            );
            y += BAR;
        }
        if let Some(target) = target {
            let x = f64::from(LABELS) + width(target);
            let _ = writeln!(
                body,
                r##"<line x1="{x:.1}" y1="{start}" x2="{x:.1}" y2="{y}" stroke="#b00020" stroke-dasharray="3 2"/>"##,
            );
        }
        y += GAP;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{y}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"8\" y=\"20\" font-size=\"14\">{}</text>\n\
         <text x=\"8\" y=\"35\" fill=\"#555\">less is better; each group to its own scale; dashed: Martlet's target</text>\n\
         {body}</svg>\n",
        escaped(title)
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
