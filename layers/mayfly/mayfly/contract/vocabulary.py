"""The words of the contract, each written here once: events, sources, stages, outcomes, causes, waits, kinds.

Records, messages, machines and people see these very texts, so an enum's member is its text. A stage that was renamed
is read by its old name as well: records that an earlier version wrote are kept for months.
"""

from enum import StrEnum

UNKNOWN = "unknown"
"""What is said of a fact that nobody wrote down, or that was lost with its record."""


class Source(StrEnum):
    """Who puts an event on the bus: of all that an event says, IAM holds a sender to this and the detail type only."""

    MAYFLY = "mayfly"
    API = "mayfly.api"
    """What a person asked of the HTTP API, or clicked in the console."""
    OPERATOR = "mayfly.operator"
    """An operator of the installation."""
    PUPPET = "mayfly.puppet"
    """The CI server that packs the Puppet code."""


APPLICATION_SOURCE = "mayfly.app."
"""Begins the source of the CI servers and testers of one application, whose name follows."""


class Event(StrEnum):
    """The detail type of each event that Mayfly hears from people and programs, or says."""

    CODE_VERSION_PUSHED = "Code Version Pushed"
    TEST_FINISHED = "Test Finished"
    PULL_REQUEST_CLOSED = "Pull Request Closed"
    ENVIRONMENT_EXTENSION_REQUESTED = "Environment Extension Requested"
    ENVIRONMENT_TERMINATION_REQUESTED = "Environment Termination Requested"
    APPLICATION_CHANGE_REQUESTED = "Application Change Requested"
    ENVIRONMENT_SLEEP_REQUESTED = "Environment Sleep Requested"
    ENVIRONMENT_WAKE_REQUESTED = "Environment Wake Requested"
    KILL_SWITCH_SET = "Kill Switch Set"
    SWEEP_REQUESTED = "Sweep Requested"
    IMAGE_BAKE_REQUESTED = "Image Bake Requested"
    PUPPET_CODE_PUSHED = "Puppet Code Pushed"
    IMAGE_PROMOTION_REQUESTED = "Image Promotion Requested"
    IMAGE_ROLLBACK_REQUESTED = "Image Rollback Requested"
    ROLLOUT_APPROVED = "Rollout Approved"
    ROLLOUT_REQUESTED = "Rollout Requested"
    ROLLOUT_ABORT_REQUESTED = "Rollout Abort Requested"
    ROLLOUT_PAUSE_REQUESTED = "Rollout Pause Requested"
    ROLLOUT_RESUME_REQUESTED = "Rollout Resume Requested"
    DEAD_LETTERS_REDRIVE_REQUESTED = "Dead Letters Redrive Requested"
    DEAD_LETTERS_DISCARD_REQUESTED = "Dead Letters Discard Requested"

    RELEASE_STARTED = "Release Started"
    RELEASE_PASSED = "Release Passed"
    RELEASE_FAILED = "Release Failed"
    ENVIRONMENT_REQUESTED = "Environment Requested"
    ENVIRONMENT_QUEUED = "Environment Queued"
    ENVIRONMENT_ON_DEMAND = "Environment On-Demand"
    ENVIRONMENT_READY = "Environment Ready"
    ENVIRONMENT_INSTANCE_LOST = "Environment Instance Lost"
    ENVIRONMENT_EXTENDED = "Environment Extended"
    ENVIRONMENT_EXPIRING = "Environment Expiring"
    ENVIRONMENT_ASLEEP = "Environment Asleep"
    ENVIRONMENT_AWAKE = "Environment Awake"
    ENVIRONMENT_TERMINATED = "Environment Terminated"
    ENVIRONMENT_FAILED = "Environment Failed"
    ROOM_RUNNING_LOW = "Room Running Low"
    KILL_SWITCH_TURNED = "Kill Switch Turned"
    SWEEP_COMPLETED = "Sweep Completed"
    SWEEP_HALTED = "Sweep Halted"
    IMAGE_BAKED = "Image Baked"
    IMAGE_REJECTED = "Image Rejected"
    IMAGE_PROMOTED = "Image Promoted"
    IMAGE_ROLLED_BACK = "Image Rolled Back"
    IMAGE_PROMOTION_REFUSED = "Image Promotion Refused"
    IMAGE_PROMOTION_FAILED = "Image Promotion Failed"
    IMAGE_REPLACED = "Image Replaced"
    IMAGE_RETIRED = "Image Retired"
    IMAGE_RESTORED = "Image Restored"
    ROLLOUT_AWAITING_APPROVAL = "Rollout Awaiting Approval"
    ROLLOUT_STARTED = "Rollout Started"
    ROLLOUT_PAUSED = "Rollout Paused"
    ROLLOUT_COMPLETED = "Rollout Completed"
    ROLLOUT_ROLLED_BACK = "Rollout Rolled Back"
    ROLLOUT_FAILED = "Rollout Failed"
    ROLLOUT_SUPERSEDED = "Rollout Superseded"
    SERVICE_DRIFTED = "Service Drifted"


class AwsEvent(StrEnum):
    """The detail type of each event of AWS that Mayfly hears."""

    STACK_STATUS = "CloudFormation Stack Status Change"
    INSTANCE_STATE = "EC2 Instance State-change Notification"
    IMAGE_STATE = "EC2 AMI State Change"
    INSTANCE_TERMINATED = "EC2 Instance Terminate Successful"
    LAUNCH_FAILED = "EC2 Instance Launch Unsuccessful"
    COMMAND_STATUS = "EC2 Command Status-change Notification"
    REFRESH_CHECKPOINT = "EC2 Auto Scaling Instance Refresh Checkpoint Reached"
    REFRESH_SUCCEEDED = "EC2 Auto Scaling Instance Refresh Succeeded"
    REFRESH_FAILED = "EC2 Auto Scaling Instance Refresh Failed"
    REFRESH_CANCELLED = "EC2 Auto Scaling Instance Refresh Cancelled"
    ROLLBACK_SUCCEEDED = "EC2 Auto Scaling Instance Refresh Rollback Succeeded"
    ROLLBACK_FAILED = "EC2 Auto Scaling Instance Refresh Rollback Failed"
    PARAMETER_CHANGED = "Parameter Store Change"


class RecordKind(StrEnum):
    """What a record is of. A builder, a command and an Auto Scaling group are known by AWS's ids, and point to their
    bake or service: AWS's events name nothing else. A service is a permanent environment."""

    ENVIRONMENT = "environment"
    FLEET = "fleet"
    """The instances of an environment, by its name: its own record costs the same, however many they are."""
    RELEASE = "release"
    PULL_REQUEST = "pull"
    BRANCH = "branch"
    BAKE = "bake"
    BUILDER = "builder"
    COMMAND = "command"
    IMAGE = "image"
    CHANNEL = "channel"
    FAMILY = "family"
    SERVICE = "service"
    ROLLOUT = "rollout"
    GROUP = "group"
    SWEEP = "sweep"
    POOL = "pool"
    LEDGER = "ledger"
    """What is reserved of all that is limited, and who waits for some of it."""
    QUOTAS = "quotas"
    """What AWS allows at an account and Region, and what others use of it."""
    NEEDS = "needs"
    """What the last environment of an order really had."""
    DEAD_LETTER = "dead-letter"
    SUM = "sum"
    PACE = "pace"
    """When an account and Region takes the next call of CloudFormation."""
    UNSAID = "unsaid"
    """Keeps announcements that EventBridge did not take in DynamoDB, until a sweep makes them."""
    LATE_REPORT = "late-report"
    """Keeps reports that S3 did not take in DynamoDB, until a sweep writes them."""


class DeadLetterKind(StrEnum):
    """Why a message became a dead letter."""

    REFUSED = "refused"
    """A function could not understand or follow it."""
    FAILED = "failed"
    """A function raised an error each time that Lambda tried."""
    UNDELIVERED = "undelivered"
    """EventBridge or SNS could not hand it to its function."""
    UNREADABLE = "unreadable"
    """Nobody knows what it is, or whose: it can only be discarded."""


class DeadLetterStage(StrEnum):
    """Where a dead letter stands."""

    WAITING = "waiting for a person"
    REDRIVEN = "redriven"
    DISCARDED = "discarded"


class SuiteKind(StrEnum):
    """How a suite's result comes."""

    AUTOMATED = "automated"
    MANUAL = "manual"
    PREVIEW = "preview"
    """None comes: it shows a pull request until that is closed, and no verdict waits for it."""


USED_BY_PEOPLE = (SuiteKind.MANUAL, SuiteKind.PREVIEW)
"""Kinds of suites whose environments people use, and may sleep while nobody does."""


class ReleaseStage(StrEnum):
    """Where a release stands."""

    REQUESTED = "requested"
    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"


class EnvironmentStage(StrEnum):
    """Where an environment stands in its life."""

    PLANNED = "planned"
    QUEUED = "queued"
    """It waits for room: a ceiling, a budget or a quota."""
    CREATING = "creating"
    AWAITING_TESTS = "awaiting tests"
    TERMINATING = "terminating"
    TERMINATED = "terminated"
    ADOPTED = "adopted"
    """A sweep found it with nobody waiting for its end, and waits now."""

    @classmethod
    def _missing_(cls, value: object) -> "EnvironmentStage | None":
        return cls.ADOPTED if value in _RENAMED else None


class BakeStage(StrEnum):
    """Where a bake stands."""

    REQUESTED = "requested"
    PLANNED = "planned"
    BUILDING = "building"
    IMAGING = "imaging"
    PROVEN = "proven"
    REJECTED = "rejected"
    SUPERSEDED = "superseded"


class ImageStage(StrEnum):
    """Where an image stands: what its proof said of it, and whether it is there still."""

    IMAGING = "imaging"
    PROVEN = "proven"
    REJECTED = "rejected"
    RETIRED = "retired"


class Retirement(StrEnum):
    """How far an image is on its way out, or that it is back."""

    AVAILABLE = "available"
    DEPRECATED = "deprecated"
    DISABLED = "disabled"
    DEREGISTERED = "deregistered"
    RESTORED = "restored"


class ServiceStage(StrEnum):
    """Where a permanent environment stands."""

    PLANNED = "planned"
    ROLLING_OUT = "rolling out"
    STEADY = "steady"
    NEEDS_A_PERSON = "needs a person"
    REMOVED = "removed"


class RolloutStage(StrEnum):
    """Where a rollout stands."""

    AWAITING_APPROVAL = "awaiting approval"
    AWAITING_WINDOW = "awaiting window"
    AWAITING_KILL_SWITCH = "awaiting kill switch"
    AWAITING_ALARMS = "awaiting alarms"
    AWAITING_WAKING = "awaiting waking"
    """The permanent environment sleeps."""
    RUNNING = "running"
    REPLACING = "replacing"
    PAUSED = "paused"
    """It stands at a checkpoint until somebody resumes it."""
    ROLLING_BACK = "rolling back"
    COMPLETED = "completed"
    ROLLED_BACK = "rolled back"
    FAILED = "failed"
    SUPERSEDED = "superseded"


class RolloutCause(StrEnum):
    """Why a permanent environment is rolled out."""

    CREATION = "creation"
    CHANGE = "change"
    REQUEST = "request"
    STEP_BACK = "step back"
    DRIFT = "drift"
    AGE = "age"


class Outcome(StrEnum):
    """What an environment's ending means for its suite."""

    PASSED = "passed"
    FAILED = "failed"
    EXPIRED = "expired"
    """Its deadline passed without a result."""
    BROKEN = "broken"
    """The environment itself failed: the tests had no fair chance."""
    CANCELLED = "cancelled"
    """A person ended it before there was a result."""


class TestResult(StrEnum):
    """What tests, or a person in their place, can report."""

    __test__ = False  # pytest: a word, not a test

    PASSED = Outcome.PASSED.value
    FAILED = Outcome.FAILED.value


class EndingCause(StrEnum):
    """What ended an environment."""

    TESTS = "tests"
    DEADLINE = "deadline"
    FAILURE = "failure"
    REQUEST = "request"
    IDLE = "idle"
    """Nobody used it for as long as its application says."""


class Begin(StrEnum):
    """The step of an environment's life at which its execution begins: a new life with its creation, an adopted one
    with what is left of it."""

    CREATION = "creation"
    TESTS = "tests"
    TERMINATION = "termination"


class SweepAction(StrEnum):
    """What a sweep does with an environment."""

    KEEP = "keep"
    """Nothing: it lives, or its own execution is ending it."""
    END = "end"
    """A termination is started for it, on the same way as every other."""
    WAKE = "wake"
    """Its execution is told that its time is over; it should have noticed."""
    ADOPT = "adopt"
    """Nobody waits for it; an execution is started that waits until its deadline."""
    REFUSE = "refuse"
    """It is past its end and must not be touched; people are told."""


class Wait(StrEnum):
    """What an execution's task token waits for."""

    ROOM = "room"
    CREATION = "creation"
    TESTS = "tests"
    DELETION = "deletion"
    BUILDER = "builder"
    IMAGE = "image"
    PREPARE = "prepare"
    REPLACE = "replace"
    SETTLE = "settle"
    RETURN_INSTANCES = "return instances"
    RETURN_STACK = "return stack"


class Tone(StrEnum):
    """How a stage or an outcome is to be taken: its colour, in the console as on the command line."""

    GOOD = "good"
    BUSY = "busy"
    WARN = "warn"
    """It waits for somebody or something."""
    BAD = "bad"
    NEUTRAL = "neutral"
    """It is over, or nothing is known."""


_RENAMED = {"taken up": EnvironmentStage.ADOPTED.value}

_TONES: dict[Tone, tuple[StrEnum, ...]] = {
    Tone.GOOD: (
        *(EnvironmentStage.AWAITING_TESTS, Outcome.PASSED, BakeStage.PROVEN),
        *(Retirement.AVAILABLE, Retirement.RESTORED, ServiceStage.STEADY, RolloutStage.COMPLETED),
    ),
    Tone.BUSY: (
        *(ReleaseStage.REQUESTED, ReleaseStage.RUNNING, EnvironmentStage.PLANNED, EnvironmentStage.CREATING),
        *(EnvironmentStage.TERMINATING, BakeStage.BUILDING, BakeStage.IMAGING),
        *(ServiceStage.ROLLING_OUT, RolloutStage.REPLACING, SweepAction.ADOPT),
    ),
    Tone.WARN: (
        *(RolloutStage.AWAITING_APPROVAL, RolloutStage.AWAITING_WINDOW, RolloutStage.AWAITING_KILL_SWITCH),
        *(
            RolloutStage.AWAITING_ALARMS,
            RolloutStage.AWAITING_WAKING,
            EnvironmentStage.ADOPTED,
            SweepAction.END,
            SweepAction.WAKE,
        ),
        *(EnvironmentStage.QUEUED, RolloutStage.PAUSED),
        DeadLetterStage.WAITING,
    ),
    Tone.BAD: (
        *(Outcome.FAILED, Outcome.BROKEN, Outcome.EXPIRED, BakeStage.REJECTED),
        *(RolloutStage.ROLLED_BACK, RolloutStage.ROLLING_BACK, ServiceStage.NEEDS_A_PERSON, SweepAction.REFUSE),
    ),
}
_TONE = {str(word): tone for tone, words in _TONES.items() for word in words}


def label_of(word: str) -> str:
    """Returns a stage or an outcome for people, by its name of today."""
    return _RENAMED.get(word, word)


def tone_of(word: str) -> Tone:
    """Returns the tone of a stage or an outcome. The same word has the same tone, whatever it is said of."""
    return _TONE.get(label_of(word), Tone.NEUTRAL)
