"""Templates as CloudFormation reads them, and the user data that their instances get."""

import re
from functools import cache
from pathlib import Path
from typing import Any

from mayfly.contract.template import read

ROOT = Path(__file__).parents[1]
INSTALLATION = ROOT / "template.yaml"
FLEET = ROOT / "blueprints/fleet.yaml"
SERVICE = ROOT / "blueprints/service.yaml"


@cache
def template(path: Path) -> dict[str, Any]:
    """The template with short forms written out (`!Ref x` is `{"Ref": "x"}`), as plain JSON values: read once, nobody
    changes it."""
    return read(path.read_text())


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
