"""Evaluates IAM policies against requests, with MiniStack's evaluator.

    python tests/local/simulate.py < REQUESTS

Run it with the MiniStack environment's Python. REQUESTS is JSON: "policy", a
policy document as GetRolePolicy answers it, and "cases", each with an "action",
a "resource" and the "context" keys of the request. It prints the decisions,
"Allow", "Deny" or "ImplicitDeny", as a JSON list. (SimulatePrincipalPolicy of
the local cloud leaves the context out, on which all depends here.)
"""

import html
import json
import sys
import urllib.parse
from typing import Any

from ministack.core.iam_evaluator import EvalContext, evaluate, parse_policy_document


def main() -> None:
    asked = json.load(sys.stdin)
    policy = parse_policy_document(urllib.parse.unquote(html.unescape(asked["policy"])))
    print(json.dumps([decision(policy, case) for case in asked["cases"]]))


def decision(policy: Any, case: dict[str, Any]) -> str:
    context = EvalContext(
        principal_arn="arn:aws:sts::000000000000:assumed-role/role/function",
        principal_type="AssumedRole",
        principal_account="000000000000",
        action=case["action"],
        resource_arn=case["resource"],
        region="eu-west-1",
        source_ip="127.0.0.1",
        secure_transport=True,
        service_context={key.lower(): value for key, value in case["context"].items()},
    )
    return evaluate(context, [policy]).decision


if __name__ == "__main__":
    main()
