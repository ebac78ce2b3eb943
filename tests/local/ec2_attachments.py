"""Detaching volumes as EC2 does it: an instance need not be named where there is only one."""

from ec2_answers import answer
from ec2_refusal import refusal


class AttachmentCalls:
    """Stands before moto's EC2Response and answers this action in its place."""

    def detach_volume(self) -> str:
        self.error_on_dryrun()
        volume = self.ec2_backend.get_volume(self._get_param("VolumeId"))
        named, device = self._get_param("InstanceId"), self._get_param("Device")
        if named:
            self.ec2_backend.get_instance(named)
        if not volume.attachments:
            raise refusal("IncorrectState", f"Volume '{volume.id}' is in the '{volume.status}' state.")
        if not named and len(volume.attachments) > 1:
            # AWS documents that the instance is needed then, not what is said without it.
            raise refusal("MissingParameter", "The request must contain the parameter instanceId")
        found = [one for one in volume.attachments if named in (None, one.instance.id) and device in (None, one.device)]
        if not found:
            raise refusal(
                "InvalidAttachment.NotFound",
                f"The volume '{volume.id}' is not attached to instance '{named}' as device '{device}'.",
            )
        attachment = found[0]
        volume.attached.remove(attachment)
        attachment.instance.block_device_mapping.pop(attachment.device, None)
        return answer(
            "DetachVolume",
            {
                "volumeId": volume.id,
                "instanceId": attachment.instance.id,
                "device": attachment.device,
                "status": "detaching",
                "attachTime": attachment.attach_time,
            },
        )
