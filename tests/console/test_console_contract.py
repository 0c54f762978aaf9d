"""The fake API answers in the shapes of the real one: what the console makes of the one, it makes of the other."""

import pytest
from pydantic import TypeAdapter

from tests.console.fake_api import shapes

READS = {
    "me": "Me",
    "environments": "Environments",
    "environments/ENVIRONMENT": "WholeEnvironment",
    "environments/ENVIRONMENT/instances/INSTANCE/console": "ConsoleOutput",
    "releases": "Releases",
    "releases/RELEASE": "WholeRelease",
    "releases/RELEASE/since/RELEASE": "ReleaseDifferences",
    "applications": "Applications",
    "applications/webshop/configuration": "Configuration",
    "images": "Images",
    "images/ami-0c9e8d7f6a5b4c3d2/since/ami-0b2c4d6e8f0a1b2c3": "Differences",
    "bakes/BAKE": "WholeBake",
    "services": "Services",
    "rollouts": "Rollouts",
    "rollouts/payments-production-12": "Rollout",
    "sweeps": "Sweeps",
    "SWEEP": "Report",
    "dead-letters": "DeadLetters",
    "dead-letters/dl-0000000000000001": "WholeDeadLetter",
    "kill-switch": "SwitchState",
    "costs": "Costs",
}


@pytest.mark.parametrize("path", READS)
def test_what_the_fake_answers_is_what_the_api_says_that_it_answers(fake, path):
    names = {"ENVIRONMENT": next(iter(fake.world.environments)), "RELEASE": next(iter(fake.world.releases))}
    names["INSTANCE"] = fake.world.environments[names["ENVIRONMENT"]]["instances"][0]["id"]
    names["BAKE"] = fake.world.families[0]["bakes"][0]["id"]
    names["SWEEP"] = fake.world.sweeps[0]["key"].removesuffix(".json")
    asked = "/".join(names.get(part, part) for part in path.split("/"))
    _, said = fake.call("GET", asked, {}, {}, "operator")
    # Whatever the shape does not name is dropped, and missed here.
    assert TypeAdapter(getattr(shapes, READS[path])).validate_python(said) == said


def test_what_the_fake_finds_in_a_template_has_the_api_s_shape(fake):
    _, said = fake.call("POST", "blueprints/check", {}, {"application": "webshop"}, "developer")
    assert said["remarks"]
    assert TypeAdapter(shapes.CheckedBlueprint).validate_python(said) == said
