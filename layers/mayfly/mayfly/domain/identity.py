"""Names. One code version has one name for its release and one for each of its environments.

An environment's name is the name of its execution, of its record, of its stack (with a prefix) and of the session
under which its life calls AWS. That is what makes a repeated event harmless: the same event gives the same names.
"""

import hashlib
import re

STACK_PREFIX = "mayfly-"

PROOF_APPLICATION = "image-proof"
"""Whose the environments are that prove images."""

ENVIRONMENT = r"^[a-z][a-z0-9-]{1,58}$"
"""What an environment's name looks like. A tag may say anything."""

MOST_RETRIES = 3
"""How often a suite is repeated at most: the attempt's number is one digit of a name."""

_VERSION_SHOWN = 10
"""Characters of the version that a name shows: names end up in a role session name, which takes 64 in all."""


def release_id(application: str, version: str, attempt: int) -> str:
    """Returns the release of one code version, such as ``webshop-1-4-2-3f2a9c1e``.

    ``attempt`` tells a wanted repetition of the same version from a redelivered event. The digest keeps versions
    apart that look alike once they are shortened to what names may contain.
    """
    shown = re.sub(r"[^a-z0-9]+", "-", version.lower())[:_VERSION_SHOWN].strip("-")
    digest = hashlib.sha256(f"{application}\n{version}\n{attempt}".encode()).hexdigest()[:8]
    return "-".join(part for part in (application, shown, digest) if part)


def environment_id(release: str, suite: str) -> str:
    """Returns the environment of one suite of a release, such as ``webshop-1-4-2-3f2a9c1e-smoke``."""
    return f"{release}-{suite}"


def repetitions(environment: str, retries: int) -> tuple[str, ...]:
    """Returns the environments in which a suite is repeated, such as ``webshop-1-4-2-3f2a9c1e-smoke-2``."""
    return tuple(f"{environment}-{attempt}" for attempt in range(2, retries + 2))


def service_id(application: str, name: str) -> str:
    """Returns the permanent environment of an application, such as ``webshop-production``. Its name has no hyphen, so
    that no two applications can mean the same."""
    return f"{application}-{name}"


def rollout_id(service: str, serial: int) -> str:
    """Returns a rollout, by its number among those of its service, such as ``webshop-production-17``."""
    return f"{service}-{serial}"


def is_environment(name: str) -> bool:
    """Tells whether an environment can have this name."""
    return re.fullmatch(ENVIRONMENT, name) is not None


def stack_name(environment: str) -> str:
    """Returns the CloudFormation stack that an environment consists of."""
    return STACK_PREFIX + environment


def environment_of(stack_id: str) -> str | None:
    """Returns the environment a stack id or name belongs to, or None for a stack that does not bear Mayfly's prefix."""
    name = stack_id.split(":stack/")[-1].split("/")[0]
    return name.removeprefix(STACK_PREFIX) if name.startswith(STACK_PREFIX) else None
