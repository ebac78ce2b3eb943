"""Replacing the root volume of a running instance, as a task that takes time.

EC2 user guide, "Replace the root volume for an Amazon EC2 instance", has the
rules; what is refused with which code is mostly not documented.
"""

from datetime import UTC, datetime
from typing import Any

from moto.ec2.models import EC2Backend
from moto.moto_api._internal import mock_random

from ec2_answers import Shape, answer, tag_set
from ec2_attachments import take_off
from ec2_images import known_image
from ec2_keys import is_usable
from ec2_refusal import asked_for, refusal
from ec2_resources import FleetInstance, SharedVolume, TimedSnapshot, forget
from ec2_state import WORLD
from ec2_volumes import begin, check_rate, completed_snapshot

# The bounds of a page here.
PAGE_SIZES = (1, 50)


class RootTask:
    """`volume` is the replacement; one that is made for the task is `made`."""

    def __init__(self, backend: EC2Backend, instance: FleetInstance, volume: SharedVolume, made: bool) -> None:
        self.id = f"replacevol-{mock_random.get_random_hex(17)}"
        self.ec2_backend, self.instance, self.volume, self.made = backend, instance, volume, made
        self.state = "pending"
        self.snapshot_id: str | None = None
        self.image_id: str | None = None
        self.deletes = False
        self.broken = WORLD.fault_of_kind("broken-task") is not None
        self.started, self.completed = datetime.now(UTC), None


def root_attachment(instance: FleetInstance) -> Any:
    block = instance.block_device_mapping[instance.root_device_name]
    volume = instance.ec2_backend.volumes[block.volume_id]
    return next(each for each in volume.attached if each.instance is instance)


def later(task: RootTask, act: Any) -> None:
    WORLD.later(WORLD.settings["rootTaskSeconds"], task.id, lambda: act(task))


def exchange(task: RootTask) -> None:
    """The replacement is there: the instance is rebooted with it, or the task fails and nothing changes."""
    volume = task.volume
    is_there = volume.id in task.ec2_backend.volumes and not volume.attached
    if is_there and volume.state == "creating":
        WORLD.hurry(volume.id)
        later(task, exchange)
        return
    key_works = is_usable(task.ec2_backend.region_name, volume.kms_key_id)
    good = is_there and volume.state == "available" and key_works and task.instance.state == "running"
    task.state = "in-progress" if good and not task.broken else "failing"
    later(task, succeed if task.state == "in-progress" else fail)


def succeed(task: RootTask) -> None:
    instance, backend = task.instance, task.ec2_backend
    old = root_attachment(instance)
    goes = instance.block_device_mapping[old.device].delete_on_termination
    take_off(old)
    backend.attach_volume(task.volume.id, instance.id, old.device, goes)
    if task.image_id:
        instance.image_id = task.image_id
    if task.deletes:
        forget(backend, backend.volumes, old.volume.id)
    task.state, task.completed = "succeeded", datetime.now(UTC)


def fail(task: RootTask) -> None:
    backend = task.ec2_backend
    if task.made and task.volume.id in backend.volumes:
        forget(backend, backend.volumes, task.volume.id)
    task.state, task.completed = "failed", datetime.now(UTC)


def task_shape(task: RootTask) -> Shape:
    return {
        "replaceRootVolumeTaskId": task.id,
        "instanceId": task.instance.id,
        "taskState": task.state,
        "startTime": task.started,
        "completeTime": task.completed,
        "snapshotId": task.snapshot_id,
        "imageId": task.image_id,
        "deleteReplacedRootVolume": task.deletes,
        "tagSet": tag_set(task.ec2_backend, task.id),
    }


FIELDS = {"instance-id": lambda one: one.instance.id}


class RootVolumeCalls:
    """Stands before moto's EC2Response, with the parts of RequestCalls and DescribeCalls, and answers these actions."""

    def create_replace_root_volume_task(self) -> str:
        self.error_on_dryrun()
        [tags] = self._specified_tags("replace-root-volume-task")
        task = self._made_before("CreateReplaceRootVolumeTask")
        if task is None:
            task = self._begin_task()
            self.ec2_backend.tags[task.id] = tags
            self._remember("CreateReplaceRootVolumeTask", task)
        return answer("CreateReplaceRootVolumeTask", {"replaceRootVolumeTask": task_shape(task)})

    def _begin_task(self) -> RootTask:
        backend = self.ec2_backend
        instance = backend.get_instance(self._get_param("InstanceId"))
        if instance.state != "running":
            raise refusal("IncorrectInstanceState", f"The instance '{instance.id}' is not in the 'running' state.")
        if instance.root_device_name not in instance.block_device_mapping:
            raise refusal("UnsupportedOperation", f"The instance '{instance.id}' has no EBS root volume.")
        sources = {name: self._get_param(name) for name in ("SnapshotId", "ImageId", "VolumeId")}
        if len([value for value in sources.values() if value]) > 1:
            raise refusal(
                "InvalidParameterCombination", "Only one of SnapshotId, ImageId and VolumeId can be specified."
            )
        root, rate = root_attachment(instance).volume, self._get_param("VolumeInitializationRate")
        if sources["VolumeId"]:
            if rate is not None:
                raise refusal(
                    "InvalidParameterCombination",
                    "VolumeInitializationRate cannot be specified together with VolumeId.",
                )
            task = RootTask(backend, instance, self._given_volume(sources["VolumeId"], instance, root), made=False)
        else:
            task = self._task_with_new_volume(instance, root, sources["SnapshotId"], sources["ImageId"], rate)
        task.deletes = bool(self._get_param("DeleteReplacedRootVolume", False))
        WORLD.serial(task.id)
        WORLD.root_tasks.setdefault(self.region, {})[task.id] = task
        later(task, exchange)
        return task

    def _task_with_new_volume(
        self, instance: FleetInstance, root: SharedVolume, snapshot: str | None, image: str | None, rate: int | None
    ) -> RootTask:
        if snapshot:
            source = self._snapshot_of_a_root(snapshot, instance, root)
        elif image:
            source = self._snapshot_of_image(image, instance)
        else:
            source = completed_snapshot(self.ec2_backend, root.snapshot_id or "")
        if rate is not None:
            check_rate(self.ec2_backend, rate)
        encrypted = root.encrypted or source.encrypted
        volume = begin(
            self.ec2_backend,
            root.zone,
            max(root.size, source.volume.size),
            root.volume_type,
            source,
            iops=root.iops,
            throughput=root.throughput,
            encrypted=encrypted,
            kms_key_id=(source.kms_key_id or root.kms_key_id) if encrypted else None,
        )
        volume.initialization_rate = rate
        task = RootTask(self.ec2_backend, instance, volume, made=True)
        task.snapshot_id, task.image_id = snapshot, image
        return task

    def _snapshot_of_a_root(self, identifier: str, instance: FleetInstance, root: SharedVolume) -> TimedSnapshot:
        """A copy says of no volume that it is its own, and is refused."""
        snapshot = completed_snapshot(self.ec2_backend, identifier)
        if snapshot.volume.id not in (root.id, *WORLD.former_roots.get(instance.id, [])):
            raise refusal(
                "InvalidParameterValue",
                f"Invalid snapshot for root volume for virt {instance.id}. The snapshot should be of one of "
                "the root volumes attached to the instance in the past",
            )
        return snapshot

    def _snapshot_of_image(self, identifier: str, instance: FleetInstance) -> TimedSnapshot:
        image = known_image(self.region, identifier)
        if image.state != "available":
            raise refusal("InvalidAMIID.Unavailable", f"The image ID '{identifier}' is not available")
        if image.architecture != instance.architecture:
            raise refusal(
                "InvalidParameterValue",
                f"The architecture '{image.architecture}' of the image is not that of the instance, "
                f"'{instance.architecture}'.",
            )
        return completed_snapshot(self.ec2_backend, image.root_snapshot)

    def _given_volume(self, identifier: str, instance: FleetInstance, root: SharedVolume) -> SharedVolume:
        volume = self.ec2_backend.get_volume(identifier)
        if volume.availability_zone != instance.availability_zone:
            raise refusal(
                "InvalidVolume.ZoneMismatch",
                f"The volume '{volume.id}' is not in the same availability zone as instance '{instance.id}'",
            )
        if volume.attached:
            raise refusal("VolumeInUse", f"{volume.id} is already attached to an instance")
        if volume.status != "available":
            raise refusal("IncorrectState", f"{volume.id} is not 'available'.")
        if root.encrypted and not volume.encrypted:
            raise refusal("InvalidParameterValue", f"The root volume is encrypted, and the volume {volume.id} is not.")
        return volume

    def describe_replace_root_volume_tasks(self) -> str:
        self.error_on_dryrun()
        found = asked_for(
            WORLD.root_tasks.get(self.region, {}).values(),
            self._get_param("ReplaceRootVolumeTaskIds", []),
            "InvalidReplaceRootVolumeTaskId.NotFound",
            "The replaceRootVolumeTaskId '{}' does not exist",
        )
        shown, token = self._page_of(found, FIELDS, PAGE_SIZES)
        return answer(
            "DescribeReplaceRootVolumeTasks",
            {"replaceRootVolumeTaskSet": list(map(task_shape, shown)), "nextToken": token},
        )
