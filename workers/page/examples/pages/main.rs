//! Writes the page of each scene, and `reports.json`, a list of them, into a folder:
//! `cargo run --package page --example pages -- FOLDER`.
//!
//! With the path of a `report.json` besides, it writes `report.html` of that one alone.

mod hostile;
mod scenes;

use std::{env, fs, path::Path};

use domain::report::Summary;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let given: Vec<String> = env::args().skip(1).collect();
    let [folder, reports @ ..] = given.as_slice() else { return Err("a folder is needed".into()) };
    let folder = Path::new(folder);
    fs::create_dir_all(folder)?;
    match reports {
        [] => {
            let mut reports = Vec::new();
            for (name, summary) in all() {
                fs::write(folder.join(format!("{name}.html")), page::page(&summary))?;
                // The large one has nothing of another kind.
                reports.extend((name != "large").then_some(summary));
            }
            fs::write(folder.join("reports.json"), serde_json::to_string(&reports)?)?;
        }
        [report, ..] => {
            let summary = Summary::read(&fs::read_to_string(report)?)?;
            fs::write(folder.join("report.html"), page::page(&summary))?;
        }
    }
    Ok(())
}

/// All scenes, by name.
fn all() -> Vec<(&'static str, Summary)> {
    vec![
        ("complete", scenes::complete()),
        ("incomplete", scenes::incomplete()),
        ("hostile", hostile::hostile()),
        ("large", hostile::large(10_000)),
        ("dry-run", scenes::dry_run()),
        ("unlisted", scenes::unlisted()),
        ("first", scenes::first()),
    ]
}
