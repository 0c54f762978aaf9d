"""How a command ends that does not end well: an exit code, and a sentence that says what to do."""

import click


class Failed(click.ClickException):
    """What was asked for was refused, or failed."""

    exit_code = 1


class NotFound(click.ClickException):
    """There is no such installation, environment, release, bake, service or rollout."""

    exit_code = 3


class NoAccess(click.ClickException):
    """AWS does not know who asks, or does not let them."""

    exit_code = 4


class TimedOut(click.ClickException):
    """It takes longer than this command waits. It goes on all the same."""

    exit_code = 5


class NotYet(TimedOut):
    """It waits for something: the kill switch, a person, another rollout. It goes on by itself then."""


def explained(error: Exception) -> Exception:
    """Returns an error of AWS or of a message's model, as one for people; any other as it is."""
    from botocore.exceptions import BotoCoreError, ClientError
    from pydantic import ValidationError

    from mayfly.aws.events import NotTaken
    from mayfly.contract.messages import explain
    from mayfly.contract.reader import Refused
    from mayfly.settings import Incomplete

    match error:
        case ValidationError():
            return click.UsageError(explain(error))
        case Incomplete():
            return Failed(f"This installation lacks what this version of mayfly needs: {error}. Upgrade the older one.")
        case Refused() | NotTaken():
            return Failed(str(error))
        case ClientError():
            return _of_aws(error.response["Error"]["Code"], error.response["Error"].get("Message") or str(error))
        case BotoCoreError():
            return _before_aws(error)
    return error


def _of_aws(code: str, message: str) -> Exception:
    """Returns what AWS answered."""
    if code in ("ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"):
        return NoAccess(f"The credentials are not valid (any more): {message}. Sign in again.")
    if code.startswith(("AccessDenied", "UnauthorizedOperation", "AuthorizationError", "NotAuthorized")):
        # AWS names who, the permission and the resource: "... is not authorized to perform: dynamodb:GetItem on ...".
        return NoAccess(f"{message} Ask for that permission; docs/cli.md lists what each command needs.")
    return Failed(f"{code}: {message}")


def _before_aws(error: Exception) -> Exception:
    """Tells why AWS was not even asked, or did not answer."""
    from botocore import exceptions as aws

    match error:
        case aws.NoCredentialsError() | aws.PartialCredentialsError():
            return NoAccess(f"{error}. Sign in (`aws sso login`), or set AWS_PROFILE or AWS_ACCESS_KEY_ID.")
        case aws.TokenRetrievalError() | aws.UnauthorizedSSOTokenError() | aws.SSOTokenLoadError():
            return NoAccess(f"{error}. Sign in again: `aws sso login`.")
        case aws.ProfileNotFound():
            return NoAccess(f"{error}. `aws configure list-profiles` lists those that there are.")
        case aws.NoRegionError():
            return click.UsageError("No Region: pass --region, or set AWS_REGION.")
    return NoAccess(f"{error}. Check the network, and AWS_ENDPOINT_URL if it is set.")
