"""Writes resource_types.json in the layer, from the resource types' schemas that cfn-lint ships: of each type, the
property that names it for its whole account or Region, and the call that makes it where the service role of
blueprints/workload-account.yaml may not do that. `mayfly blueprint check` reads it; a test holds it to be current."""

import json
import re
from difflib import SequenceMatcher
from functools import partial
from pathlib import Path
from typing import Any

from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

from mayfly.contract.template import read

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "layers" / "mayfly" / "mayfly" / "resource_types.json"
REGION = "us-east-1"
BESIDES = re.compile(
    r"^(kms|iam:PassRole|iam:CreateServiceLinkedRole)"
    r"|:(Describe|Get|List|Tag|AddTags|CreateTags|BatchGet|Check|Update|Modify|Replace|Delete|PATCH|PUT$)",
    re.IGNORECASE,
)
"""Calls that look, tag, change what is there, or are made for what a resource refers to."""


def permitted() -> list[re.Pattern[str]]:
    """What the service role of disposable environments may do, as patterns."""
    resources = read((ROOT / "blueprints" / "workload-account.yaml").read_text())["Resources"]
    policies = [resources[name]["Properties"]["PolicyDocument"] for name in ("BuildPolicy", "IdentityPolicy")]
    statements = [one for policy in policies for one in policy["Statement"] if one["Effect"] == "Allow"]
    actions = [a for one in statements for a in ([one["Action"]] if isinstance(one["Action"], str) else one["Action"])]
    return [re.compile(re.escape(action).replace(r"\*", ".*"), re.IGNORECASE) for action in actions]


def lacking(kind: str, schema: dict[str, Any], may: list[re.Pattern[str]]) -> str:
    """The call that makes a resource of this type, where the service role may make none of its handler's calls: the
    one that is called most like it."""
    listed = (schema.get("handlers") or {}).get("create", {}).get("permissions", [])
    calls = [action for action in listed if not BESIDES.search(action)]
    made = max(calls, key=partial(_likeness, f"Create{kind.rpartition('::')[2]}"), default="")
    same = [call for call in calls if call.partition(":")[0] == made.partition(":")[0]]
    return "" if any(pattern.fullmatch(call) for call in same for pattern in may) else made


def _likeness(wanted: str, action: str) -> float:
    return SequenceMatcher(None, wanted.lower(), action.partition(":")[2].lower()).ratio()


def naming(schema: dict[str, Any]) -> str:
    """The property that names a resource, "" where AWS gives it an id of its own, or another resource is part of it."""
    made_by_aws = set(schema.get("readOnlyProperties") or ())
    identity = schema.get("primaryIdentifier") or ()
    return identity[0].rpartition("/")[2] if len(identity) == 1 and identity[0] not in made_by_aws else ""


OF_AN_ARN = {
    "AWS::ElasticLoadBalancingV2::LoadBalancer": "Name",
    "AWS::ElasticLoadBalancingV2::TargetGroup": "Name",
    "AWS::SQS::Queue": "QueueName",
    "AWS::SNS::Topic": "TopicName",
    "AWS::EC2::LaunchTemplate": "LaunchTemplateName",
    "AWS::StepFunctions::StateMachine": "StateMachineName",
    "AWS::SecretsManager::Secret": "Name",
    "AWS::EC2::KeyPair": "KeyName",
    "AWS::IAM::ManagedPolicy": "ManagedPolicyName",
    "AWS::KMS::Alias": "AliasName",
}
"""Types that AWS knows by an ARN or id, and whose name must differ all the same."""


def table() -> dict[str, list[str]]:
    """Each resource type: its name's property, and the call that makes it where the service role may not."""
    may = permitted()
    found = {}
    for kind in sorted(PROVIDER_SCHEMA_MANAGER.get_resource_types(REGION)):
        schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, kind).schema
        found[kind] = [OF_AN_ARN.get(kind) or naming(schema), lacking(kind, schema, may)]
    return {kind: said for kind, said in found.items() if any(said)}


if __name__ == "__main__":
    lines = (f"{json.dumps(kind)}: {json.dumps(said)}" for kind, said in table().items())
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
