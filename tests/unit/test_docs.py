"""The documentation is about what there is: every alarm, every command, every link."""

import json
import re
import runpy
from pathlib import Path

import click
import jsonschema
import pytest

from docs import event_pages
from mayfly.contract.fields import Announcement
from mayfly.domain.blueprint import PARAMETERS
from mayfly_cli.main import main
from tests.blueprint import INSTALLATION, template

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.rglob("*.md")])
RESOURCES = template(INSTALLATION)["Resources"]
ALARMS = sorted(name for name, each in RESOURCES.items() if each["Type"] == "AWS::CloudWatch::Alarm")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-") for heading in headings}


def sections(page: Path) -> dict[str, str]:
    """What stands below each heading of a page."""
    parts = re.split(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))


@pytest.mark.parametrize("alarm", ALARMS)
def test_every_alarm_is_on_the_operations_page_with_what_to_do(alarm):
    assert len(sections(DOCS / "operations.md").get(alarm, "")) > 80


def test_the_operations_page_speaks_of_no_other_alarms():
    assert {name for name in sections(DOCS / "operations.md") if name.endswith("Alarm")} == set(ALARMS)


def test_every_command_is_in_the_manual_as_it_is():
    assert runpy.run_path(str(DOCS / "manual.py"))["page"]() == (DOCS / "cli.md").read_text()
    assert {f"## {name}\n" in (DOCS / "cli.md").read_text() for name in main.commands} == {True}


def test_every_parameter_that_mayfly_passes_is_named_where_blueprints_are_described():
    text = (DOCS / "applications.md").read_text()
    assert {name for name in PARAMETERS if f"`{name}`" not in text} == set()


def test_every_event_is_on_its_page_and_in_the_schema_as_it_is():
    assert event_pages.page() == (DOCS / "events.md").read_text()
    assert event_pages.schema() == json.loads((DOCS / "events.schema.json").read_text())


@pytest.mark.parametrize("event", sorted(event_pages.CATALOGUE))
def test_a_subscriber_s_validator_takes_every_example_and_no_other_event_s(event):
    validator = jsonschema.Draft202012Validator(json.loads((DOCS / "events.schema.json").read_text()))
    delivered = {"detail-type": event, "source": "mayfly", "detail": event_pages.EXAMPLES[event]}
    assert validator.is_valid(delivered), list(validator.iter_errors(delivered))
    assert not validator.is_valid(delivered | {"detail": {"on": 1}})


@pytest.mark.parametrize("event", sorted(event_pages.CATALOGUE))
def test_every_announcement_has_a_sender_and_every_request_a_hearer(event):
    announced = issubclass(event_pages.CATALOGUE[event], Announcement)
    assert event_pages.senders(event) if announced else event_pages.hearers(event)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_begins_with_its_title_and_what_it_is_about(page):
    title, blank, text = page.read_text().split("\n")[:3]
    assert (title[:2], title[2:].strip() != "", blank, text[:2] not in ("", "##")) == ("# ", True, "", True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in LINK.findall(page.read_text()):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_that_are_shown_exist_with_their_options(page):
    lines = "\n".join(BLOCK.findall(page.read_text())).replace("\\\n", " ").splitlines()
    for line in lines:
        for words in re.findall(r"(?:^|[|(] ?|-I NAME )mayfly ([^#|)]*)", line):
            name, *rest = words.split() or ["--help"]
            if name.startswith("-"):
                continue
            assert name in main.commands, f"{page.name}: {line}"
            command = main.commands[name]
            command = command.commands[rest[0]] if isinstance(command, click.Group) else command
            known = {option for parameter in command.params for option in parameter.opts}
            given = {word for word in rest if word.startswith("--")}
            assert given <= known | {"--help"}, f"{page.name}: {line}"


def test_every_page_is_reached_from_the_readme_or_the_guide():
    reached = {ROOT / "README.md", DOCS / "guide.md"}
    waiting = list(reached)
    while waiting:
        page = waiting.pop()
        links = {(page.parent / link.partition("#")[0]).resolve() for link in LINK.findall(page.read_text())}
        waiting += [link for link in links - reached if link.suffix == ".md" and link.exists()]
        reached |= links
    assert {page for page in PAGES if page not in reached} == set()
