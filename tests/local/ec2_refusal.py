"""How EC2 refuses a call."""

from moto.ec2.exceptions import EC2ClientError


def refusal(code: str, message: str) -> EC2ClientError:
    return EC2ClientError(code, message)
