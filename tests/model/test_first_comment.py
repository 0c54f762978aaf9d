"""The machine that shows a release, on virtual time: whatever overlaps, dies or is away, a commit says at last what is
so, and its pull request does in one comment."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.github import GitHub
from mayfly.domain import forge
from mayfly.workflows import forging
from tests.model.dynamodb import DynamoDB
from tests.model.interpreter import Execution, Failure, Machines
from tests.model.timeline import Timeline
from tests.model.world import ROOT, definition

type Json = dict[str, Any]

MACHINE = "arn:aws:states:us-east-1:111111111111:stateMachine:mayfly-show-release"
SHA = "9fceb02d0ae598e95dc970b74767f19372d61af8"
SHOP = forge.Repository("github", "acme/shop", forge.API["github"], "mayfly")
MINUTE = 60
HOUR = 60 * MINUTE


class Showing:
    """The machine, the table, and GitHub."""

    def __init__(self) -> None:
        self.timeline = Timeline(datetime(2026, 11, 24, 7, tzinfo=UTC))
        self.dynamodb = DynamoDB(self.timeline)
        self.hub = GitHub("acme/shop", "secret", commits={SHA}, pulls={7})
        calls = {
            "arn:aws:states:::lambda:invoke": self._compose,
            "arn:aws:states:::http:invoke": self._call,
            "arn:aws:states:::aws-sdk:dynamodb:updateItem": self._write,
        }
        self.machines = Machines(self.timeline, {MACHINE: definition("show_release")}, calls)
        self.answers: Callable[[str], object] = lambda _: None
        """Is asked after each call of GitHub, by its method, whether its answer arrives."""
        self.lost = ""
        """The error of every call of GitHub, while it is away."""
        self.hidden: Callable[[str, str], bool] = lambda *_: False
        """Whether GitHub answers 404 to a call, by its method and path, as it does to who may not write."""
        self.refused_at: list[float] = []
        self.state, self.text = "pending", ""
        """What the records say."""

    def _compose(self, arguments: Json) -> Json:
        """What the function answers, in its form."""
        asked = arguments["Payload"]
        assert asked["release"] == "webshop-1-4-2"
        status = {"method": "POST", "url": f"{SHOP.url}/statuses/{SHA}", "body": {"state": self.state}}
        comment = forge.comment(SHOP, 7, self.text, asked["now"])
        said = {"connection": "arn", "status": status, "comment": comment, "pull_request": "webshop#7"}
        return {"Payload": json.loads(json.dumps(said | {"forget_after": 1_800_000_000}))}

    def _call(self, arguments: Json) -> Json:
        if self.lost:
            raise Failure(self.lost)
        path = arguments["ApiEndpoint"].removeprefix(forge.API["github"])
        if self.hidden(arguments["Method"], path):
            raise Failure("States.Http.StatusCode.404", json.dumps({"message": "Not Found"}))
        query = "&".join(f"{name}={value}" for name, value in arguments.get("QueryParameters", {}).items())
        headers = {"User-Agent": "x", "Authorization": "Bearer secret"}
        body = json.dumps(arguments.get("RequestBody")).encode()
        status, said = self.hub.answer(arguments["Method"], f"{path}?{query}", headers, body)
        if status >= 400:
            self.refused_at.append(self.timeline.now)
            raise Failure(f"States.Http.StatusCode.{status}", json.dumps(said))
        self.answers(arguments["Method"])
        return {"ResponseBody": said}

    def _write(self, arguments: Json) -> Json:
        try:
            return self.dynamodb.update_item("", **arguments)
        except ClientError as error:
            raise Failure(f"DynamoDb.{error.response['Error']['Code']}", str(error)) from None

    def show(self, text: str) -> Execution:
        """Begins to show a release of which there is this to say now."""
        self.text = text
        begun = self.machines.start(MACHINE, f"show-{len(self.machines.executions)}", {"release": "webshop-1-4-2"})
        assert begun
        return begun

    def until(self, one: Execution, state: str) -> None:
        """Lets time pass until an execution is in a state."""
        for _ in range(2_000):
            if one.state == state:
                return
            self.timeline.advance(0.25)
        raise AssertionError(f"it is in {one.state}")

    def record(self) -> Json:
        """What is remembered of the pull request."""
        return self.dynamodb.items["pull#webshop#7"]

    def comments(self) -> list[str]:
        """The comments on the pull request, without their markers."""
        return [each["body"].partition("\n")[2] for each in self.hub.comments.values()]


@pytest.fixture
def showing() -> Showing:
    return Showing()


def test_two_executions_that_overlap_write_one_comment(showing: Showing) -> None:
    begun = [showing.show("first")]
    for seconds in range(40):
        showing.timeline.advance(0.25)
        if seconds < 6:
            begun.append(showing.show(f"another {seconds}"))
    showing.timeline.advance(10 * MINUTE)
    assert {one.status for one in begun} == {"SUCCEEDED"}
    assert len(showing.comments()) == 1
    showing.show("last")
    showing.timeline.advance(MINUTE)
    assert showing.comments() == ["last"]


def stop_in(showing: Showing, state: str, news: str, later: str) -> None:
    """Somebody stops the Step Functions execution that shows some news: the next one leaves its comment alone there."""
    stopped = showing.show(news)
    showing.until(stopped, state)
    showing.machines.stop(stopped)
    follows = showing.show(later)
    showing.timeline.advance(30 * MINUTE)
    assert follows.status == "SUCCEEDED"
    assert showing.comments() == [later]


@pytest.mark.parametrize(
    "state",
    ["Compose", "Set Status", "Find Comment", "Claim Comment", "Look For Comment", "Post Comment", "Remember Comment"],
)
def test_one_that_is_stopped_in_any_state_leaves_no_second_comment_behind(showing: Showing, state: str) -> None:
    stop_in(showing, state, "first", "second")


@pytest.mark.parametrize("lost", [1, 2, 5])
def test_a_comment_that_is_written_and_whose_answer_is_lost_is_not_written_again(showing: Showing, lost: int) -> None:
    left = [lost]

    def answers(method: str) -> None:
        if method == "POST" and left[0] and showing.hub.comments:
            left[0] -= 1
            raise Failure("States.Timeout")

    showing.answers = answers
    one = showing.show("first")
    showing.timeline.advance(60 * MINUTE)
    assert one.status == "SUCCEEDED"
    assert showing.comments() == ["first"]


class TestAStrangersComment:
    """Who reads one of Mayfly's comments knows how it begins, and may write another one like it."""

    @pytest.mark.parametrize("before", ["", "> "])
    def test_that_begins_as_others_do_is_not_taken_for_ours(self, showing: Showing, before: str) -> None:
        theirs = f"{before}{forge.comment(SHOP, 7, '', '')['marker']}\nit passed?"
        showing.hub.comments[1] = {"issue": 7, "body": theirs}
        showing.show("first")
        showing.timeline.advance(MINUTE)
        assert showing.hub.comments[1]["body"] == theirs
        assert showing.comments()[1:] == ["first"]

    def test_that_copies_ours_is_not_taken_for_it_when_ours_is_deleted(self, showing: Showing) -> None:
        showing.show("first")
        showing.timeline.advance(MINUTE)
        [(ours, copied)] = showing.hub.comments.items()
        showing.hub.comments[1] = dict(copied)
        del showing.hub.comments[ours]
        showing.show("second")
        showing.timeline.advance(MINUTE)
        assert showing.comments() == ["first", "second"]

    def test_of_another_installation_stays_and_so_does_ours(self, showing: Showing) -> None:
        other = Showing()
        other.hub = showing.hub
        for text in ("first", "second"):
            for one, whose in ((showing, "ours"), (other, "theirs")):
                one.show(f"{text} of {whose}")
                one.timeline.advance(MINUTE)
        assert showing.comments() == ["second of ours", "second of theirs"]


def test_the_marker_is_kept_until_the_comment_is_known(showing: Showing) -> None:
    one = showing.show("first")
    showing.until(one, "Remember Comment")
    [posted] = showing.hub.comments.values()
    assert posted["body"] == f"{showing.record()['marker']['S']}\nfirst"
    showing.timeline.advance(MINUTE)
    assert showing.record().keys() == {"pk", "comment", "forget_after"}


def test_what_an_earlier_version_posted_is_changed(showing: Showing) -> None:
    [record] = json.loads((ROOT / "tests/samples/records/pull.json").read_text())[:1]
    showing.dynamodb.restore({record["pk"]["S"]: record})
    showing.hub.comments[int(record["comment"]["S"])] = {"issue": 7, "body": "of an earlier version"}
    showing.show("first")
    showing.timeline.advance(MINUTE)
    assert showing.comments() == ["first"]


def test_a_forge_that_takes_no_comment_is_asked_for_twelve_hours_and_given_up(showing: Showing) -> None:
    def answers(method: str) -> None:
        if method == "POST" and showing.hub.comments:
            showing.hub.comments.clear()
            raise Failure("States.Http.StatusCode.502")

    showing.answers = answers
    one = showing.show("first")
    showing.timeline.advance(11 * HOUR)
    assert one.running
    showing.timeline.advance(2 * HOUR)
    assert (one.status, one.error) == ("FAILED", "States.Http.StatusCode.502")
    assert len(showing.hub.statuses[SHA]) == 1, "what is told is not told again"


@pytest.mark.parametrize("lost", ["States.Http.StatusCode.503", "States.Http.StatusCode.429", "States.Timeout"])
def test_a_forge_that_is_away_for_hours_is_told_what_is_so_when_it_is_back(showing: Showing, lost: str) -> None:
    showing.lost = lost
    begun = [showing.show("it is tested")]
    showing.timeline.advance(2 * HOUR)
    showing.state = "success"
    begun.append(showing.show("it passed"))
    showing.timeline.advance(8 * HOUR)
    showing.lost = ""
    showing.timeline.advance(40 * MINUTE)
    assert {one.status for one in begun} == {"SUCCEEDED"}
    assert {one["state"] for one in showing.hub.statuses[SHA]} == {"success"}
    assert showing.comments() == ["it passed"]


@pytest.mark.parametrize("code", [400, 401, 403, 404, 422])
def test_a_forge_that_refuses_is_asked_once(showing: Showing, code: int) -> None:
    showing.lost = f"States.Http.StatusCode.{code}"
    one = showing.show("first")
    showing.timeline.advance(MINUTE)
    assert (one.status, one.error) == ("FAILED", showing.lost)
    assert one.entered.count("Set Status") == 1


@pytest.mark.parametrize("limit", ["primary", "secondary"])
@pytest.mark.parametrize("status", [403, 429])
def test_a_rate_limit_is_waited_for(showing: Showing, limit: str, status: int) -> None:
    showing.hub.limited, showing.hub.limits_by = limit, status
    one = showing.show("it passed")
    showing.timeline.advance(HOUR)
    assert one.running
    at = showing.refused_at
    assert len(at) > 5
    assert all(later - earlier >= MINUTE for earlier, later in pairwise(at)), "GitHub asks for a minute at least"
    showing.hub.limited = ""
    showing.timeline.advance(11 * MINUTE)
    assert one.status == "SUCCEEDED"
    assert showing.comments() == ["it passed"]


def test_a_token_that_may_not_write_ends_it_at_once_with_the_reason(showing: Showing) -> None:
    showing.hub.read_only = True
    one = showing.show("it passed")
    showing.timeline.advance(MINUTE)
    assert (one.status, one.error) == ("FAILED", "States.Http.StatusCode.403")
    assert one.cause.startswith("the connection may not do this there: ")
    assert "not accessible by personal access token" in one.cause
    assert len(showing.refused_at) == 1


class TestACommentThatSomebodyDeleted:
    """Whoever wants none says so once, by `comments` of the forge; a deletion may be a slip."""

    def test_is_written_anew_where_there_is_news(self, showing: Showing) -> None:
        showing.show("first")
        showing.timeline.advance(MINUTE)
        showing.hub.comments.clear()
        begun = [showing.show("second"), showing.show("second")]
        showing.timeline.advance(30 * MINUTE)
        assert {one.status for one in begun} == {"SUCCEEDED"}
        assert showing.comments() == ["second"]
        showing.show("third")
        showing.timeline.advance(MINUTE)
        assert showing.comments() == ["third"]

    @pytest.mark.parametrize(
        "state", ["Change Comment", "Claim Comment", "Look For Comment", "Post Comment", "Remember Comment"]
    )
    def test_is_written_once_whoever_is_stopped(self, showing: Showing, state: str) -> None:
        showing.show("first")
        showing.timeline.advance(MINUTE)
        showing.hub.comments.clear()
        stop_in(showing, state, "second", "third")

    def test_is_not_taken_for_gone_where_no_comment_can_be_seen(self, showing: Showing) -> None:
        showing.show("first")
        showing.timeline.advance(MINUTE)
        seen = showing.hub.comments, showing.hub.pulls
        showing.hub.comments, showing.hub.pulls = {}, set()
        blind = showing.show("second")
        showing.timeline.advance(MINUTE)
        assert (blind.status, blind.error) == ("FAILED", "States.Http.StatusCode.404")
        assert "Look For Comment" in blind.entered
        showing.hub.comments, showing.hub.pulls = seen
        showing.show("third")
        showing.timeline.advance(30 * MINUTE)
        assert showing.comments() == ["third"]


class TestACommentThatIsListedAndAnswers404:
    """A list lags behind a deletion; and GitHub says 404 to who may read, and not write."""

    def test_is_written_anew_once(self, showing: Showing) -> None:
        showing.show("first")
        showing.timeline.advance(MINUTE)
        [listed] = showing.hub.comments
        showing.hidden = lambda method, path: method == "PATCH" and f"/{listed}?" in f"{path}?"
        for text in ("second", "third"):
            one = showing.show(text)
            showing.timeline.advance(MINUTE)
            assert one.status == "SUCCEEDED"
        assert showing.comments() == ["first", "third"]

    def test_ends_at_once_with_the_reason_where_none_can_be_written(self, showing: Showing) -> None:
        showing.show("first")
        showing.timeline.advance(MINUTE)
        showing.hidden = lambda method, path: method != "GET" and "/issues/" in path
        one = showing.show("second")
        showing.timeline.advance(MINUTE)
        assert (one.status, one.error) == ("FAILED", "States.Http.StatusCode.404")
        assert one.cause.startswith("it is not there, or the connection may not do this there: ")
        assert one.entered.count("Change Comment") == 1
        assert showing.comments() == ["first"]


@pytest.mark.parametrize("slow", ["statuses", "comments"])
def test_an_older_call_that_is_done_after_a_newer_one_does_not_stand(showing: Showing, slow: str) -> None:
    showing.show("it is planned")
    showing.timeline.advance(MINUTE)
    showing.machines.latency = lambda arguments: 40 if slow in arguments.get("ApiEndpoint", "") else 0.5
    older = showing.show("it is tested")
    showing.until(older, "Set Status" if slow == "statuses" else "Change Comment")
    showing.timeline.advance(1)
    showing.machines.latency = lambda _: 0.5
    showing.state = "success"
    newer = showing.show("it passed")
    showing.timeline.advance(20)
    assert (newer.status, older.status) == ("SUCCEEDED", "RUNNING")
    stood = [one["state"] for one in showing.hub.statuses[SHA]], showing.comments()
    showing.timeline.advance(MINUTE)
    assert older.status == "SUCCEEDED"
    assert showing.hub.statuses[SHA][-1]["state"] == "success"
    assert showing.comments() == ["it passed"]
    if slow == "statuses":
        states = [one["state"] for one in showing.hub.statuses[SHA]]
        assert states == [*stood[0], "pending", "success"], "the older one was done last, and set right"


def test_gitlab_refuses_to_set_what_is_set_and_is_told_the_rest(showing: Showing) -> None:
    def answers(method: str) -> None:
        if method == "POST" and not showing.hub.comments:
            said = {"message": "Cannot transition status via :run from :running"}
            raise Failure("States.Http.StatusCode.400", json.dumps(said))

    showing.answers = answers
    one = showing.show("first")
    showing.until(one, "Look For Comment")
    showing.answers = lambda _: None
    showing.timeline.advance(MINUTE)
    assert one.status == "SUCCEEDED"
    assert showing.comments() == ["first"]


def test_a_comment_is_looked_for_longer_than_a_claim_holds() -> None:
    assert forging._FIRST_TRIED.total_seconds() > 20 * MINUTE
