"""What EBS allows of a volume's size, IOPS and throughput, by its type.

The numbers are those of the API's CreateVolume and of the EBS user guide's
"Amazon EBS volume types"; the messages are those that EC2 is seen to send.
"""

from typing import NamedTuple

from ec2_refusal import refusal


class Limits(NamedTuple):
    """GiB, IOPS and IOPS per GiB; a type without provisioned IOPS has no limits of them."""

    size: tuple[int, int]
    iops: tuple[int, int] | None = None
    iops_per_gib: int = 0


TYPES = {
    "gp2": Limits((1, 16384)),
    "gp3": Limits((1, 65536), (3000, 80000), 500),
    "io1": Limits((4, 16384), (100, 64000), 50),
    "io2": Limits((4, 65536), (100, 256000), 1000),
    "st1": Limits((125, 16384)),
    "sc1": Limits((125, 16384)),
    "standard": Limits((1, 1024)),
}
DEFAULT_TYPE = "gp2"
GP3_IOPS, GP3_THROUGHPUT = 3000, 125
MAX_GP3_THROUGHPUT = 2000
GP3_THROUGHPUT_PER_IOPS = 0.25
MAX_GP2_IOPS, MIN_GP2_IOPS, GP2_IOPS_PER_GIB = 16000, 100, 3
MULTI_ATTACH_TYPES = ("io1", "io2")


def wrong(message: str) -> Exception:
    return refusal("InvalidParameterValue", message)


def check(kind: str, size: int, iops: int | None, throughput: int | None) -> None:
    """Refuses what EBS refuses."""
    limits = TYPES.get(kind)
    if limits is None:
        raise refusal("UnknownVolumeType", f"Unsupported volume type '{kind}' for volume creation.")
    least, most = limits.size
    if size < least:
        raise wrong(f"Volume of {size}GiB is too small for volume type {kind}; minimum is {least}GiB.")
    if size > most:
        raise wrong(f"Volume of {size}GiB is too large for volume type {kind}; maximum is {most}GiB.")
    check_iops(kind, limits, size, iops)
    if throughput is None:
        return
    if kind != "gp3":
        raise refusal("InvalidParameterCombination", "throughput can only be specified for volumeType gp3.")
    if throughput < GP3_THROUGHPUT:
        raise wrong(f"Throughput of {throughput} is too low; minimum is {GP3_THROUGHPUT} MiBps.")
    if throughput > MAX_GP3_THROUGHPUT:
        raise wrong(f"Throughput of {throughput} is too high; maximum is {MAX_GP3_THROUGHPUT} MiBps.")
    ratio = throughput / (iops or GP3_IOPS)
    if ratio > GP3_THROUGHPUT_PER_IOPS:
        raise wrong(
            f"Throughput (MiBps) to iops ratio of {ratio:.6f} is too high; "
            f"maximum is {GP3_THROUGHPUT_PER_IOPS:.6f} MiBps per iops"
        )


def check_iops(kind: str, limits: Limits, size: int, iops: int | None) -> None:
    if limits.iops is None:
        if iops is not None:
            raise refusal("InvalidParameterCombination", f"The parameter iops is not supported for {kind} volumes.")
        return
    if iops is None:
        if kind != "gp3":
            raise refusal("MissingParameter", "The request must contain the parameter iops")
        return
    least, most = limits.iops
    if iops < least:
        raise wrong(f"Volume iops of {iops} is too low; minimum is {least}.")
    if iops > most:
        raise wrong(f"Volume iops of {iops} is too high; maximum is {most}.")
    # gp3's 3,000 come with every size.
    if iops > size * limits.iops_per_gib and not (kind == "gp3" and iops == GP3_IOPS):
        raise wrong(
            f"Iops to volume size ratio of {iops / size:.6f} is too high; "
            f"maximum is {limits.iops_per_gib:.6f} iops per GiB"
        )


def performance(kind: str, size: int, iops: int | None, throughput: int | None) -> tuple[int | None, int | None]:
    """The IOPS and throughput that a volume has and that EC2 tells of it."""
    if kind == "gp3":
        return iops or GP3_IOPS, throughput or GP3_THROUGHPUT
    if kind == "gp2":
        return min(MAX_GP2_IOPS, max(MIN_GP2_IOPS, GP2_IOPS_PER_GIB * size)), None
    return iops, None
