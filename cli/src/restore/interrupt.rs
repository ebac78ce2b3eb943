//! Ctrl-C while something is being made: says how to go on, and ends.

use std::{process, thread};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

/// From now on, whoever ends the program is told what to do next. Nothing has to be tidied up: the next try finds what
/// this one has made.
pub(super) fn say_how_to_go_on(command: String) {
    // Without it the program just ends.
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) else { return };
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            eprintln!("\nStopped. What was made so far stays, and {command} goes on from there.");
            // As a shell has it.
            process::exit(128 + signal);
        }
    });
}
