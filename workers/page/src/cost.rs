use domain::{report::Summary, words::counted};
use maud::{Markup, html};

use crate::parts::{bar, instance_cell, numbers, share, size, table, text, usd, words};

/// Instances that are shown.
const MOST_INSTANCES: usize = 10;

pub(crate) fn section(summary: &Summary) -> Option<Markup> {
    let cost = summary.cost.as_ref()?;
    Some(html! {
        p {
            strong { (usd(cost.usd_a_month)) " a month, at least" }
            ", for " (size(cost.bytes)) ": one full backup per volume and region. What changed between the backups of a volume comes on top. "
            "Prices of " (cost.prices_as_of) ": " (text(&cost.prices_source)) "."
        }
        @if cost.unknown > 0 {
            p { "Of " (counted(cost.unknown, "backup", "backups")) " EC2 tells no size: not counted." }
        }
        @if cost.bytes > 0 {
            ul.bars {
                @for region in &cost.regions {
                    li {
                        span.name { (region.region) }
                        (bar(&[(share(region.bytes, cost.bytes), "plain")]))
                        span.told { (size(region.bytes)) ", " (usd(region.usd_a_month)) }
                    }
                }
            }
            (table(
                "The instances whose backups cost most",
                &[words("Instance"), numbers("Size"), numbers("A month, at least")],
                cost.instances.iter(),
                MOST_INSTANCES,
                |one| vec![
                    instance_cell(&one.instance, &one.name),
                    html! { (size(one.bytes)) },
                    html! { (usd(one.usd_a_month)) },
                ],
            ))
        }
    })
}
