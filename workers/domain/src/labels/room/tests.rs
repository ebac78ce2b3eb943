use super::*;
use crate::{
    fleet::Attachment,
    labels::{OTHER_KEYS, details_of, devices_of, devices_tags, instance_as, volumes_of},
    tags::{MAX_TAGS, MAX_VALUE},
};

fn set(count: usize) -> (Vec<Attachment>, Vec<VolumeAs>) {
    let volume = |i: usize| format!("vol-{i:017x}").parse().unwrap();
    let attached = |i| Attachment { device: format!("/dev/sd{i:03}"), volume: volume(i) };
    let known = |i| VolumeAs {
        volume: volume(i),
        kind: Some("gp3".into()),
        iops: Some(16_000),
        throughput: Some(1_000),
        gib: Some(16_384),
        delete_on_termination: true,
    };
    ((0..count).map(attached).collect(), (0..count).map(known).collect())
}

fn launched() -> InstanceAs {
    InstanceAs {
        image: Some("ami-0123456789abcdef0".into()),
        instance_type: Some("u7in-24tb.224xlarge".into()),
        zone: Some("us-west-2-lax-1a".into()),
        architecture: Some("x86_64".into()),
        boot_mode: Some("legacy-bios".into()),
        subnet: Some("subnet-0123456789abcdef0".into()),
        security_groups: (0..5).map(|i| format!("sg-{i:017x}")).collect(),
        key_name: Some("the key of the night shift".into()),
    }
}

fn left_out(count: usize) -> Vec<LeftOut> {
    let (devices, volumes) = set(count);
    details_of(&devices, &volumes, &launched()).left_out
}

#[test]
fn a_set_of_any_size_has_at_most_fifty_tags_with_all_its_devices() {
    for count in 0..=400 {
        let (devices, volumes) = set(count);
        let Details { mut tags, left_out } = details_of(&devices, &volumes, &launched());
        let found = volumes_of(&tags);
        assert_eq!(instance_as(&tags).is_none(), left_out.contains(&LeftOut::Instance), "{count}");
        let lost = left_out.iter().find_map(|what| if let LeftOut::Volumes(lost) = what { Some(*lost) } else { None });
        assert_eq!(found.len() + lost.unwrap_or(0), count);
        for (found, known) in found.iter().zip(&volumes) {
            let sized = !left_out.contains(&LeftOut::Sizes);
            let paced = !left_out.contains(&LeftOut::Performance);
            let expected = VolumeAs {
                gib: known.gib.filter(|_| sized),
                iops: known.iops.filter(|_| paced),
                throughput: known.throughput.filter(|_| paced),
                ..known.clone()
            };
            assert_eq!(*found, expected, "{count}");
        }
        tags.extend(devices_tags(&devices));
        assert_eq!(devices_of(&tags), devices);
        tags.extend(OTHER_KEYS.map(|key| (key.to_owned(), String::new())));
        // More devices than that have no room by themselves: EC2 attaches 128 volumes to an instance at most.
        if count <= 128 {
            assert!(tags.len() <= MAX_TAGS, "{count}: {}", tags.len());
        }
        assert!(tags.values().all(|value| value.len() <= MAX_VALUE));
    }
}

#[test]
fn what_is_left_out_first_is_what_a_restore_can_best_do_without() {
    use LeftOut::{Instance, Performance, Sizes, Volumes};
    let first = |what: fn(&LeftOut) -> bool| (0..400).find(|count| left_out(*count).iter().any(what)).unwrap();
    let sizes = first(|what| *what == Sizes);
    let performance = first(|what| *what == Performance);
    let volumes = first(|what| matches!(what, Volumes(_)));
    let instance = first(|what| *what == Instance);
    assert!(80 < sizes && sizes < performance && performance < volumes, "{sizes} {performance} {volumes}");
    assert!(128 < instance, "{instance}: its devices alone take all room by then");
    let (devices, volumes) = set(128);
    let known = details_of(&devices, &volumes, &launched());
    assert!(volumes_of(&known.tags).iter().all(|volume| volume.kind.is_some() && volume.delete_on_termination));
    let text = known.left_out_text().unwrap();
    assert_eq!(text, "the sizes of its volumes; their IOPS and throughput; the types of 40 volumes");
}

#[test]
fn what_was_never_known_is_not_left_out() {
    let (devices, _) = set(128);
    assert_eq!(details_of(&devices, &[], &InstanceAs::default()), Details::default());
    let (devices, mut volumes) = set(110);
    volumes.iter_mut().for_each(|volume| (volume.gib, volume.iops, volume.throughput) = (None, None, None));
    assert_eq!(details_of(&devices, &volumes, &launched()).left_out, []);
}
