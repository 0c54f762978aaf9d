"""What a run reports: what happened, how it differs from what the local cloud does, and what was left."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

type Json = dict[str, Any]

REPORTS = Path(__file__).parent / "reports"
README = Path(__file__).resolve().parent.parent / "README.md"
BEGIN, END = "<!-- made of accept/reports by `make accept` -->\n", "<!-- until here -->\n"
KINDS = ("events", "statuses", "calls", "times")
SAME, DIFFERENT = "the same", "different"


@dataclass(frozen=True)
class Difference:
    """One thing that happened otherwise than on the local cloud."""

    scenario: str
    kind: str
    """outcome, events, statuses, calls or times."""
    what: str
    local: Any
    here: Any


def differences(local: Mapping[str, Json], here: Mapping[str, Json]) -> Iterator[Difference]:
    """Compares scenarios by what they are called: everything that one says and the other does not say likewise."""
    for name in dict.fromkeys([*local, *here]):
        expected, happened = local.get(name, {}), here.get(name, {})
        if expected.get("outcome") != happened.get("outcome"):
            yield Difference(name, "outcome", "", _outcome(expected), _outcome(happened))
            continue
        if expected["events"] != happened["events"]:
            yield Difference(name, "events", "in order", expected["events"], happened["events"])
        for kind in KINDS[1:]:
            for what in dict.fromkeys([*expected[kind], *happened[kind]]):
                one, other = expected[kind].get(what), happened[kind].get(what)
                if one != other:
                    yield Difference(name, kind, what, one, other)


def _outcome(scenario: Json) -> str:
    return ": ".join(part for part in (scenario.get("outcome", "not tried"), scenario.get("why", "")) if part)


def write(report: Json, folder: Path) -> None:
    """Writes a report as JSON and as Markdown, under the name of its place."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{report['place']}.json").write_text(json.dumps(report, indent=1) + "\n")
    (folder / f"{report['place']}.md").write_text(markdown(report))


def markdown(report: Json) -> str:
    """The report for people."""
    head = [
        f"# Accepted on {report['place']}",
        "",
        f"{report['at']}, Mayfly {report['version']}, Regions {' and '.join(report['regions'])}, "
        f"{report['seconds'] / 60:.0f} minutes, US$ {report['at_most_usd']:.2f} at most.",
        "",
        "| scenario | outcome | differences from the local cloud |",
        "| --- | --- | --- |",
    ]
    found = [Difference(**each) for each in report["differences"]]
    for name, scenario in report["scenarios"].items():
        mine = [each for each in found if each.scenario == name]
        counted = ", ".join(f"{sum(each.kind == kind for each in mine)} {kind}" for kind in ("outcome", *KINDS))
        head.append(f"| {name} | {_cell(_outcome(scenario))} | {counted if mine else 'none'} |")
    return "\n".join([*head, "", *_differences(found), *_left(report["left"])]) + "\n"


def _differences(found: list[Difference]) -> Iterator[str]:
    yield "## Differences"
    yield ""
    if not found:
        yield "None."
        yield ""
        return
    yield "| scenario | kind | what | on the local cloud | here |"
    yield "| --- | --- | --- | --- | --- |"
    for each in found:
        yield f"| {each.scenario} | {each.kind} | {each.what} | {_cell(each.local)} | {_cell(each.here)} |"
    yield ""


def _left(left: Json) -> Iterator[str]:
    yield "## Left"
    yield ""
    listed = [f"- {kind} `{name}`" for kind, names in left["left"].items() for name in names]
    unseen = [f"- {kind}s could not be looked at: {why}" for kind, why in left["unseen"].items()]
    yield from [*listed, *unseen] or ["Nothing."]


def _cell(value: Any) -> str:
    said = value if isinstance(value, str) else json.dumps(value)
    return said.replace("|", "\\|").replace("\n", " ")[:300]


def as_json(found: Iterator[Difference]) -> list[Json]:
    """Differences as a report keeps them."""
    return [asdict(each) for each in found]


# ---- the README's table -----------------------------------------------------------------------------------


def verdict(report: Json, scenario: str) -> str:
    """What a table says of a scenario: differing calls and times are told apart from what went otherwise."""
    tried = report["scenarios"].get(scenario)
    if tried is None or tried["outcome"] != "passed":
        return "not tried" if tried is None else _outcome(tried)
    mine = [each for each in report["differences"] if each["scenario"] == scenario]
    weighty = [each for each in mine if each["kind"] in ("events", "statuses")]
    return f"{DIFFERENT}, in {len(weighty)} ways" if weighty else SAME


def table(folder: Path = REPORTS) -> str:
    """Which scenario has been seen where, from the reports that there are."""
    local = json.loads((folder / "local.json").read_text())
    aws = json.loads(path.read_text()) if (path := folder / "aws.json").exists() else None
    rows = ["| scenario | on the local cloud | on AWS |", "| --- | --- | --- |"]
    for name, scenario in local["scenarios"].items():
        there = verdict(aws, name) if aws else "not run yet"
        rows.append(f"| {name} | {_outcome(scenario)} | {there} |")
    when = f"AWS: {aws['at'][:10]}, Mayfly {aws['version']}." if aws else "AWS: nobody has run it yet."
    return "\n".join([*rows, "", f"Local cloud: Mayfly {local['version']}. {when}"]) + "\n"


def renew(readme: Path = README) -> None:
    """Puts the table into the README, between its marks."""
    before, _, rest = readme.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    readme.write_text(before + BEGIN + table() + END + after)
