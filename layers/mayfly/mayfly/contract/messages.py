"""What people and other programs send: pydantic reads it, names all that is wrong at once, and refuses what it does not
know."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar, Self

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from mayfly.contract.fields import short, timestamp
from mayfly.contract.vocabulary import Event

Timestamp = Annotated[datetime, AfterValidator(timestamp)]
_FAULTS_SHOWN = 20
"""Nobody reads more, and the dead letter has to fit into a message of SQS."""


class Message(BaseModel):
    """What somebody sends or configures: unchangeable, and nothing unknown in it."""

    # A function needs one or two of these models: the others are not built at its cold start.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    @classmethod
    def read(cls, said: Any) -> Self:
        """Reads what was sent.

        Raises:
            msgspec.ValidationError: it is something else; the message names each field that is wrong.
        """
        try:
            return cls.model_validate(said)
        except ValidationError as error:
            raise msgspec.ValidationError(explain(error)) from None


class Request(Message):
    """What others ask of Mayfly. The API and an operator may ask for everything; a class names its event (the detail
    type) and who may ask besides with the keywords `event` and `also_by`."""

    event: ClassVar[Event]
    also_by: ClassVar[str | None] = None
    """A source, or `APPLICATION_SOURCE`: whoever speaks for the application that the request is about."""

    def __init_subclass__(cls, event: Event | None = None, also_by: str | None = None, **rest: Any) -> None:
        super().__init_subclass__(**rest)
        if event:
            cls.event = event
        cls.also_by = also_by

    def written(self) -> str:
        """Writes it as JSON, as it stands on the bus."""
        return self.model_dump_json(exclude_none=True)


def explain(error: ValidationError) -> str:
    """Returns a validation error for people: the first fields, their values, and what was expected of each."""
    faults = error.errors()
    said = [
        f"{short('.'.join(str(part) for part in fault['loc'])) or 'message'}: "
        # What is wrong about several fields together names them itself; the whole document helps nobody.
        f"{fault['msg']}"
        + (
            ""
            if fault["type"] == "value_error" and isinstance(fault["input"], Mapping)
            else f", but it is {short(repr(fault['input']))}"
        )
        for fault in faults[:_FAULTS_SHOWN]
    ]
    more = len(faults) - len(said)
    return "; ".join([*said, f"and {more} more"] if more else said)
