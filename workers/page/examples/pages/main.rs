//! Writes the page of each scene into a folder: `cargo run --package page --example pages -- FOLDER`.
//!
//! With the path of a `report.json` besides, it writes `report.html` of that one alone.

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
            for (name, summary) in scenes::all() {
                fs::write(folder.join(format!("{name}.html")), page::page(&summary))?;
            }
        }
        [report, ..] => {
            let summary = Summary::read(&fs::read_to_string(report)?)?;
            fs::write(folder.join("report.html"), page::page(&summary))?;
        }
    }
    Ok(())
}
