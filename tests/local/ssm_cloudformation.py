"""AWS::SSM::Document for MiniStack's CloudFormation, which does not know it: made in the local SSM (ssm.py).

Name and content decide as CloudFormation has it: another name, or another content
without UpdateMethod NewVersion, replaces the document; else it gets a new version,
which becomes the default one.
"""

import json
import os
import uuid
from typing import Any

Json = dict[str, Any]
KNOWN = {"Name", "Content", "DocumentType", "DocumentFormat", "TargetType", "UpdateMethod", "Tags"}


def client() -> Any:
    import boto3
    from ministack.core.responses import get_region

    return boto3.client(
        "ssm",
        region_name=get_region(),
        endpoint_url=os.environ["AWS_ENDPOINT_URL_SSM"],
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def name_of(logical_id: str, properties: Json, stack: str) -> str:
    return properties.get("Name") or f"{stack}-{logical_id}-{uuid.uuid4().hex[:12]}"


def text(properties: Json) -> str:
    content = properties["Content"]
    return content if isinstance(content, str) else json.dumps(content)


def create(logical_id: str, properties: Json, stack: str) -> tuple[str, Json]:
    unknown = set(properties) - KNOWN
    if unknown:
        raise ValueError(f"the local AWS::SSM::Document does not know {', '.join(sorted(unknown))}")
    name = name_of(logical_id, properties, stack)
    client().create_document(
        Name=name,
        Content=text(properties),
        DocumentType=properties.get("DocumentType", "Command"),
        DocumentFormat=properties.get("DocumentFormat", "JSON"),
        Tags=properties.get("Tags", []),
    )
    return name, {}


def update(physical_id: str, before: Json, after: Json, stack: str, logical_id: str | None = None) -> tuple[str, Json]:
    wanted = after.get("Name") or physical_id
    is_new = text(after) != text(before)
    if wanted != physical_id or (is_new and after.get("UpdateMethod") != "NewVersion"):
        if wanted == physical_id:
            raise ValueError(f"CloudFormation cannot update a document with a custom name: rename {wanted}")
        made = create(logical_id or physical_id, after, stack)
        delete(physical_id, before)
        return made
    if is_new:
        made = client().update_document(Name=physical_id, Content=text(after), DocumentVersion="$LATEST")
        version = made["DocumentDescription"]["DocumentVersion"]
        client().update_document_default_version(Name=physical_id, DocumentVersion=version)
    if after.get("Tags"):
        client().add_tags_to_resource(ResourceType="Document", ResourceId=physical_id, Tags=after["Tags"])
    return physical_id, {}


def delete(physical_id: str, _: Json) -> None:
    ssm = client()
    try:
        ssm.delete_document(Name=physical_id)
    except ssm.exceptions.InvalidDocument:
        return


def extend_ministack() -> None:
    from ministack.services.cloudformation import provisioners

    provisioners._RESOURCE_HANDLERS["AWS::SSM::Document"] = {
        "create": create,
        "update": update,
        "update_with_logical_id": True,
        "delete": delete,
    }
