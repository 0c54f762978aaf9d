"""Field types that messages share, and what is Mayfly's own or AWS's: structs, which are read tolerantly.

What people send is read by pydantic (`contract.messages`), which names all that is wrong at once, and takes as long to
import as all else that a function needs: no module that others need as well imports it.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Annotated, Any, ClassVar, Self, dataclass_transform

from msgspec import DecodeError, Meta, Struct, StructMeta, ValidationError, convert, field, json

from mayfly.contract.vocabulary import Event
from mayfly.domain.identity import ENVIRONMENT
from mayfly.domain.text import clean

_LONGEST = 1024


class _Bounds:
    """Tells pydantic the bounds of a field, which msgspec reads from `Meta`."""

    def __init__(self, bounds: dict[str, Any]) -> None:
        self.bounds = bounds

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return handler(source) | self.bounds


class _Cleaned:
    """Has pydantic clean a line before it checks the line. Structs are made of what was cleaned there. What is too long
    as it was sent is not cleaned, which may shorten it: it is refused for its length."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core.core_schema import no_info_before_validator_function

        return no_info_before_validator_function(
            lambda said: clean(said) if isinstance(said, str) and len(said) <= _LONGEST else said, handler(source)
        )


def _within(**bounds: Any) -> tuple[Any, ...]:
    """Returns the bounds of a field for both libraries. The end of a text is nothing before a line's end for pydantic,
    but for Python's expressions."""
    if pattern := bounds.get("pattern"):
        return Meta(**bounds | {"pattern": f"{pattern}{END}"}), _Bounds(bounds)
    return Meta(**bounds), _Bounds(bounds)


END = r"(?!\n)"
Branch = Annotated[str, *_within(pattern=r"^[^\s~^:?*\[\\\x00-\x1f\x7f]{1,255}$")]
"""As Git may call one: its versions follow one another."""
ApplicationName = Annotated[str, *_within(pattern=r"^[a-z][a-z0-9-]{0,18}[a-z0-9]$")]
ServiceName = Annotated[str, *_within(pattern=r"^[a-z][a-z0-9]{0,15}$")]
SuiteName = Annotated[str, *_within(pattern=r"^[a-z](-?[a-z0-9])*$", max_length=16)]
"""Without two hyphens in a row: in a resource's name, they come after the environment's."""
Identity = Annotated[str, *_within(pattern=ENVIRONMENT)]
Version = Annotated[str, *_within(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$")]
Commit = Annotated[str, *_within(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
"""What a forge knows it by. It becomes a part of an address there."""
Line = Annotated[str, *_within(min_length=1, max_length=_LONGEST), _Cleaned()]
"""Whatever people and programs write; cleaned once, as it comes, of what a terminal, a mail or a page would obey."""
TopicArn = Annotated[str, *_within(pattern=r"^arn:[^:]+:sns:[^:]+:\d{12}:mayfly-[A-Za-z0-9_-]+$")]
"""Mayfly may publish to topics of this prefix only."""
ConnectionArn = Annotated[
    str,
    *_within(pattern=r"^arn:[^:]+:events:[^:]+:\d{12}:connection/mayfly-[A-Za-z0-9._-]+/[0-9a-f-]{36}$"),
]
"""Mayfly may use connections of this prefix only."""
PullRequest = Annotated[int, *_within(ge=1, le=10**9)]
PoolName = Annotated[str, *_within(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
FamilyName = Annotated[str, *_within(pattern=r"^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$")]
ChannelName = Annotated[str, *_within(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
Account = Annotated[str, *_within(pattern=r"^\d{12}$")]
Region = Annotated[str, *_within(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")]
ImageId = Annotated[str, *_within(pattern=r"^ami-[0-9a-f]{8,17}$")]
Location = Annotated[str, *_within(pattern=r"^(s3|https)://[^\s'\"\\$`]+$", max_length=1024)]
"""Where a script on an instance fetches something from."""
Minutes = Annotated[int, *_within(ge=1, le=30 * 24 * 60)]
Attempt = Annotated[int, *_within(ge=1, le=1000)]
Terminations = Annotated[int, *_within(ge=0, le=5000)]
ReportToken = Annotated[str, *_within(pattern=r"^[A-Za-z0-9_-]{43}$")]
DeadLetterId = Annotated[str, *_within(pattern=r"^dl-[0-9a-f]{16}$")]
Sha256 = Annotated[str, *_within(pattern=r"^[0-9a-f]{64}$")]


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
class _Frozen(StructMeta):
    """Makes frozen structs whose fields are named where they are made; a class names its event by a keyword."""

    def __new__(
        mcls, name: str, bases: tuple[type, ...], space: dict[str, Any], event: Event | None = None, **how: Any
    ) -> Any:
        own = space | {"event": event} if event else space
        return super().__new__(mcls, name, bases, own, **{"frozen": True, "kw_only": True} | how)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
class Part(Struct, metaclass=_Frozen, frozen=True):
    """What is Mayfly's own, or a part of it."""

    @classmethod
    def read(cls, said: Any, strict: bool = True) -> Self:
        """Reads what any version wrote: what this one does not know is ignored, and what it lacks has its default.

        Raises:
            ValidationError: it is something else; the message names field, value and what was expected.
        """
        try:
            return convert(said, cls, strict=strict)
        except ValidationError as error:
            raise ValidationError(_explained(str(error), said, cls)) from None

    def plain(self) -> dict[str, Any]:
        """Returns it as JSON says it.

        Raises:
            ValidationError: it was made of what nobody may read.
        """
        try:
            said = json.decode(json.encode(self))
            return dict(
                json.decode(json.encode(self.read(said)))
            )  # of what its parts were made of, no more than is known
        except UnicodeEncodeError as error:
            raise ValidationError(f"message: {error}") from None

    def only(self, *names: str) -> dict[str, Any]:
        """Returns some of its fields, as JSON says them."""
        said = self.plain()
        return {name: said[name] for name in names if name in said}


class Announcement(Part):
    """What Mayfly says on its bus. A class names its event (the detail type) with the keyword `event`."""

    event: ClassVar[Event]

    def written(self) -> str:
        """Writes it as JSON, as it stands on the bus: what is not known is not in it."""
        return json.encode(without_nulls(self.plain())).decode()


class Tolerant(Part):
    """What is AWS's: it may send numbers as texts."""

    @classmethod
    def read(cls, said: Any, strict: bool = False) -> Self:
        """Reads what AWS sends."""
        return super().read(said, strict)


def from_json(text: str) -> Any:
    """Reads what somebody has written as JSON.

    Raises:
        ValidationError: it is none.
    """
    try:
        return json.decode(text)
    except (DecodeError, UnicodeEncodeError) as error:
        raise ValidationError(f"message: Invalid JSON: {error}, but it is {short(repr(text))}") from None


def without_nulls(said: Any) -> Any:
    """Leaves out what is null."""
    if isinstance(said, dict):
        return {name: without_nulls(each) for name, each in said.items() if each is not None}
    return [without_nulls(each) for each in said] if isinstance(said, list) else said


def _explained(fault: str, said: Any, model: type) -> str:
    """Returns a fault with the field and the value that it is about, and what else than that was expected."""
    head, at, path = fault.rpartition(" - at `")
    wrong, path = (head, path) if at else (fault, "")
    names, steps = list[str](), re.findall(r"\.([^.\[`]+)|\[(\d+)\]", path.partition("[...]")[0])
    for name, number in steps:  # of a value of a mapping, msgspec does not say whose it is
        said = said[int(number)] if number else said[name]
        names.append(name or number)
    if missing := re.fullmatch("Object missing required field `(.+)`", wrong):
        return f"{'.'.join([*names, missing[1]])}: Field required"
    if wrong.startswith("Invalid enum value"):
        wrong = f"expected {' or '.join(_words(model, steps)) or 'another word'}"
    whole = isinstance(said, dict) and not wrong.startswith("Expected `")
    # What is wrong about an object as a whole names its fields itself; all of it helps nobody.
    value = "" if whole else f", but it is {short(repr(said))}"
    return f"{'.'.join(names) or 'message'}: {wrong.replace(repr(END)[1:-1], '')}{value}"


def _words(model: type, steps: Iterable[tuple[str, str]]) -> list[str]:
    """Returns the words that a field can have, as its JSON Schema says them."""
    schema = json.schema(model)

    def opened(shape: dict[str, Any]) -> Iterator[dict[str, Any]]:
        yield shape
        for each in (*shape.get("anyOf", ()), *([schema["$defs"][shape["$ref"][8:]]] if "$ref" in shape else ())):
            yield from opened(each)

    found = [*opened(schema)]
    for name, number in steps:
        below = [each.get("items") if number else each.get("properties", {}).get(name) for each in found]
        found = [part for each in below if each for part in opened(each)]
    return [str(word) for each in found for word in each.get("enum", ())]


def short(text: str) -> str:
    """As much of a text as an error shows."""
    return text if len(text) <= 120 else text[:120] + "…"


def timestamp(at: datetime) -> datetime:
    """Returns a timestamp that can be reckoned with: who puts an event on the bus may write any time."""
    if at.tzinfo is None or not _FIRST_YEAR <= at.year <= _LAST_YEAR:
        raise ValueError(f"expected a timestamp from {_FIRST_YEAR} to {_LAST_YEAR}, with its time zone, but it is {at}")
    return at


_FIRST_YEAR, _LAST_YEAR = 2020, 2200
