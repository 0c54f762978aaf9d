"""What people read in a terminal: names are never broken over two lines, and who gets no answer is told."""

import socket
from io import StringIO

import pytest
from rich.console import Console

from mayfly_cli import show
from mayfly_cli.errors import NoAccess
from mayfly_cli.installation import find

ROWS = [("webshop-1-4-2-359f67ef-checkout", "awaiting tests", "ami-0123456789abcdef0", "a long sentence " * 5)]


def printed(width: int) -> str:
    console = Console(file=StringIO(), width=width)
    console.print(show.table("Title", ("environment", "stage", "image", "why"), ROWS))
    return console.file.getvalue()


@pytest.mark.parametrize("width", range(34, 140, 7))
def test_a_name_is_whole_at_every_width_and_columns_go_first(width):
    said = printed(width)
    assert ROWS[0][0] in said
    assert all(len(line) <= width for line in said.splitlines())
    for cell in ROWS[0][1:3]:
        assert cell in said or "Too narrow for" in said


def test_what_is_left_out_is_named():
    assert "Too narrow for: image, why." in " ".join(printed(60).split())


def test_times_have_no_fraction_of_a_second_and_one_is_not_several():
    console = Console(file=StringIO(), width=100)
    console.print(show.table("1 line at 2026-11-28T22:37:01.081Z", ("at",), [("2026-11-28T22:37:00.999Z",)]))
    assert console.file.getvalue().split() == ["1", "line", "at", "2026-11-28T22:37:01Z", "at", "2026-11-28T22:37:00Z"]
    assert [show.count(n, "instance") for n in (0, 1, 2)] == ["0 instances", "1 instance", "2 instances"]


def test_where_nothing_answers_it_is_said_without_another_try(monkeypatch):
    asked = []

    def refused(address, timeout):
        asked.append((address, timeout))
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
    monkeypatch.setattr(socket, "create_connection", refused)
    with pytest.raises(NoAccess, match=r"Nothing answers at http://127.0.0.1:4566 .*Connection refused"):
        find("mayfly", None, "us-east-1")
    assert asked == [(("127.0.0.1", 4566), 2)]
