"""What EC2 does with the pre-signed URL of a copy: it makes the same call, in
the source region, in the caller's name.

So the URL has to be that very call, on that region's host and signed for it. A
signature is not recomputed here: callers of the local cloud have no secrets.
"""

import re
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlsplit

MAX_BYTES = 8192
HOST_SUFFIXES = ("amazonaws.com", "amazonaws.com.cn")
# What must be beside the call's own parameters, and how it looks.
SIGNATURE = {
    "X-Amz-Algorithm": r"AWS4-HMAC-SHA256",
    "X-Amz-Credential": r"[^/]+/\d{8}/{region}/ec2/aws4_request",
    "X-Amz-Date": r"\d{8}T\d{6}Z",
    "X-Amz-Expires": r"[1-9]\d*",
    "X-Amz-SignedHeaders": r"([a-z0-9-]+;)*host(;[a-z0-9-]+)*",
    "X-Amz-Signature": r"[0-9a-f]{64}",
}


def facts(call: dict[str, str]) -> dict[str, Any]:
    """What the call log says of the URL among a copy's parameters. It is a
    credential, and is itself never written down."""
    url = call.get("PresignedUrl", "")
    parts, query = urlsplit(url), dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))
    own = {name: value for name, value in query.items() if not name.startswith("X-Amz-")}
    return {
        "presigned": bool(url),
        "presignedAction": query.get("Action") == "CopySnapshot",
        "presignedSignature": is_signed_for(call.get("SourceRegion", ""), parts, query),
        "presignedParameters": own == {name: value for name, value in call.items() if name != "PresignedUrl"},
        "presignedBytes": len(url.encode()),
    }


def is_signed_for(region: str, parts: SplitResult, query: dict[str, str]) -> bool:
    if parts.scheme != "https" or parts.netloc not in [f"ec2.{region}.{suffix}" for suffix in HOST_SUFFIXES]:
        return False
    return all(
        re.fullmatch(pattern.replace("{region}", re.escape(region)), query.get(name, ""))
        for name, pattern in SIGNATURE.items()
    )


def is_good(found: dict[str, Any]) -> bool:
    return all(found[name] for name in ("presignedAction", "presignedSignature", "presignedParameters"))
