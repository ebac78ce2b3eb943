//! The report of a run as one HTML file: without scripts, without network, for a screen of any width and for paper.
//!
//! Everything is in it that an operator looks for first; long tables end with how many more `report.json` has. Texts of
//! somebody else's (tags, messages of AWS) are escaped by the templates, which the compiler checks ([`maud`]), lose what
//! would steer or turn a text ([`plain`](domain::words::plain)), and are isolated from what stands around them (`bdi`).
//!
//! The crate depends on domain, chrono and maud only: what there is to say is decided in [`domain::report`].

mod changes;
mod copies;
mod cost;
mod coverage;
mod expiry;
mod failures;
mod parts;
mod timeline;
mod verdict;

use domain::report::Summary;
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// Nothing is loaded and nothing runs, whatever stands in the page. Styles and charts are in it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// The report of a run, as HTML.
pub fn page(summary: &Summary) -> String {
    let sections: [(&str, &str, Option<Markup>); 9] = [
        ("problems", verdict::problems_title(summary), verdict::problems(summary)),
        ("coverage", "Coverage", coverage::section(summary)),
        ("timeline", "Timeline of the run", timeline::section(summary)),
        ("copies", "Copies per region", copies::section(summary)),
        ("expired", "Expired, and kept", expiry::section(summary)),
        ("rejected", "Tags and settings that cannot be used", failures::rejected(summary)),
        ("failures", "Failed tasks, and notes", failures::section(summary)),
        ("cost", "Size and cost", cost::section(summary)),
        ("changes", "What is different from the last report", changes::section(summary)),
    ];
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { (domain::words::plain(&summary.headline())) }
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body {
                (verdict::header(summary))
                main {
                    @for (id, title, body) in sections {
                        @if let Some(body) = body {
                            section id=(id) aria-labelledby={ (id) "-title" } {
                                h2 id={ (id) "-title" } { (title) }
                                (body)
                            }
                        }
                    }
                }
                (verdict::footer(summary))
            }
        }
    }
    .into_string()
}

#[cfg(test)]
mod tests;
