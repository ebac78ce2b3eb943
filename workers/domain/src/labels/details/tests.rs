use proptest::prelude::*;

use super::*;
use crate::tags::tags;

fn volumes(most: usize) -> impl Strategy<Value = Vec<VolumeAs>> {
    let number = || prop::option::of(0u32..);
    let one = ("vol-[0-9a-f]{8,17}", prop::option::of(".{1,12}"), number(), number(), number(), any::<bool>());
    let one = one.prop_map(|(volume, kind, iops, throughput, gib, delete_on_termination)| VolumeAs {
        volume: volume.parse().unwrap(),
        kind,
        iops,
        throughput,
        gib,
        delete_on_termination,
    });
    prop::collection::vec(one, 0..=most)
}

fn instances() -> impl Strategy<Value = InstanceAs> {
    let text = || prop::option::of(".{1,40}");
    let groups = prop::collection::vec(prop_oneof!["sg-[0-9a-f]{8,17}", ".{1,12}"], 0..20);
    let key = prop::option::of(prop_oneof!["[ -~]{1,255}", ".{1,255}"]);
    (text(), text(), text(), text(), text(), text(), groups, key).prop_map(
        |(image, instance_type, zone, architecture, boot_mode, subnet, security_groups, key_name)| InstanceAs {
            image,
            instance_type,
            zone,
            architecture,
            boot_mode,
            subnet,
            security_groups,
            key_name,
        },
    )
}

/// EC2 takes these values: none too long, nothing that it might refuse, trim or count in another way.
fn are_safe(written: &Tags) -> bool {
    written.values().all(|value| {
        let ends = [value.chars().next(), value.chars().last()];
        value.len() <= MAX_VALUE
            && value.chars().all(|c| c.is_ascii_alphanumeric() || " +-=._:/@,".contains(c))
            && !ends.contains(&Some(' '))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn volumes_read_back_as_written(volumes in volumes(30)) {
        let written = volumes_tags(&volumes);
        prop_assert!(are_safe(&written), "{written:?}");
        prop_assert_eq!(volumes_of(&written), volumes);
    }

    #[test]
    fn an_instance_reads_back_as_written(instance in instances()) {
        let written = instance_tags(&instance);
        prop_assert!(are_safe(&written), "{written:?}");
        prop_assert_eq!(instance_as(&written).unwrap_or_default(), instance);
    }

    #[test]
    fn a_text_written_by_hand_is_read_as_far_as_it_can_be(
        first in ".{0,256}", second in prop::option::of("[ -~]{0,256}"),
        words in prop::collection::vec("(vol-[0-9a-f]{0,3}|key|groups|image)?[=:%,+0-9a-zé ]{0,9}", 0..9),
    ) {
        let by_words = words.join(" ");
        for value in [first.as_str(), by_words.as_str()] {
            for (key, more) in [(VOLUMES, "Volumes.2"), (INSTANCE_AS, "InstanceAs.2")] {
                let mut own = tags([(key, value)]);
                own.extend(second.clone().map(|second| (more.to_owned(), second)));
                let (volumes, instance) = (volumes_of(&own), instance_as(&own).unwrap_or_default());
                // What was understood is a value like any other.
                prop_assert_eq!(volumes_of(&volumes_tags(&volumes)), volumes);
                prop_assert_eq!(instance_as(&instance_tags(&instance)).unwrap_or_default(), instance);
            }
        }
    }
}

#[test]
fn what_is_written_can_be_read_by_people() {
    let volume = |id: &str| VolumeAs {
        volume: id.parse().unwrap(),
        kind: Some("gp3".into()),
        iops: Some(3000),
        throughput: Some(125),
        gib: Some(20),
        delete_on_termination: true,
    };
    let untold = VolumeAs { iops: None, throughput: None, gib: None, ..volume("vol-3c") };
    let stays = VolumeAs { throughput: None, delete_on_termination: false, ..volume("vol-2b") };
    let written = volumes_tags(&[volume("vol-1a"), stays, untold]);
    assert_eq!(written["Volumes"], "vol-1a:gp3:3000:125:20:d vol-2b:gp3:3000::20 vol-3c:gp3::::d");

    let instance = InstanceAs {
        image: Some("ami-1a".into()),
        instance_type: Some("m5.large".into()),
        zone: Some("eu-west-1a".into()),
        architecture: Some("x86_64".into()),
        boot_mode: Some("legacy-bios".into()),
        subnet: Some("subnet-1a".into()),
        security_groups: vec!["sg-1a".into(), "sg-2b".into()],
        key_name: Some("Zoë's key, 100 %".into()),
    };
    let written = instance_tags(&instance);
    assert_eq!(
        written["InstanceAs"],
        "image=ami-1a type=m5.large zone=eu-west-1a arch=x86_64 boot=legacy-bios subnet=subnet-1a groups=sg-1a,sg-2b \
         key=Zo=C3=AB=27s=20key=2C=20100=20=25"
    );
    assert_eq!(instance_as(&written), Some(instance));
}

#[test]
fn a_long_list_of_groups_is_parted_between_its_ids() {
    let groups: Vec<String> = (0..16).map(|i| format!("sg-{i:017x}")).collect();
    let written = instance_tags(&InstanceAs { security_groups: groups.clone(), ..InstanceAs::default() });
    assert_eq!(written.len(), 2);
    let first = instance_as(&tags([("InstanceAs", written["InstanceAs"].as_str())])).unwrap().security_groups;
    assert_eq!(first, groups[..first.len()], "the first tag alone has whole ids");
    assert_eq!(instance_as(&written).unwrap().security_groups, groups);
}

#[test]
fn what_a_later_version_adds_is_passed_over() {
    let found = volumes_of(&tags([("Volumes", "vol-1a:gp3:3000:125:20:d:new:er disk-2 vol-2b:gp3:many:125:-1:D")]));
    assert_eq!((found.len(), found[0].gib, found[0].delete_on_termination), (2, Some(20), true));
    assert_eq!((found[1].iops, found[1].throughput, found[1].gib), (None, Some(125), None));
    assert!(!found[1].delete_on_termination);
    let read = instance_as(&tags([("InstanceAs", "tenancy=host type=m5.large")])).unwrap();
    assert_eq!(read, InstanceAs { instance_type: Some("m5.large".into()), ..InstanceAs::default() });
    assert_eq!(instance_as(&tags([("InstanceAs", "tenancy=host")])), None);
    assert_eq!(instance_as(&Tags::new()), None);
}
