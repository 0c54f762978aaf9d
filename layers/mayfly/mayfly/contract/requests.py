"""What people and programs ask of Mayfly by an event: each class is the detail of the event of its name."""

from typing import Any, Literal, Self

from pydantic import Field, StrictBool, model_validator

from mayfly.contract.fields import (
    ApplicationName,
    Attempt,
    Branch,
    ChannelName,
    Commit,
    DeadLetterId,
    FamilyName,
    Identity,
    ImageId,
    Line,
    Location,
    Minutes,
    PullRequest,
    ReportToken,
    Sha256,
    SuiteName,
    Terminations,
    Version,
)
from mayfly.contract.messages import Message, Request, Timestamp
from mayfly.contract.vocabulary import APPLICATION_SOURCE, DeadLetterKind, Event, Source, TestResult


class CodeVersionPushed(Request, event=Event.CODE_VERSION_PUSHED, also_by=APPLICATION_SOURCE):
    """A CI server made a version: build an environment for each suite of its application and have it tested."""

    application: ApplicationName
    version: Version
    artifact: Line
    """Where the deploy script on each instance fetches this version from, as that script understands it."""
    commit: Commit | None = None
    pull_request: PullRequest | None = None
    """The number of the pull request (of GitLab, the merge request) that it is of."""
    branch: Branch | None = None
    """The branch that it is of. A newer version of it may supersede this one, as its application says."""
    hotfix: StrictBool = False
    """Whether its environments go before all others that wait. Its application has to be allowed that."""
    pushed_by: Line | None = None
    attempt: Attempt = 1
    """The same version and attempt is the same release, however often it arrives. Count up to run it again."""


class TestFinished(Request, event=Event.TEST_FINISHED, also_by=APPLICATION_SOURCE):
    """A suite's tests are over. Names the environment, or the release and the suite."""

    __test__ = False  # pytest: a message, not a test

    environment: Identity | None = None
    release: Identity | None = None
    suite: SuiteName | None = None
    outcome: TestResult
    report: Line | None = None
    reason: Line | None = None
    finished_by: Line | None = None
    token: ReportToken | None = None
    """The environment's, as Environment Ready announced it: without it, no automated suite passes."""

    @model_validator(mode="after")
    def _names_one_environment(self) -> Self:
        if (self.environment is None) == (self.release is None or self.suite is None):
            raise ValueError("expected either environment, or release and suite")
        return self


class PullRequestClosed(Request, event=Event.PULL_REQUEST_CLOSED, also_by=APPLICATION_SOURCE):
    """A pull request was merged or closed: its preview is ended."""

    application: ApplicationName
    pull_request: PullRequest
    why: Line | None = None
    closed_by: Line | None = None


class EnvironmentExtensionRequested(Request, event=Event.ENVIRONMENT_EXTENSION_REQUESTED, also_by=APPLICATION_SOURCE):
    """Somebody needs an environment for longer."""

    environment: Identity
    minutes: Minutes
    """To be added to its deadline, in minutes."""
    why: Line
    requested_by: Line


class EnvironmentTerminationRequested(
    Request, event=Event.ENVIRONMENT_TERMINATION_REQUESTED, also_by=APPLICATION_SOURCE
):
    """Somebody wants an environment ended now."""

    environment: Identity
    again: StrictBool = False
    """Whether to begin anew with one whose ending was handed over to a person."""
    why: Line
    requested_by: Line


class ApplicationChangeRequested(Request, event=Event.APPLICATION_CHANGE_REQUESTED):
    """Somebody wants an application configured otherwise, as new, or not at all any more."""

    application: ApplicationName
    document: dict[str, Any] | None
    """All of its configuration (`app.schema.json`); null removes it, with its versions."""
    made_from: int = Field(ge=0)
    """The version that was changed, 0 where there was none: what somebody else has changed meanwhile is not lost."""
    why: Line
    requested_by: Line


class _SleepRequest(Request):
    environment: Identity
    """Of a manual suite or a preview; where people ask, also a permanent one of kind staging."""
    minutes: Minutes
    """How long that holds, whatever its office hours say."""
    why: Line
    requested_by: Line


class EnvironmentSleepRequested(_SleepRequest, event=Event.ENVIRONMENT_SLEEP_REQUESTED, also_by=APPLICATION_SOURCE):
    """Somebody wants an environment to sleep: without instances, and with all the rest of it."""


class EnvironmentWakeRequested(_SleepRequest, event=Event.ENVIRONMENT_WAKE_REQUESTED, also_by=APPLICATION_SOURCE):
    """Somebody wants an environment to be awake, and to stay so."""


class KillSwitchSet(Request, event=Event.KILL_SWITCH_SET):
    """While it is on, nothing is destroyed."""

    on: StrictBool
    why: Line
    set_by: Line


class SweepRequested(Request, event=Event.SWEEP_REQUESTED):
    """A sweep by hand: to see what it would do, or to let through what the caps of an earlier one stopped."""

    dry_run: StrictBool = False
    at_most: Terminations = 0
    """Terminations let through, where it is more than the caps allow."""
    why: Line
    requested_by: Line


class ImageBakeRequested(Request, event=Event.IMAGE_BAKE_REQUESTED):
    """Somebody wants a new image of a family now."""

    family: FamilyName
    why: Line
    requested_by: Line


class PuppetCodePushed(Request, event=Event.PUPPET_CODE_PUSHED, also_by=Source.PUPPET):
    """There is a new version of the Puppet code. In an artifact that a CI server packed: each family that applies
    Puppet from one is baked with it, and stays with it. Without one, on the Puppet servers: each family that asks a
    server is baked."""

    version: Version
    artifact: Location | None = None
    """Left out where Puppet servers have the version already."""
    sha256: Sha256 | None = None
    """Of the artifact; left out where there is none."""
    families: tuple[FamilyName, ...] | None = Field(default=None, min_length=1)
    """Only these; where it is left out, all that take the code from where it is."""
    pushed_by: Line | None = None

    @model_validator(mode="after")
    def _checksum_of_something(self) -> Self:
        if self.sha256 and not self.artifact:
            raise ValueError("sha256: expected none without an artifact")
        if self.artifact and not self.sha256:
            raise ValueError(f"sha256: expected the checksum of the artifact {self.artifact}, but there is none")
        return self


class ImagePromotionRequested(Request, event=Event.IMAGE_PROMOTION_REQUESTED):
    """Somebody, or a policy, wants a channel to point to an image."""

    family: FamilyName
    channel: ChannelName
    image: ImageId
    """As it is called in the family's own Region."""
    why: Line
    requested_by: Line


class ImageRollbackRequested(Request, event=Event.IMAGE_ROLLBACK_REQUESTED):
    """Somebody wants a channel back on the image before."""

    family: FamilyName
    channel: ChannelName
    image: ImageId | None = None
    """The image to get away from. Where it is named, the same request a second time goes no further back."""
    why: Line
    requested_by: Line


class RolloutApproved(Request, event=Event.ROLLOUT_APPROVED):
    """Somebody lets a rollout through that waits for it, or has one tried again that was rolled back or failed."""

    rollout: Identity
    why: Line
    approved_by: Line


class RolloutRequested(Request, event=Event.ROLLOUT_REQUESTED):
    """Somebody wants a permanent environment rolled out now, whatever its policy says: to what is wanted of it, or one
    step back to what it had before."""

    service: Identity
    to: Literal["latest", "previous"] = "latest"
    why: Line
    requested_by: Line


class RolloutAbortRequested(Request, event=Event.ROLLOUT_ABORT_REQUESTED):
    """Somebody wants a rollout stopped that runs: it goes back at once to what was there before."""

    rollout: Identity
    why: Line
    requested_by: Line


class RolloutPauseRequested(Request, event=Event.ROLLOUT_PAUSE_REQUESTED):
    """Somebody wants a rollout to stop at its next checkpoint, or at the one where it is watched now, and to stay there
    until it is resumed or aborted."""

    rollout: Identity
    why: Line
    requested_by: Line


class RolloutResumeRequested(Request, event=Event.ROLLOUT_RESUME_REQUESTED):
    """Somebody wants a rollout to go on that is paused."""

    rollout: Identity
    why: Line
    requested_by: Line


class DeadLetterChoice(Message):
    """Which of the dead letters that wait: all that fit every field that is given, and all where none is."""

    letters: tuple[DeadLetterId, ...] | None = Field(default=None, min_length=1, max_length=1000)
    """These; up to 1,000."""
    kind: DeadLetterKind | None = None
    """Those of this kind."""
    function: Line | None = None
    """Those for this function, by its whole name."""
    reason: Line | None = None
    """Those whose reason has this in it."""


class DeadLettersRedriveRequested(DeadLetterChoice, Request, event=Event.DEAD_LETTERS_REDRIVE_REQUESTED):
    """Somebody wants dead letters handed once more to the function that they are for."""

    why: Line
    requested_by: Line


class DeadLettersDiscardRequested(DeadLetterChoice, Request, event=Event.DEAD_LETTERS_DISCARD_REQUESTED):
    """Somebody wants dead letters put away: nobody follows them any more."""

    why: Line
    requested_by: Line


class SweepScheduled(Message):
    """A sweep by the schedule, or by hand."""

    now: Timestamp
    dry_run: StrictBool = False
