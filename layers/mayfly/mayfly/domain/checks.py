"""Checks of an image: the script that runs them on an instance, and what its answers mean."""

import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from mayfly.domain import contents

CHECK_SECONDS = 300
"""How long one check may take. `timeout` then ends it with exit code 124."""

_PRINTED, _KEPT, _ROOM, _SHOWN = 24_000, 23_000, 1_000, 200
"""Characters: that Run Command keeps, of all checks together, of one check, and of one check in a reason."""

_SCRIPT = r"""
check() {
  out=$(timeout "$limit" sh -c "$2" 2>&1 </dev/null)
  code=$?
  out=$(printf '%s' "$out" | LC_ALL=C tr -cd '\12\40-\176' | head -c "$room" |
    sed 's/[\"]/\\&/g' | sed ':a;N;$!ba;s/\n/\\n/g')
  answer=$(printf '{"name": "%s", "exit": %d, "stdout": "%s"}' "$1" "$code" "$out")
  printf '%s\n' "$answer"
  contents_room=$((contents_room - ${#answer} - 1))
}"""
"""Runs one check and says how it went, as a line of JSON. What it prints is cut and reduced to plain characters."""


class Expected(Struct, frozen=True):
    """A check's name, its command, and what it must do."""

    name: str
    command: str
    exit: int = 0
    stdout: str | None = None


def script(checks: Sequence[Expected]) -> list[str]:
    """Writes the lines for Run Command: the checks, whose names are a comment in the first one, then what the image
    consists of, which may take what the checks left of Run Command's output."""
    # Half of each share, because what JSON escapes takes two characters; a name and the rest take about a hundred.
    room = max(0, min(_ROOM, (_KEPT // max(1, len(checks)) - 110) // 2))
    return [
        f"# checks: {json.dumps([check.name for check in checks])}",
        f"limit={CHECK_SECONDS} room={room} contents_room={_PRINTED - 100}",
        *_SCRIPT.strip().splitlines(),
        *(f"check {shlex.quote(check.name)} {shlex.quote(check.command)}" for check in checks),
        *contents.SCRIPT.strip().splitlines(),
    ]


class ChecksVerdict(Struct, frozen=True):
    """Whether every check did what it must, and which did not."""

    passed: bool
    reason: str


def judge_checks(checks: Sequence[Expected], status: str, printed: str) -> ChecksVerdict:
    """Decides what the answers of an instance prove. What did not answer has proven nothing and fails.

    Args:
        status: Run Command's, such as ``Success`` or ``TimedOut``. printed: a line of JSON from each check.
    """
    answers = dict(_answers(printed))
    bad = [f"{check.name}: {why}" for check in checks if (why := _wrong(check, answers.get(check.name)))]
    if not bad and checks:
        return ChecksVerdict(True, f"all {len(checks)} checks passed")
    ended = "" if status == "Success" else f" (Run Command: {status})"
    return ChecksVerdict(False, f"{len(bad)} of {len(checks)} checks failed{ended}: {'; '.join(bad)}")


def _wrong(check: Expected, answer: Mapping[str, object] | None) -> str | None:
    if answer is None:
        return "it did not answer"
    printed = str(answer.get("stdout", ""))
    if answer.get("exit") != check.exit:
        return f"exit {answer.get('exit')}, expected {check.exit}" + (f": {printed[:_SHOWN]}" if printed else "")
    if check.stdout is not None and not re.search(check.stdout, printed):
        return f"expected {check.stdout!r} in what it prints, but it is {printed[:_SHOWN]!r}"
    return None


def _answers(printed: str) -> Iterable[tuple[str, Mapping[str, object]]]:
    for line in printed.splitlines():
        try:
            answer = json.loads(line)
        except ValueError:
            continue  # whatever else an instance prints proves nothing
        if isinstance(answer, dict) and isinstance(answer.get("name"), str):
            yield answer["name"], answer
