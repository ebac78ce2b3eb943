"""Stopping and starting instances, which takes time, and their attributes that concern volumes."""

from moto.core.responses import EmptyResult

from ec2_answers import Shape, answer
from ec2_keys import is_usable
from ec2_refusal import refusal
from ec2_resources import STATE_CODES, FleetInstance, set_state
from ec2_state import WORLD


def state_shape(state: str) -> Shape:
    return {"code": STATE_CODES[state], "name": state}


def move(instance: FleetInstance, through: str, to: str) -> Shape:
    """An instance that goes to a state in time; the answer of the call that sent it there."""
    before = instance.state
    if before != to and before != through:
        set_state(instance, through)
        WORLD.later(WORLD.settings["instanceSeconds"], instance.id, lambda: arrive(instance, through, to))
    return {
        "instanceId": instance.id,
        "currentState": state_shape(instance.state),
        "previousState": state_shape(before),
    }


def arrive(instance: FleetInstance, through: str, to: str) -> None:
    if instance.state == through:
        set_state(instance, to if to != "running" or can_read_its_volumes(instance) else "stopped")


def can_read_its_volumes(instance: FleetInstance) -> bool:
    """With a volume whose key cannot be used an instance that starts stops again: EC2 user guide,
    "Troubleshoot instance launch issues", Client.InternalError."""
    backend = instance.ec2_backend
    volumes = [backend.volumes[block.volume_id] for _, block in instance.get_block_device_mapping]
    return all(is_usable(backend.region_name, volume.kms_key_id) for volume in volumes)


class InstanceCalls:
    """Stands before moto's EC2Response and answers these actions in its place."""

    def _named_instances(self) -> list[FleetInstance]:
        wanted = dict.fromkeys(self._get_param("InstanceIds", []))
        if not wanted:
            raise refusal("MissingParameter", "The request must contain the parameter InstanceId")
        return [self.ec2_backend.get_instance(identifier) for identifier in wanted]

    def stop_instances(self) -> str:
        self.error_on_dryrun()
        instances = self._named_instances()
        for instance in instances:
            if instance.root_device_type != "ebs":
                raise refusal(
                    "UnsupportedOperation",
                    f"The instance '{instance.id}' does not have an 'ebs' root device type and cannot be stopped.",
                )
            if instance.disable_api_stop:
                raise refusal(
                    "OperationNotPermitted",
                    f"The instance '{instance.id}' may not be stopped. "
                    "Modify its 'disableApiStop' instance attribute and try again.",
                )
            if instance.state not in ("running", "stopping", "stopped"):
                raise refusal(
                    "IncorrectInstanceState",
                    f"This instance '{instance.id}' is not in a state from which it can be stopped.",
                )
        return answer("StopInstances", {"instancesSet": [move(one, "stopping", "stopped") for one in instances]})

    def start_instances(self) -> str:
        self.error_on_dryrun()
        instances = self._named_instances()
        for instance in instances:
            if instance.state not in ("stopped", "pending", "running"):
                raise refusal(
                    "IncorrectInstanceState",
                    f"The instance '{instance.id}' is not in a state from which it can be started.",
                )
            if instance.state == "stopped" and instance.root_device_name not in instance.block_device_mapping:
                # The message is in AWS's VM Import guide; which code it has is not, and is that of OpenStack's EC2.
                raise refusal(
                    "InvalidParameterValue",
                    f"Invalid value '{instance.id}' for instanceId. Instance does not have a volume attached at root "
                    f"({instance.root_device_name})",
                )
        return answer("StartInstances", {"instancesSet": [move(one, "pending", "running") for one in instances]})

    def modify_instance_attribute(self) -> EmptyResult:
        """DeleteOnTermination of its volumes is done here, the rest by moto."""
        wanted = self._get_param("BlockDeviceMappings", [])
        if not wanted:
            return super().modify_instance_attribute()
        self.error_on_dryrun()
        blocks = self.ec2_backend.get_instance(self._get_param("InstanceId")).block_device_mapping
        for each in wanted:
            if each.get("DeviceName") not in blocks:
                raise refusal(
                    "InvalidInstanceAttributeValue", f"No device is currently mapped at {each.get('DeviceName')}"
                )
        for each in wanted:
            goes = each.get("Ebs", {}).get("DeleteOnTermination")
            if goes is not None:
                blocks[each["DeviceName"]].delete_on_termination = goes
        return EmptyResult()
