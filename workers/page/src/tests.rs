#![allow(clippy::unwrap_used)]

use super::*;

#[path = "../examples/pages/hostile.rs"]
mod hostile;
#[path = "../examples/pages/scenes.rs"]
mod scenes;

use hostile::{HOSTILE, hostile, large};
use scenes::{complete, dry_run, first, incomplete, unlisted};

/// A page without its tags: what a person reads, still escaped.
fn read(html: &str) -> String {
    let body = &html[html.find("<body").unwrap()..];
    body.split('<').map(|part| part.split_once('>').map_or("", |(_, text)| text)).collect()
}

/// The names of all elements.
fn elements(html: &str) -> std::collections::BTreeSet<&str> {
    let opened = html.split('<').skip(1).filter(|part| !part.starts_with(['/', '!']));
    opened.map(|part| &part[..part.find(|c: char| !c.is_ascii_alphanumeric()).unwrap()]).collect()
}

#[test]
fn texts_of_others_are_shown_as_text_and_change_no_element() {
    let (harmless, hostile) = (page(&incomplete()), page(&hostile()));
    let more: Vec<_> = elements(&hostile).difference(&elements(&harmless)).copied().collect();
    // `ul` is of the failures that could not be read.
    assert_eq!(more, Vec::<&str>::new());
    for element in ["script", "img", "iframe", "object", "link", "form"] {
        assert!(!elements(&hostile).contains(element), "{element}");
    }
    assert_eq!((hostile.matches("<h1").count(), hostile.matches("<title").count()), (1, 1));
    assert_eq!(hostile.matches("</style").count(), 1);
    // Attributes hold nothing of others but the address of the execution.
    assert!(!hostile.contains("onerror=alert(1)>"), "the bracket is escaped");
    let escaped =
        |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    for text in &HOSTILE[..4] {
        assert!(hostile.contains(&escaped(text)), "{text}");
    }
    assert!(hostile.contains(HOSTILE[6]), "other scripts are shown as they are");
}

#[test]
fn nothing_turns_or_breaks_what_follows_and_each_text_is_isolated() {
    let html = page(&hostile());
    let steers = |c: &char| {
        (c.is_control() && !"\n\t".contains(*c))
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}')
    };
    assert_eq!(html.chars().find(steers), None);
    assert!(html.contains("<bdi>right\u{fffd}tfel\u{fffd}\u{fffd} and more</bdi>"));
    for (at, _) in html.match_indices("tfel\u{fffd}") {
        let (open, closed) = (html[..at].rfind("<bdi>").unwrap(), html[..at].rfind("</bdi>").unwrap_or(0));
        assert!(open > closed, "{}", &html[at - 80..at + 40]);
    }
}

#[test]
fn ten_thousand_volumes_in_trouble_fit_and_the_rest_is_counted() {
    let summary = large(10_000);
    let html = page(&summary);
    assert!(html.len() < 2_000_000, "{}", html.len());
    let text = read(&html);
    assert!(text.contains("0 of 10,000") && text.contains("10,000 behind"), "{}", &text[..400]);
    assert!(text.contains("And 9,900 more, in report.json."), "of the coverage");
    // What is missing comes before what is only overdue.
    assert!(html.contains("badge bad\">missing<") && !html.contains("badge bad\">overdue<"));
}

#[test]
fn the_verdict_comes_first_and_says_what_to_run_next() {
    for (summary, verdict, said) in [
        (complete(), "Complete", "nothing is owed"),
        (incomplete(), "Not complete", "ebs-snapshots --region eu-west-1 --stack-name ebs-snapshots dlq list"),
        (dry_run(), "Dry run", "Nothing was changed. Would snapshot 24 volumes, copy 29 to us-east-1, delete 46."),
        (unlisted(), "Not complete", "run --scheduled-time 20261122T030000Z --watch"),
        (first(), "Complete", "This is the first report"),
    ] {
        let text = read(&page(&summary));
        let at = text.find(verdict).unwrap_or_else(|| panic!("{verdict}: {text}"));
        assert!(at < 100 && text.contains(said), "{verdict}: {said}: {text}");
    }
}

#[test]
fn a_run_of_one_phase_shows_what_it_was_to_do_and_no_more() {
    let mut summary = complete();
    summary.run.phases.snapshot = false;
    summary.run.phases.expire = false;
    (summary.timeline.snapshots, summary.expiries, summary.gone) = (None, vec![], vec![]);
    let text = read(&page(&summary));
    assert!(text.contains("Complete, in part") && text.contains("what this run was to do: copy."), "{text}");
    for absent in ["Expiry", "Expired", "Planned for deletion"] {
        assert!(!text.contains(absent), "{absent}: {text}");
    }
}

#[test]
fn it_forbids_scripts_and_network_and_asks_for_neither() {
    for (name, summary) in [("incomplete", incomplete()), ("hostile", hostile()), ("unlisted", unlisted())] {
        let html = page(&summary);
        assert!(html.contains("content=\"default-src 'none'; style-src 'unsafe-inline'; "), "{name}");
        for loads in ["src=", "url(", "@import", "srcset", "xlink:"] {
            let outside = html.replace("&lt;img src=x", "");
            assert!(!outside.contains(loads), "{name}: {loads}");
        }
        // The only address is that of the console.
        let links: Vec<_> = html.match_indices("href=\"").map(|(at, _)| &html[at + 6..at + 14]).collect();
        assert!(links.iter().all(|link| *link == "https://"), "{links:?}");
    }
}

#[test]
fn what_could_not_be_looked_at_does_not_look_well() {
    let html = page(&unlisted());
    assert!(
        read(&html).contains("Nothing is known of them") && read(&html).contains("Nothing is known to have been due")
    );
    assert!(!html.contains("class=\"good\"") && !html.contains("badge good"), "{html}");
    // No destination could be read: that none is owed is not known.
    let mut unread = incomplete();
    unread.copies.clear();
    assert!(!read(&page(&unread)).contains("none owed"));
}

#[test]
fn what_is_bad_or_not_proven_is_told_of_each_region() {
    let text = read(&page(&incomplete()));
    for said in ["Volumes proven", "with a bad backup", "eu-west-1: bad", "41 days, ", ", overdue", "eu-west-1: never"]
    {
        assert!(text.contains(said), "{said}: {text}");
    }
    let text = read(&page(&complete()));
    assert!(text.contains("all of them were read") && text.contains("us-east-1: 6 days, copy"), "{text}");
    let mut off = complete();
    let coverage = off.coverage.as_mut().unwrap();
    coverage.drills.on = false;
    coverage.volumes.iter_mut().flat_map(|one| &mut one.regions).for_each(|one| one.proofs = Default::default());
    let text = read(&page(&off));
    assert!(text.contains("Never read: drills are off (DrillState).") && !text.contains("6 days, copy"), "{text}");
}
