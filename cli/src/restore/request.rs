//! What was asked for on the command line, as a request.

use domain::{
    ids::{InstanceId, Region},
    restore::request::{Action, Request, Target},
};

use crate::{args, trouble::Trouble};

/// The request; in the region that was connected to.
pub(super) fn request(asked: &args::Restore, region: Region) -> Result<Request, Trouble> {
    let args::Target { instance, volume, snapshot } = &asked.target;
    let target = match (instance, volume, snapshot) {
        (Some(instance), _, _) => Target::Instance(instance.clone()),
        (_, Some(volume), _) => Target::Volume(volume.clone()),
        (_, _, Some(snapshot)) => Target::Snapshot(snapshot.clone()),
        (None, None, None) => return Err(Trouble::Usage("say --instance, --volume or --snapshot".into())),
    };
    let args::Ending { attach, swap, replace_root, register_image } = &asked.ending;
    let of = |option: &str, named: &Option<InstanceId>| {
        let named = named.as_ref().or(instance.as_ref()).cloned();
        named.ok_or_else(|| {
            Trouble::Usage(format!("{option}: say the instance, as in {option} i-0123456789abcdef0, or use --instance"))
        })
    };
    let action = match (attach, swap, replace_root, register_image) {
        (Some(instance), _, _, _) => Action::Attach(instance.clone()),
        (_, Some(instance), _, _) => Action::Swap(of("--swap", instance)?),
        (_, _, Some(instance), _) => Action::ReplaceRoot(of("--replace-root", instance)?),
        (_, _, _, true) => Action::RegisterImage,
        _ => Action::MakeVolumes,
    };
    Ok(Request {
        at: asked.at.clone(),
        zone: asked.availability_zone.clone(),
        volume_type: asked.volume_type,
        iops: asked.iops,
        throughput: asked.throughput,
        kms_key: asked.kms_key.clone(),
        fast: asked.fast,
        action,
        architecture: asked.architecture.clone(),
        boot_mode: asked.boot_mode.clone(),
        backup: asked.backup,
        again: asked.again,
        instead_of: asked.instead_of.clone(),
        ..Request::new(region, target)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Arguments, Command};

    fn read(given: &str) -> Result<Result<Request, Trouble>, String> {
        let given = ["ebs-snapshots", "restore"].into_iter().chain(given.split_whitespace());
        let Command::Restore(asked) = Arguments::try_parse_from(given).map_err(|error| error.to_string())?.command
        else {
            unreachable!("it is a restore");
        };
        Ok(request(&asked, "us-east-1".parse().unwrap()))
    }

    fn good(given: &str) -> Request {
        read(given).unwrap().unwrap()
    }

    #[test]
    fn an_instance_that_is_restored_is_the_one_that_is_changed_unless_another_one_is_named() {
        let (own, other) = ("i-0a".parse().unwrap(), "i-0b".parse().unwrap());
        assert_eq!(good("--instance i-0a").action, Action::MakeVolumes);
        assert_eq!(good("--instance i-0a --swap").action, Action::Swap(own));
        assert_eq!(good("--instance i-0a --swap i-0b").action, Action::Swap(other));
        let other = "i-0b".parse().unwrap();
        assert_eq!(good("--volume vol-0a --replace-root i-0b").action, Action::ReplaceRoot(other));
        let refused = read("--volume vol-0a --swap").unwrap().unwrap_err();
        assert!(matches!(&refused, Trouble::Usage(why) if why.contains("--swap i-")), "{refused}");
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_is_allowed() {
        for (given, word) in [
            ("", "--instance"),
            ("--instance i-0a --volume vol-0a", "cannot be used with"),
            ("--instance i-0a --swap --register-image", "cannot be used with"),
            ("--instance i-0a --at yesterday", "newest"),
            ("--instance i-0a --type gp4", "gp3"),
            ("--instance i-0a --backup maybe", "Hold"),
            ("--instance i-0a --boot-mode uefi", "--register-image"),
        ] {
            let refused = read(given).unwrap_err();
            assert!(refused.contains(word), "{given}: {refused}");
        }
    }

    #[test]
    fn what_is_not_asked_for_is_left_to_the_snapshots() {
        let expected = Request::new("us-east-1".parse().unwrap(), Target::Snapshot("snap-0a".parse().unwrap()));
        assert_eq!(good("--snapshot snap-0a"), expected);
    }
}
