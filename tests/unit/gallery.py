"""Generated galleries of images with every kind of use, and what is to become of each, worked out another way than the
domain does: from how each image was drawn, one rule after the other."""

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from mayfly.domain.retirement import Ami, Image, RetirementPolicy, Stage, Step, Usage

NOW = datetime(2026, 11, 24, tzinfo=UTC)
POLICY = RetirementPolicy()
REGIONS = ("us-east-1", "eu-west-1", "eu-central-1", "us-west-2")
USES = (
    "instance",
    "launch template",
    "an old version of a launch template",
    "launch configuration",
    "Auto Scaling group",
    "stack parameter",
    "parameter",
    "recipe",
    "another account",
    "planned environment",
)
KINDS = ("free", "free", "used", "needed", "rolled back to", "unknown", "rejected")
WAITS = {Stage.AVAILABLE: 30, Stage.DEPRECATED: 14, Stage.DISABLED: 30}
NEXT = {Stage.AVAILABLE: Step.DEPRECATE, Stage.DEPRECATED: Step.DISABLE, Stage.DISABLED: Step.DEREGISTER}


@dataclass
class Gallery:
    """Images of one family and all that is known of them, with the step that each ami is due for."""

    images: list[Image] = field(default_factory=list)
    needed: dict[str, str] = field(default_factory=dict)
    usage: dict[str, Usage] = field(default_factory=dict)
    expected: dict[str, Step] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)


def gallery(count: int, seed: int) -> Gallery:
    """So many images, drawn with this seed. The newest five are kept for that, whatever else they are."""
    draw, made = random.Random(seed), Gallery()
    newest = sorted(draw.sample(range(count), min(POLICY.keep_newest, count)))
    for number in range(count):
        _add(made, draw, number, number in newest)
    draw.shuffle(made.images)
    return made


def _add(made: Gallery, draw: random.Random, number: int, newest: bool) -> None:
    kind = (
        "newest" if newest else draw.choice(["free", "free", "used", "needed", "rolled back to", "unknown", "rejected"])
    )
    # Everything else is older than the newest; rejected ones may be newer and count for nothing.
    days = draw.uniform(0, 1) if newest else draw.uniform(0 if kind == "rejected" else 2, 200)
    amis = []
    for region in REGIONS[: draw.randint(1, len(REGIONS))]:
        name = f"ami-{number:06x}{REGIONS.index(region):02x}"
        stage = draw.choice(list(Stage))
        # Seldom right on the edge of what is due, so that both sides of it are drawn.
        since = NOW - timedelta(days=draw.choice([WAITS[stage], draw.uniform(0, 60)]))
        stranger = stage is not Stage.AVAILABLE and draw.random() < 0.05
        protected = "it is protected by its tag" if draw.random() < 0.05 else ""
        amis.append(Ami(name, "222222222222", region, stage, None if stranger else since, protected))
    image = Image(amis[0].id, "base", NOW - timedelta(days=days), kind == "rejected", tuple(amis))
    made.images.append(image)
    made.kinds[image.id] = kind
    struck = draw.choice(amis)
    for ami in amis:
        uses = (draw.choice(USES),) if kind == "used" and ami is struck else ()
        doubts = ("AccessDenied",) if kind == "unknown" and ami is struck else ()
        made.usage[ami.id] = Usage(uses, doubts)
        made.expected[ami.id] = _expected(kind, days, ami)
    if kind == "unknown" and draw.random() < 0.5:
        # Nobody looked is no knowledge either.
        del made.usage[struck.id]
    if kind in ("needed", "rolled back to"):
        made.needed[struck.id] = f"stable {kind}"


def _expected(kind: str, days: float, ami: Ami) -> Step:
    if kind in ("newest", "used", "needed", "rolled back to"):
        return Step.KEEP if ami.stage is Stage.AVAILABLE else Step.RESTORE
    since = NOW - timedelta(days=days) if ami.stage is Stage.AVAILABLE else ami.since
    if kind == "unknown" or ami.protected or since is None:
        return Step.KEEP
    return NEXT[ami.stage] if NOW - since >= timedelta(days=WAITS[ami.stage]) else Step.KEEP
