"""The tag contract: which tags say that something is Mayfly's, whose, and until when."""

from datetime import datetime

from mayfly.domain.moment import text

ENVIRONMENT = "mayfly:environment"
APPLICATION = "mayfly:application"
CONTROLLER = "mayfly:controller"
EXPIRES_AT = "mayfly:expires-at"
"""The deadline that an environment was created with. An extension moves the record's, and the ceiling bounds it."""
CEILING = "mayfly:ceiling"
"""The moment past which no extension reaches."""
PROTECTED = "mayfly:protected"


def of_environment(
    environment: str, application: str, controller: str, deadline: datetime, ceiling: datetime
) -> dict[str, str]:
    """The tags of an environment's stack. They are set in the call that creates it: tagging later is a race."""
    return {
        ENVIRONMENT: environment,
        APPLICATION: application,
        CONTROLLER: controller,
        EXPIRES_AT: text(deadline),
        CEILING: text(ceiling),
    }
