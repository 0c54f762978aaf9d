"""Blueprints as CloudFormation reads them, and the user data that their instances get."""

import json
import re
from pathlib import Path
from typing import Any

from cfnlint.decode import decode  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[1]
FLEET = ROOT / "blueprints/fleet.yaml"
SERVICE = ROOT / "blueprints/service.yaml"


def template(path: Path) -> dict[str, Any]:
    """The template with short forms written out (`!Ref x` is `{"Ref": "x"}`), as plain JSON values."""
    decoded, problems = decode(str(path))
    assert not problems
    plain: dict[str, Any] = json.loads(json.dumps(decoded))
    return plain


def user_data(**parameters: str) -> str:
    """The fleet's first-boot script as an instance gets it, with Fn::Sub resolved."""
    fleet = template(FLEET)
    data = fleet["Resources"]["LaunchTemplate"]["Properties"]["LaunchTemplateData"]
    defaults = {name: str(spec.get("Default", "")) for name, spec in fleet["Parameters"].items()}
    values = (
        defaults
        | {
            "EnvironmentId": "webshop-1-4-2-smoke-0a1b2c3d",
            "Application": "webshop",
            "CodeVersion": "1.4.2",
            "ArtifactLocation": "https://box.example/webshop-1.4.2.tgz",
            "AWS::StackId": "arn:aws:cloudformation:us-east-1:222222222222:stack/mayfly-x/1",
            "AWS::Region": "us-east-1",
        }
        | parameters
    )

    def resolve(match: re.Match[str]) -> str:
        name = match.group(1)
        return "${" + name[1:] + "}" if name.startswith("!") else values[name]

    script: str = data["UserData"]["Fn::Base64"]["Fn::Sub"]
    return re.sub(r"\$\{([^}]+)\}", resolve, script)
