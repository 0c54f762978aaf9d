"""A made-up installation: releases, environments, images, rollouts, sweeps, as the API tells of them.

Everything follows from a seed and the moment it begins at, so that a screen looks the same each time.
"""

import hashlib
import random
import time
from datetime import UTC, datetime, timedelta
from typing import Any

type Json = dict[str, Any]

APPLICATIONS = (
    ("webshop", "team-shop@example.com", 45, ("smoke", "checkout", "load", "explore")),
    ("payments", "team-payments@example.com", 48, ("smoke", "settlement", "explore")),
    ("search", "team-search@example.com", 60, ("smoke", "relevance")),
    ("mailer", "team-mail@example.com", 12, ("smoke",)),
)
MANUAL = "explore"
HOURLY = 0.0208
"""US$ an hour of one instance, a t3.small with its volume."""
REGIONS = ("us-east-1", "eu-west-1")
WHO = {"viewer": "vera@example.com", "developer": "dora@example.com", "operator": "olga@example.com"}


def text(moment: datetime) -> str:
    """A moment as the API writes it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def line(at: datetime, who: str, what: str, why: str) -> Json:
    """One line of a history."""
    return {"at": text(at), "who": who, "what": what, "why": why}


class World:
    """What the fake API knows. Tests may change anything in it."""

    def __init__(self, now: datetime, environments: int = 40, seed: int = 7) -> None:
        self._began, self._ticks = now, time.monotonic()
        self.chance = random.Random(seed)
        self.environments: dict[str, Json] = {}
        self.releases: dict[str, Json] = {}
        self.kill_switch: Json = {"on": False, "why": ""}
        self.applications = [self._application(*facts) for facts in APPLICATIONS]
        self.configurations = {one["name"]: self._configuration(one) for one in self.applications}
        number = 0
        while len(self.environments) < environments:
            application = self.applications[number % len(self.applications)]
            self.push(application, f"{2 + number // 40}.{number % 40}.{self.chance.randrange(9)}", self._age(number))
            number += 1
        for extra in list(self.environments)[environments:]:
            del self.environments[extra]
        self.families = [self._family()]
        self.contents = _contents()
        self.services, self.rollouts = self._services()
        self.dead_letters = [self._dead_letter(number) for number in range(7)]
        self.sweeps = [self._sweep(minutes) for minutes in range(5, 125, 5)]

    @property
    def now(self) -> datetime:
        """Its time, which goes on."""
        return self._began + timedelta(seconds=time.monotonic() - self._ticks)

    def advance(self, by: timedelta) -> None:
        """Moves its time on."""
        self._began += by

    def _age(self, number: int) -> timedelta:
        return timedelta(minutes=min(23 * 60, 3 + number * self.chance.randrange(20, 70)))

    def _application(self, name: str, owner: str, instances: int, suites: tuple[str, ...]) -> Json:
        return {
            "name": name,
            "owner": owner,
            "suites": [
                {"name": each, "kind": "manual" if each == MANUAL else "automated", "manual": each == MANUAL}
                for each in suites
            ],
            "instance_count": instances,
            "image": {"family": "base", "channel": "stable"},
            "lifetime_minutes": 1440,
            "ceiling_minutes": 4320,
            "parameters": {"InstanceType": "t3.small"},
        }

    def _configuration(self, application: Json) -> list[Json]:
        """The versions of an application's configuration, the newest first."""
        known = ("owner", "image", "instance_count", "parameters")
        first: Json = {**{name: application[name] for name in known}, "blueprint": "fleet.yaml"}
        script: Json = {"type": "command", "script": "/opt/shop/tests/smoke", "minutes": 20}
        second = first | {"instance_count": 45, "suites": [{"name": "smoke", "runner": script}, {"name": "explore"}]}
        return [
            {"version": 2, "at": text(self.now), "by": "olga@example.com", "why": "tests start", "document": second},
            {
                "version": 1,
                "at": text(self.now - timedelta(days=3)),
                "by": "sam@example.com",
                "why": "mayfly app",
                "document": first | {"suites": [{"name": "smoke"}]},
            },
        ]

    def push(self, application: Json, version: str, age: timedelta = timedelta(), attempt: int = 1, **more: Any) -> str:
        """A release of this age, with its environments at the stages they have reached by then; returns its id."""
        at = self.now - age
        digest = hashlib.sha256(f"{application['name']}{version}{attempt}".encode()).hexdigest()
        release = f"{application['name']}-{version.replace('.', '-')}-{digest[:8]}"
        by = more.get("pushed_by", self.chance.choice(("ci.example.com", "dora@example.com", "sam@example.com")))
        self.releases[release] = {
            "id": release,
            "application": application["name"],
            "version": version,
            "attempt": attempt,
            "commit": more.get("commit", digest[8:48]),
            "artifact": more.get("artifact", f"s3://artifacts-of-example/{application['name']}-{version}.tgz"),
            "pushed_by": by,
            "pushed_at": text(at),
            "stage": "running",
            "image": "ami-0b2c4d6e8f0a1b2c3",
            "suites": [],
            "history": [
                line(at, by, "Code Version Pushed", f"{application['name']} {version}"),
                line(at + timedelta(seconds=4), "plan_release", "planned", f"{len(application['suites'])} suites"),
            ],
        }
        for suite in application["suites"]:
            self._environment(release, application, version, suite, at)
        return release

    def _environment(self, release: str, application: Json, version: str, suite: Json, at: datetime) -> None:
        age = (self.now - at).total_seconds()
        name = f"{release}-{suite['name']}"
        lifetime = self.chance.choice((1440, 1440, 1440, 480, 240))
        # A manual suite waits for a person; an automated one that is old has overrun, or is being ended.
        deadline = max(
            at + timedelta(minutes=lifetime), self.now - timedelta(minutes=self.chance.choice((-90, -40, 8)))
        )
        stage = "planned" if age < 30 else "creating" if age < 600 else "awaiting tests"
        if stage == "awaiting tests" and self.chance.random() < 0.12:
            stage = "terminating"
        wanted = application["instance_count"]
        built = wanted if age >= 600 else int(wanted * max(0.0, age - 60) / 600)
        outcome = self.chance.choice(("passed", "passed", "failed")) if stage == "terminating" else None
        history = [line(at + timedelta(seconds=5), "plan_environment", "planned", f"until {text(deadline)}")]
        if age > 30:
            history.append(line(at + timedelta(seconds=31), "create_environment", "creating", "the stack is new"))
        if age >= 600:
            ready = f"{wanted} of {wanted} instances run and have signalled"
            history.append(line(at + timedelta(seconds=560), "confirm_ready", "ready", ready))
        if outcome:
            history.append(line(self.now - timedelta(minutes=2), "ci.example.com", "Test Finished", f"tests {outcome}"))
        self.environments[name] = {
            "id": name,
            "application": application["name"],
            "version": version,
            "suite": suite["name"],
            "kind": suite["kind"],
            "release": release,
            "owner": application["owner"],
            "account": "222222222222",
            "region": self.chance.choice(REGIONS),
            "stage": stage,
            "planned_at": text(at),
            "deadline": text(deadline),
            "ceiling": text(max(deadline, at + timedelta(minutes=4320))),
            "image": "ami-0b2c4d6e8f0a1b2c3" if self.chance.random() < 0.8 else "ami-0a1b2c3d4e5f60718",
            "channel": "base/stable",
            "instance_count": wanted,
            "instances_built": built,
            "instance_type": "t3.small",
            "usd_per_hour": round(HOURLY * wanted, 4),
            "hourly_rate": round(HOURLY * wanted, 4),
            "history": history,
            "outputs": {
                "LoadBalancer": f"http://{suite['name']}.internal.example.com/",
                "VpcId": "vpc-0a1b2c3d4e5f60718",
            },
            "instances": [
                {"id": f"i-0a1b2c3d4e5f60{number:03}", "link": "https://us-east-1.console.aws.amazon.com/ec2/home"}
                for number in range(built)
            ],
            "links": {
                "stack": "https://us-east-1.console.aws.amazon.com/cloudformation/home",
                "execution": "https://us-east-1.console.aws.amazon.com/states/home",
            },
            "spans": [
                {"name": "plan", "seconds": 4},
                {"name": "stack", "seconds": 130},
                {"name": "puppet", "seconds": 61},
            ],
            "slowest": [{"name": "AWS::EC2::NatGateway", "seconds": 95}],
            "not_launched": [],
            "kept": [],
            "handed_over": "",
            "report": None,
            "log": None,
            "tests": None,
        }
        if outcome:
            ending = {"by": "tests", "outcome": outcome, "reason": f"the tests {outcome}"}
            self.environments[name]["ending"] = ending
        self.releases[release]["suites"].append(
            {
                "suite": suite["name"],
                "environment": name,
                "attempts": 1,
                **({"outcome": outcome} if outcome else {}),
            }
        )

    def usd(self, one: Json) -> float:
        """What an environment has cost so far."""
        return round(
            one["usd_per_hour"] * (self.now - datetime.fromisoformat(one["planned_at"])).total_seconds() / 3600, 4
        )

    def _family(self) -> Json:
        def image(n: int, name: str, stage: str) -> Json:
            checks = [{"name": check, "command": "true"} for check in CHECKS]
            made = text(self.now - timedelta(hours=20 * n + 3))
            facts = {"image": name, "bake": f"base-{n}f2a9c1e", "stage": stage, "region": "us-east-1"}
            return {**facts, "created_at": made, "checks": checks}

        images = [
            image(0, "ami-0c9e8d7f6a5b4c3d2", "proven"),
            image(1, "ami-0b2c4d6e8f0a1b2c3", "proven"),
            image(2, "ami-0a1b2c3d4e5f60718", "proven"),
            image(3, "ami-0f1e2d3c4b5a69788", "rejected"),
            image(4, "ami-01234567890abcdef", "proven") | {"retirement": "deprecated"},
        ]
        moves = [
            line(self.now - timedelta(days=2), "policy", "promoted", "3 releases passed on ami-0a1b2c3d4e5f60718"),
            line(self.now - timedelta(hours=6), "olga@example.com", "promoted", "openssl fix for CVE-2026-1234"),
        ]
        stable = {
            "name": "stable",
            "image": "ami-0b2c4d6e8f0a1b2c3",
            "regions": {"us-east-1": "ami-0b2c4d6e8f0a1b2c3", "eu-west-1": "ami-0b2c4d6e8f0a1b2c4"},
            "version": 12,
            "moved_at": text(self.now - timedelta(hours=6)),
            "previous": [{"image": "ami-0a1b2c3d4e5f60718"}],
            "history": moves,
            "instances": {"ami-0b2c4d6e8f0a1b2c3": 1416, "ami-0a1b2c3d4e5f60718": 189},
            "on_old_images": 189,
            "hours": 5.4,
        }
        candidate = {
            **stable,
            "name": "candidate",
            "image": "ami-0c9e8d7f6a5b4c3d2",
            "regions": {"us-east-1": "ami-0c9e8d7f6a5b4c3d2"},
            "version": 31,
            "moved_at": text(self.now - timedelta(hours=2)),
            "previous": [{"image": "ami-0b2c4d6e8f0a1b2c3"}],
            "instances": {"ami-0c9e8d7f6a5b4c3d2": 45},
            "on_old_images": 0,
            "hours": 0,
        }
        bakes = [
            ("base-9d8c7b6a", "building", "new Puppet code 4.12.0", "ci.example.com", None, 0.3),
            ("base-0f2a9c1e", "proven", "monthly base image", "sns", "ami-0c9e8d7f6a5b4c3d2", 3),
            ("base-3f2a9c1e", "rejected", "new Puppet code 4.11.2", "ci.example.com", "ami-0f1e2d3c4b5a69788", 63),
        ]
        return {
            "family": "base",
            "channels": [candidate, stable],
            "images": images,
            "bakes": [
                {
                    "id": name,
                    "family": "base",
                    "stage": stage,
                    "why": why,
                    "requested_by": by,
                    "at": text(self.now - timedelta(hours=hours)),
                    **({"image": made} if made else {}),
                    **({"reason": "the proof failed: service port"} if stage == "rejected" else {}),
                }
                for name, stage, why, by, made, hours in bakes
            ],
        }

    def _services(self) -> tuple[list[Json], list[Json]]:
        old, new = (
            {"image": "ami-0a1b2c3d4e5f60718", "version": "2.14.3"},
            {"image": "ami-0b2c4d6e8f0a1b2c3", "version": "2.14.3"},
        )
        later = {"image": "ami-0b2c4d6e8f0a1b2c3", "version": "2.15.0"}
        before = {"image": "ami-0f1e2d3c4b5a69788", "version": "2.14.2"}

        def rollout(name: str, stage: str, percent: int, change: tuple[Json, Json], **more: Any) -> Json:
            hours, service, why = more.pop("hours", 1), name.rpartition("-")[0], "the image is a new one"
            began = self.now - timedelta(hours=hours)
            stages = [stage] if stage == "awaiting approval" else ["running", "replacing", stage]
            marks = [
                {
                    "percent": mark,
                    **({"reached_at": text(began + timedelta(minutes=mark // 2 + 5))} if mark <= percent else {}),
                }
                for mark in (10, 50, 100)
            ]
            return {
                "id": name,
                "service": service,
                "application": service.split("-")[0],
                "stage": stage,
                "why": why,
                "from": change[0],
                "to": change[1],
                "checkpoints": marks,
                "percent": percent,
                "started_at": text(began),
                "history": [line(began, "plan", each, why) for each in dict.fromkeys(stages)],
                **more,
            }

        def service(application: str, name: str, count: int, days: int, **more: Any) -> Json:
            return {
                "id": f"{application}-{name}",
                "application": application,
                "name": name,
                "stage": "steady",
                **old,
                "instance_count": count,
                "oldest_instance_at": text(self.now - timedelta(days=days)),
                "drift": [],
                "odd": [],
                **more,
            }

        services = [
            service("webshop", "production", 45, 9, stage="rolling out", rollout="webshop-production-31"),
            service(
                "webshop",
                "staging",
                6,
                2,
                may_sleep=True,
                **later,
                drift=["ServiceSecurityGroup: SecurityGroupIngress was changed"],
            ),
            service("payments", "production", 48, 21, rollout="payments-production-12", previous=before),
        ]
        fired = "the alarm ErrorsAlarm fired at the checkpoint of 10 %"
        ended = {"ended_at": text(self.now - timedelta(hours=29)), "reason": fired}
        rollouts = [
            rollout("payments-production-12", "awaiting approval", 0, (old, later), hours=0.4),
            rollout("webshop-production-31", "replacing", 50, (old, new)),
            rollout("search-production-9", "rolled back", 10, (old, later), hours=30, **ended),
            rollout("webshop-staging-4", "completed", 100, (old, later), hours=50),
        ]
        return services, rollouts

    def _sweep(self, minutes: int) -> Json:
        at = self.now - timedelta(minutes=minutes)
        names = list(self.environments) or ["webshop-1"]
        decisions = [{"environment": name, "action": "keep", "reason": "until its deadline"} for name in names]
        if minutes % 25 == 0:
            reason = f"its deadline {text(at)} (record) has passed, and no execution ends it"
            decisions[0] = {"environment": names[0], "action": "end", "reason": reason}
        if minutes % 40 == 0:
            reason = "2 resources are left without a stack; but it is protected: mayfly:protected is 'yes'"
            decisions[-1] = {"environment": names[-1], "action": "refuse", "reason": reason}
        return self.sweep(at, "schedule", decisions)

    def sweep(self, at: datetime, asked_by: str, decisions: list[Json], dry_run: bool = False) -> Json:
        """A sweep's report."""
        counts = dict.fromkeys(("keep", "end", "wake", "adopt", "refuse"), 0)
        for decision in decisions:
            counts[decision["action"]] += 1
        return {
            "key": f"sweeps/{at:%Y/%m/%d/%H%M%S}-52fdfc07.json",
            "at": text(at),
            "asked_by": asked_by,
            "counts": counts,
            "halted": "",
            "dry_run": dry_run,
            "unseen": {},
            "decisions": [one for one in decisions if one["action"] != "keep"],
            "kept": [one for one in decisions if one["action"] == "keep"],
        }

    def _dead_letter(self, number: int) -> Json:
        expected = ("application: expected one that is configured", "version: expected no blank")[number % 2]
        reason = f"{expected}, but it is 'made up {number}'"
        at = text(self.now - timedelta(minutes=7 * number))
        return {
            "id": f"dl-{number:016x}",
            "kind": "refused",
            "function": "mayfly-accept-code-version",
            "event": "Code Version Pushed",
            "reason": reason,
            "at": at,
            "stage": "waiting for a person",
            "tone": "warn",
            "times": 1 + number % 2,
            "message": {"detail-type": "Code Version Pushed", "detail": {"version": f"1.{number}"}},
            "history": [{"at": at, "who": "mayfly-accept-code-version", "what": "refused", "why": reason}],
        }

    def costs(self, days: int) -> Json:
        """What GET /api/costs says."""
        applications = []
        for application in self.applications:
            mine = [one for one in self.environments.values() if one["application"] == application["name"]]
            suites = {suite["name"]: 0.0 for suite in application["suites"]}
            for one in mine:
                suites[one["suite"]] += self.usd(one) * days
            applications.append(
                {
                    "application": application["name"],
                    "usd": round(sum(suites.values()), 2),
                    "usd_per_hour": round(sum(one["usd_per_hour"] for one in mine), 2),
                    "instance_hours": round(sum(suites.values()) / HOURLY),
                    "suites": [{"suite": name, "usd": round(usd, 2)} for name, usd in suites.items()],
                }
            )
        return {
            "prices": {
                "as_of": "2026-11-20",
                "source": "AWS public price lists, on demand, Linux, without free tier",
                "currency": "USD",
            },
            "total_usd": round(sum(one["usd"] for one in applications), 2),
            "usd_per_hour": round(sum(one["usd_per_hour"] for one in applications), 2),
            "unpriced": 0,
            "permanent_instances": sum(one["instance_count"] for one in self.services),
            "applications": applications,
        }


CHECKS = ("puppet converges", "service enabled", "service port", "no credentials")


def _contents() -> dict[str, Json]:
    """How the newest image differs from the one that `stable` points to."""
    openssl = {"name": "openssl-libs:x86_64", "before": "3.0.8-1.amzn2023.0.12", "after": "3.0.8-1.amzn2023.0.14"}
    added = {"name": "chrony:x86_64", "before": None, "after": "4.3-1.amzn2023.0.4"}
    file = {"name": "/opt/mayfly/boot.pp", "before": "0f343b0931126a20", "after": "9c1185a5c5e9fc54"}
    return {"ami-0c9e8d7f6a5b4c3d2": {"packages": [added, openssl], "services": [], "files": [file]}}
