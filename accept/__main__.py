"""`make accept`: Mayfly's first hour in an account of AWS, or on the local cloud (LOCAL=1).

Installs under a name of its own, tries every scenario, compares what happened with what the local cloud does, writes
`accept/reports/<place>.json` and `.md`, removes all it made, and says what it could not remove. REMOVE=1 only removes
what an earlier run has left that was killed.
"""

from __future__ import annotations

import os
import sys

from botocore.exceptions import BotoCoreError, ClientError

from accept import removing, report, running, spending
from accept.places import FAST, Aws, Local
from accept.running import Json, say
from local.install import ROOT


def main() -> int:
    """Runs as the environment says; returns the exit code."""
    if os.environ.get("LOCAL"):
        with Local(ROOT / ".local" / "accept", **FAST) as cloud:
            return conclude(running.accept(cloud))
    place = Aws()
    if os.environ.get("REMOVE"):
        left = removing.remove(place, say)
        say(f"left: {left}")
        return int(bool(left.left or left.unseen))
    return conclude(running.accept(place))


def conclude(done: Json) -> int:
    """Writes the report and the README's table; says what matters; returns the exit code."""
    for name, scenario in done["scenarios"].items():
        say(f"{scenario['outcome']:9} {name} {scenario['why']}")
    left = removing.Look(**done["left"])
    say(f"{len(done['differences'])} differences from the local cloud, as its report tells it")
    say(f"left: {left}")
    failed = [name for name, scenario in done["scenarios"].items() if scenario["outcome"] != running.PASSED]
    code = int(bool(failed or left.left or left.unseen))
    if done["place"] == "local":
        if code:
            say("its report stays as it was: only a run in which everything passes is one to compare others with")
            return code
        done = done | {"differences": []}
    report.write(done, report.REPORTS)
    report.renew()
    say(f"written: accept/reports/{done['place']}.md")
    return code


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (spending.TooExpensive, running.NotEmpty, ValueError, BotoCoreError, ClientError) as refused:
        sys.exit(f"accept: {refused}")
