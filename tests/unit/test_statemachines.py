"""The state machines, read as the templates have them: what they call is there, allowed, bounded and caught."""

import json
import re
from pathlib import Path

import jsonata
import pytest

from mayfly.domain.bake import SCRIPT_MARGIN
from statemachines.format import formatted
from tests.blueprint import INSTALLATION, template

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = template(INSTALLATION)
RESOURCES = TEMPLATE["Resources"]
MACHINES = {
    name: RESOURCES[name]["Properties"]
    for name in RESOURCES
    if RESOURCES[name]["Type"] == "AWS::Serverless::StateMachine"
}
DEFINITIONS = {name: json.loads((ROOT / machine["DefinitionUri"]).read_text()) for name, machine in MACHINES.items()}
LIFE = DEFINITIONS["RunEnvironment"]["States"]
BAKE = DEFINITIONS["BakeImage"]["States"]
ROLLOUT = DEFINITIONS["RollOut"]["States"]
CLEANUP = "Delete Stack"


def walk(definition):
    """Every state of a machine with its name, those inside a Map too."""
    for name, state in definition["States"].items():
        yield name, state
        if "ItemProcessor" in state:
            yield from walk(state["ItemProcessor"])


ALL_STATES = [(machine, name, state) for machine in DEFINITIONS for name, state in walk(DEFINITIONS[machine])]
TASKS = [row for row in ALL_STATES if row[2]["Type"] == "Task"]
each_machine = pytest.mark.parametrize("machine", MACHINES)
RETRIED = [row for row in TASKS if row[0] != "ShowRelease"]
"""Tasks that are repeated as they are. What is shown is composed anew before it is told again."""
each_retried = pytest.mark.parametrize(("machine", "name", "state"), RETRIED, ids=[f"{m}-{n}" for m, n, _ in RETRIED])
each_task = pytest.mark.parametrize(("machine", "name", "state"), TASKS, ids=[f"{m}-{n}" for m, n, _ in TASKS])


def targets(state):
    """The names of the states that may follow, by Next, Default, Choices or Catch."""
    yield from (state[key] for key in ("Next", "Default") if key in state)
    yield from (choice["Next"] for choice in state.get("Choices", []))
    yield from (catch["Next"] for catch in state.get("Catch", []))


def expressions(value):
    """Every JSONata expression in a state, without its delimiters."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key != "ItemProcessor":
                yield from expressions(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from expressions(inner)
    elif isinstance(value, str) and value.startswith("{%"):
        yield value[2:-2].strip()


def statements(machine):
    return [statement for policy in MACHINES[machine]["Policies"] for statement in policy["Statement"]]


def allows(machine, action, resource):
    """Whether the machine's role allows an action on the resource of this logical id."""
    for statement in statements(machine):
        actions, resources = (
            value if isinstance(value, list) else [value] for value in (statement["Action"], statement["Resource"])
        )
        named = json.dumps(resources).replace("event-bus/${AWS::StackName}-facts", '"Facts')
        if statement["Effect"] == "Allow" and action in actions and re.search(rf'"{resource}(\.Arn)?"', named):
            return True
    return False


OF_RUNNERS = {
    "arn:aws:states:::http:invoke": {
        "states:InvokeHTTPEndpoint": "*",
        "events:RetrieveConnectionCredentials": ":connection/mayfly-*",
        "secretsmanager:GetSecretValue": ":secret:events!connection/mayfly-*",
        "secretsmanager:DescribeSecret": ":secret:events!connection/mayfly-*",
    },
    "arn:aws:states:::codebuild:startBuild.sync": {
        "codebuild:StartBuild": ":project/mayfly-tests-*",
        "codebuild:StopBuild": ":project/mayfly-tests-*",
        "codebuild:BatchGetBuilds": ":project/mayfly-tests-*",
        "events:PutRule": ":rule/StepFunctionsGetEventForCodeBuildStartBuildRule",
        "events:PutTargets": ":rule/StepFunctionsGetEventForCodeBuildStartBuildRule",
    },
}
"""What the states of runners need, and of what."""
CONFIGURED = {
    ("RunTests", "Invoke Function"): {"lambda:InvokeFunction": ":function:mayfly-tests-*"},
    ("RunTests", "Run Machine"): {"states:StartExecution": ":stateMachine:mayfly-tests-*"},
    ("RunEnvironment", "Start Tests"): {"states:StartExecution": '"Ref": "RunTests"'},
}
"""States whose call is another one than of its kind: what a platform team names bears a prefix."""


def allows_some(machine, action, resource):
    """Whether the machine's role allows an action on resources that are named like this."""
    return any(action in s["Action"] and resource in json.dumps(s["Resource"]) for s in statements(machine))


class TestSubstitutions:
    @each_machine
    def test_each_is_given_and_each_given_one_is_used(self, machine):
        used = set(re.findall(r"\$\{(\w+)\}", (ROOT / MACHINES[machine]["DefinitionUri"]).read_text()))
        assert used == set(MACHINES[machine]["DefinitionSubstitutions"])

    @each_machine
    def test_each_names_a_resource_of_the_template(self, machine):
        for name, value in MACHINES[machine]["DefinitionSubstitutions"].items():
            assert logical_id(value) in RESOURCES, name

    @each_machine
    def test_a_function_s_substitution_bears_its_name(self, machine):
        for name, value in MACHINES[machine]["DefinitionSubstitutions"].items():
            if RESOURCES[logical_id(value)]["Type"] == "AWS::Serverless::Function":
                assert logical_id(value) == name


def logical_id(value):
    if "Fn::Sub" in value:  # by its name
        return next(logical for logical, one in RESOURCES.items() if one.get("Properties", {}).get("Name") == value)
    reference = value.get("Ref") or value.get("Fn::GetAtt")
    return reference[0] if isinstance(reference, list) else reference.split(".")[0]


class TestShape:
    @each_machine
    def test_every_target_exists_and_every_state_is_reached(self, machine):
        def check(definition):
            reached, waiting = set(), [definition["StartAt"]]
            while waiting:
                name = waiting.pop()
                if name not in reached:
                    reached.add(name)
                    waiting.extend(targets(definition["States"][name]))
            assert reached == set(definition["States"])
            for state in definition["States"].values():
                if "ItemProcessor" in state:
                    check(state["ItemProcessor"])

        check(DEFINITIONS[machine])

    @each_machine
    def test_it_is_formatted(self, machine):
        text = (ROOT / MACHINES[machine]["DefinitionUri"]).read_text()
        assert text == formatted(text), "`make format` mends this"

    @each_machine
    def test_it_speaks_jsonata(self, machine):
        assert DEFINITIONS[machine]["QueryLanguage"] == "JSONata"

    @pytest.mark.parametrize(("machine", "name", "state"), ALL_STATES, ids=[f"{m}-{n}" for m, n, _ in ALL_STATES])
    def test_every_expression_can_be_parsed(self, machine, name, state):
        for expression in expressions(state):
            jsonata.Jsonata.jsonata(expression)

    @pytest.mark.parametrize("machine", ["RunEnvironment", "BakeImage", "RollOut", "ShowRelease"])
    def test_no_expression_uses_a_variable_that_some_way_there_leaves_unassigned(self, machine):
        """An undefined variable fails the execution past every Catch: the one thing that could leave a stack or a
        builder behind."""
        states = DEFINITIONS[machine]["States"]
        assigned = {DEFINITIONS[machine]["StartAt"]: frozenset()}
        waiting = list(assigned)
        while waiting:
            name = waiting.pop()
            state = states[name]
            ways = [(state.get(key), state.get("Assign", {})) for key in ("Next", "Default") if key in state]
            ways += [(choice["Next"], choice.get("Assign", {})) for choice in state.get("Choices", [])]
            ways += [(catch["Next"], catch.get("Assign", {})) for catch in state.get("Catch", [])]
            for target, assign in ways:
                known = assigned[name] | set(assign)
                before = assigned.get(target)
                now = known if before is None else before & known
                if now != before:
                    assigned[target] = now
                    waiting.append(target)
        for name, state in states.items():
            for expression in expressions(state):
                local = set(re.findall(r"\$(\w+) :=", expression)) | set(
                    re.findall(r"function\(\$(\w+), \$(\w+)\)", expression) and ["v", "k"]
                )
                used = set(re.findall(r"\$([a-z]\w*)(?![\w(])", expression)) - {"states"} - local
                assert used <= assigned[name], f"{name} uses {used - assigned[name]}"


class TestTasks:
    @each_task
    def test_it_is_bounded_in_time(self, machine, name, state):
        timeout = state["TimeoutSeconds"]
        assert isinstance(timeout, int) or timeout.startswith("{%")
        if isinstance(timeout, int):
            assert 0 < timeout <= 32 * 24 * 3600

    @each_task
    def test_what_it_calls_its_role_allows(self, machine, name, state):
        resource, arguments = state["Resource"], state.get("Arguments", {})
        if needs := OF_RUNNERS.get(resource) or CONFIGURED.get((machine, name)):
            assert all(allows_some(machine, action, what) for action, what in needs.items())
        elif resource.startswith("arn:aws:states:::lambda:invoke"):
            function = arguments["FunctionName"].strip("${}")
            assert RESOURCES[function]["Type"] == "AWS::Serverless::Function"
            assert allows(machine, "lambda:InvokeFunction", function)
        elif resource == "arn:aws:states:::events:putEvents":
            assert allows(machine, "events:PutEvents", "Facts")
            assert "${Facts}" in json.dumps(arguments)
        elif resource.removesuffix(".waitForTaskToken") == "arn:aws:states:::aws-sdk:dynamodb:updateItem":
            assert arguments["TableName"] == "${Table}"
            assert allows(machine, "dynamodb:UpdateItem", "Table")
        elif resource == "arn:aws:states:::states:startExecution.sync:2":
            child = logical_id(MACHINES[machine]["DefinitionSubstitutions"][arguments["StateMachineArn"].strip("${}")])
            assert allows(machine, "states:StartExecution", child)
            granted = {
                action
                for s in statements(machine)
                for action in (s["Action"] if isinstance(s["Action"], list) else [s["Action"]])
            }
            assert {
                "states:DescribeExecution",
                "states:StopExecution",
                "events:PutRule",
                "events:PutTargets",
            } <= granted
        else:
            pytest.fail(f"{resource} is new: say here what permission it needs")

    @each_task
    def test_a_wait_for_a_token_passes_the_token_on(self, machine, name, state):
        if state["Resource"].endswith(".waitForTaskToken"):
            assert "$states.context.Task.Token" in json.dumps(state["Arguments"])

    @each_task
    def test_functions_are_told_the_time(self, machine, name, state):
        if "lambda" in state["Resource"]:
            assert "$states.context.State.EnteredTime" in json.dumps(state["Arguments"]["Payload"])


class TestRoles:
    @each_machine
    def test_nothing_is_allowed_that_no_state_needs(self, machine):
        text = json.dumps(DEFINITIONS[machine])
        needs = {
            "lambda:InvokeFunction": "lambda:invoke",
            "dynamodb:UpdateItem": "dynamodb:updateItem",
            "events:PutEvents": "events:putEvents",
            "states:StartExecution": "states:startExecution",
            "states:DescribeExecution": "startExecution.sync",
            "states:StopExecution": "startExecution.sync",
            "events:PutTargets": "startExecution.sync",
            "events:PutRule": "startExecution.sync",
            "events:DescribeRule": "startExecution.sync",
            "codebuild:StartBuild": "codebuild:startBuild.sync",
            "codebuild:StopBuild": "codebuild:startBuild.sync",
            "codebuild:BatchGetBuilds": "codebuild:startBuild.sync",
            "states:InvokeHTTPEndpoint": "http:invoke",
            "events:RetrieveConnectionCredentials": "http:invoke",
            "secretsmanager:GetSecretValue": "http:invoke",
            "secretsmanager:DescribeSecret": "http:invoke",
        }
        for statement in statements(machine):
            for action in statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]:
                assert action.startswith("logs:") or needs[action] in text, action

    @each_machine
    def test_only_the_delivery_of_logs_and_calling_the_web_are_allowed_everywhere(self, machine):
        for statement in statements(machine):
            if statement["Resource"] == "*" and statement["Action"] != "states:InvokeHTTPEndpoint":
                assert all(action.startswith("logs:") for action in statement["Action"])


BOUNDS = ("IntervalSeconds", "BackoffRate", "MaxAttempts", "MaxDelaySeconds", "JitterStrategy")
TRANSIENT = {
    # Whatever else a function or a service says: a throttled call, a sandbox that died. Six more attempts within about
    # two minutes, at random moments, so that many executions do not return together.
    ("States.TaskFailed",): (2, 2, 6, 60, "FULL"),
    # The same where nobody waits with a token: the call itself took too long, and can be repeated.
    ("States.TaskFailed", "States.Timeout"): (2, 2, 6, 60, "FULL"),
    # A child that could not be started. One that has failed is not started again: its name is used up.
    (
        "StepFunctions.ExecutionLimitExceeded",
        "StepFunctions.SdkClientException",
        "StepFunctions.AWSStepFunctionsException",
    ): (5, 2, 8, 300, "FULL"),
    # Tests that could not be started. Those that have failed are not run again.
    ("Lambda.TooManyRequestsException",): (5, 2, 8, 300, "FULL"),
    ("CodeBuild.AccountLimitExceededException", "CodeBuild.SdkClientException"): (5, 2, 8, 300, "FULL"),
}
FOR_HOURS = (2, 2, 150, 300, "FULL")
"""A fault that lasts: every five minutes at most, for twelve hours, or six where chance is as it is in the mean."""
LASTING = {
    *("Delete Stack", "Confirm Gone", "Remove Builder", "Return Instances", "Return Stack", "Verify", "Judge", "Move"),
}
"""What an execution is for, whatever is down meanwhile: to end what it began, to go back to what was there before, to
do what follows from the move of a channel, and to say how it ended. So are all announcements, and the wait for tests,
which has a deadline of its own."""
PENDING = {
    # Not there yet, said by the function that looked. The interval is how often it looks.
    "NotReady": (15, 1.5, 6, None, None),  # instances boot: five minutes
    "StillBooting": (
        30,
        1.5,
        20,
        120,
        None,
    ),  # the same of a stack in Express mode, for which nobody has waited: 35 min
    "StillThere": (15, 1.5, 15, 300, None),  # instances, volumes, interfaces go: AWS takes up to 45 minutes
    "NotSettled": (30, 1, 20, None, None),  # targets become healthy: ten minutes
    "DeletionFailed": (60, 6, 5, 2400, None),  # each attempt frees more; the last comes after an hour, as interfaces
    # of functions linger for up to 45 minutes
    "CopyLimitReached": (
        60,
        1.5,
        60,
        300,
        None,
    ),  # other copies end, or somebody raises a quota: five hours
    "KillSwitchOn": (300, 1, 288, None, None),  # a person stopped all deletions: for a day
    "NotTaken": (2, 2, 150, 300, "FULL"),  # EventBridge takes no announcement: for hours, as of a state that announces
    "Resumed": (1, 1, 50, None, None),  # a person has a paused rollout go on
    "RefreshCancelled": (5, 2, 3, None, None),  # the way back goes on, whoever cancelled it
}
LOOKS = {
    # A wait for an event that may be lost: the timeout is no failure but the next look, so there is no delay.
    "RunEnvironment": {"Create Stack": 3, "Delete Stack": 6, "Confirm Gone": 6},
    "BakeImage": {"Create Image": 1},
    "PromoteImage": {"Copy Image": 3},
    "RollOut": {
        "Prepare Stack": 8,
        "Replace Instances": 7,
        "Settle Stack": 8,
        "Return Instances": 11,
        "Return Stack": 8,
    },
}


HISTORY = 25_000
"""Events that an execution's history may have; with the next one Step Functions fails it."""
SUITES, REGIONS = 100, 40
"""Branches of a Map at most: a release's suites, as its configuration bounds them; an image's Regions."""
MOST_EXTENSIONS = 500
"""What an application may permit; each leaves and enters `Await Tests` or `Delete Stack` once more."""

SHOWN = 2 * 77
"""Times that each state of what shows a release is visited: once a try, and as often again because there is news."""


def most_events(definition, branches=1, times=1):
    """The events of an execution in which every state is visited and every Retry used up: of a task they are scheduled,
    started, submitted, failed and timed out an attempt, and entered and exited once."""
    events = 0
    for state in definition["States"].values():
        attempts = 1 + sum(retry["MaxAttempts"] for retry in state.get("Retry", []))
        events += times * (2 + (5 * attempts if state["Type"] == "Task" else 1))
        if "ItemProcessor" in state:
            events += branches * 3 + most_events(state["ItemProcessor"], times=branches)
    return events


@each_machine
def test_no_history_comes_near_what_step_functions_keeps(machine):
    again = MOST_EXTENSIONS * 12 if machine == "RunEnvironment" else 0
    branches = SUITES if machine == "RunRelease" else REGIONS
    times = SHOWN if machine == "ShowRelease" else 1
    assert most_events(DEFINITIONS[machine], branches, times) + again < HISTORY * 0.9


class TestRetries:
    """A Retry repeats a transient fault, looks again at what is pending or at a wait, or names what is final."""

    @each_retried
    def test_each_is_of_one_kind_with_the_bounds_of_its_kind(self, machine, name, state):
        for retry in state["Retry"]:
            errors, bounds = tuple(retry["ErrorEquals"]), tuple(retry.get(key) for key in BOUNDS)
            looks = LOOKS.get(machine, {}).get(name)
            if retry["MaxAttempts"] == 0:
                assert bounds == (1, None, 0, None, None)
            elif errors == ("States.Timeout",):
                assert bounds == (1, 1, looks, None, None)
            else:
                lasts = name in LASTING | {"Await Room", "Await Tests"} or name.startswith("Announce")
                of_kind = FOR_HOURS if lasts and errors in TRANSIENT else TRANSIENT.get(errors)
                assert bounds == (of_kind or PENDING.get(errors[0] if len(errors) == 1 else None)), errors

    @each_retried
    def test_a_transient_fault_is_retried_after_everything_that_has_a_name(self, machine, name, state):
        *named, last = (tuple(retry["ErrorEquals"]) for retry in state["Retry"])
        assert last in TRANSIENT, "the first that matches decides: the general one comes last"
        assert not TRANSIENT.keys() & set(named)

    @each_retried
    def test_a_timeout_of_a_wait_is_never_a_transient_fault(self, machine, name, state):
        """The call of a task that waits with a token was done long ago: repeating it is a decision of its own."""
        if state["Resource"].endswith((".waitForTaskToken", ".sync:2")):
            assert "States.Timeout" not in state["Retry"][-1]["ErrorEquals"]

    def test_every_error_that_is_named_is_raised_by_somebody(self):
        named = {error for _, _, state in RETRIED for retry in state["Retry"] for error in retry["ErrorEquals"]}
        own = {error for error in named if "." not in error}
        source = "".join(file.read_text() for part in ("layers", "functions") for file in (ROOT / part).rglob("*.py"))
        raised = set(re.findall(r"class (\w+)\(\w*(?:Exception|Error)\)", source)) | {
            "ValidationError"
        }  # pydantic's, and msgspec's
        answered = set(re.findall(r'"(\w+)"', source))
        assert own <= raised | answered
        assert PENDING.keys() <= own


class TestTheLife:
    """Whatever happens in a life leads through its cleanup."""

    @pytest.mark.parametrize("name", [name for name, state in LIFE.items() if state["Type"] == "Task"])
    def test_everything_is_caught(self, name):
        assert LIFE[name]["Catch"][-1]["ErrorEquals"] == ["States.ALL"]

    @pytest.mark.parametrize(
        "name",
        [
            *("Plan", "Await Room", "Create Stack", "Confirm Ready", "Who Tests?"),
            *("Run Command", "Start Tests", "Await Tests"),
        ],
    )
    def test_before_the_cleanup_every_way_leads_into_it(self, name):
        seen, waiting, ends = set(), [name], set()
        while waiting:
            here = waiting.pop()
            if here in seen or here == CLEANUP:
                continue
            seen.add(here)
            following = list(targets(LIFE[here]))
            ends |= set() if following else {here}
            waiting.extend(following)
        assert ends <= {"Refused"}, "only an order that cannot be read ends without a cleanup"

    def test_only_the_validation_of_the_order_is_refused_before_anything_is_built(self):
        into = [
            (name, c["ErrorEquals"]) for name, s in LIFE.items() for c in s.get("Catch", []) if c["Next"] == "Refused"
        ]
        assert into == [("Plan", ["ValidationError"])]

    def test_an_undisturbed_life_is_short(self):
        """State transitions as Step Functions bills them: one for each state entered, and the last to the end."""
        name, entered = DEFINITIONS["RunEnvironment"]["StartAt"], 0
        while name:
            entered += 1
            state = LIFE[name]
            name = state.get("Next") or state.get("Default")
        assert entered + 1 <= 10

    def test_a_lost_event_is_survived_on_both_waits(self):
        for name in ("Create Stack", "Delete Stack"):
            assert LIFE[name]["Retry"][0]["ErrorEquals"] == ["States.Timeout"]
            assert LIFE[name]["Retry"][0]["MaxAttempts"] >= 3

    def test_a_refused_termination_is_not_repeated(self):
        refused = next(retry for retry in LIFE[CLEANUP]["Retry"] if "TerminationRefused" in retry["ErrorEquals"])
        assert refused["MaxAttempts"] == 0

    def test_the_suites_of_a_release_do_not_stop_each_other(self):
        run = DEFINITIONS["RunRelease"]["States"]["Run Suites"]["ItemProcessor"]["States"]["Run Environment"]
        assert run["Catch"][0]["ErrorEquals"] == ["States.ALL"]
        assert run["Arguments"]["Name"] == "{% $states.input.environment %}"


class TestShowing:
    """Whatever a forge, a function or the table says: it is later told what is so then, or never."""

    STATES = DEFINITIONS["ShowRelease"]["States"]

    def test_no_call_is_repeated_as_it_is(self):
        for state in self.STATES.values():
            if state["Type"] == "Task":
                *others, catch = state["Catch"]
                assert [each["Next"] for each in others] == ["Claim Comment"] * len(others)
                assert (catch["ErrorEquals"], catch["Next"]) == (["States.TaskFailed", "States.Timeout"], "Later?")
                assert "Retry" not in state
        assert self.STATES["Pause"]["Next"] == "Compose"

    def test_the_pauses_grow_and_come_to_twelve_hours(self):
        pause = jsonata.Jsonata.jsonata(self.STATES["Pause"]["Seconds"][2:-2].strip())
        ends = jsonata.Jsonata.jsonata(self.STATES["Later?"]["Choices"][-1]["Condition"][2:-2].strip())
        pauses = []
        while True:
            for expression in (pause, ends):
                expression.assign("tries", len(pauses))
                expression.assign("why", {"Error": "States.Http.StatusCode.503"})
            if ends.evaluate(None):
                break
            pauses.append(pause.evaluate(None))
        assert pauses == sorted(pauses)
        assert pauses[0] == 15
        assert 11.5 * 3600 < sum(pauses) < 12.5 * 3600


class TestAPromotion:
    """One write moves a channel, and nothing comes before it that a failure would leave half done."""

    STATES = DEFINITIONS["PromoteImage"]["States"]

    def test_moves_after_everything_is_copied_shared_and_read_back(self):
        way, name = [], DEFINITIONS["PromoteImage"]["StartAt"]
        while name:
            way.append(name)
            name = self.STATES[name].get("Next")
        assert way == ["Plan", "Copy", "Share", "Move", "Announce Move", "Close", "Moved"]

    def test_fails_as_a_whole_where_one_region_fails(self):
        assert "Catch" not in self.STATES["Copy"]["ItemProcessor"]["States"]["Copy Image"]
        assert self.STATES["Copy"]["Catch"][-1]["Next"] == "Keep Outcome"

    @pytest.mark.parametrize("name", ["Plan", "Copy", "Share", "Move"])
    def test_every_failure_is_said(self, name):
        assert self.STATES[name]["Catch"][-1] == {
            "ErrorEquals": ["States.ALL"],
            "Assign": {"failure": "{% $states.errorOutput %}", "outcome": "Image Promotion Failed"},
            "Next": "Keep Outcome",
        }

    def test_one_that_is_overtaken_is_no_failure(self):
        assert self.STATES["Move"]["Catch"][0]["Assign"]["outcome"] == "Image Promotion Refused"
        (refused,) = self.STATES["Refused?"]["Choices"]
        assert self.STATES[refused["Next"]]["Type"] == "Succeed"

    def test_what_was_not_said_is_kept_as_it_would_have_been(self):
        (said,) = self.STATES["Announce Outcome"]["Arguments"]["Entries"]
        kept = self.STATES["Keep Outcome"]["Arguments"]["ExpressionAttributeValues"]
        assert kept[":event"] == {"S": said["DetailType"]}
        assert kept[":detail"] == {"S": "{% $string(" + said["Detail"][3:-3] + ") %}"}

    def test_a_lost_event_is_survived(self):
        first = self.STATES["Copy"]["ItemProcessor"]["States"]["Copy Image"]["Retry"][0]
        assert (first["ErrorEquals"], first["MaxAttempts"]) == (["States.Timeout"], 3)


class TestTheBake:
    """Whatever happens in a bake, its builder is removed and its family's next bake has its turn."""

    @pytest.mark.parametrize("name", ["Launch Builder", "Create Image"])
    def test_every_way_from_a_builder_leads_to_its_removal(self, name):
        seen, waiting = set(), [name]
        while waiting:
            here = waiting.pop()
            if here not in seen and here != "Remove Builder":
                seen.add(here)
                assert list(targets(BAKE[here])), f"{here} ends with the builder standing"
                waiting.extend(targets(BAKE[here]))
        assert BAKE[name]["Catch"][-1] == {
            "ErrorEquals": ["States.ALL"],
            "Assign": {"failure": "{% $states.errorOutput %}"},
            "Next": "Remove Builder",
        }

    def test_every_way_but_that_of_a_bake_that_stood_back_leads_to_a_verdict(self):
        seen, waiting, ends = set(), ["Plan"], set()
        while waiting:
            here = waiting.pop()
            if here not in seen and here != "Judge":
                seen.add(here)
                following = list(targets(BAKE[here]))
                ends |= set() if following else {here}
                waiting.extend(following)
        assert ends == {"Superseded"}

    def test_a_builder_whose_event_is_lost_is_looked_at_by_who_makes_the_image(self):
        timeout = BAKE["Launch Builder"]["Catch"][0]
        assert timeout == {"ErrorEquals": ["States.Timeout"], "Next": "Create Image"}
        assert any("States.Timeout" in retry["ErrorEquals"] for retry in BAKE["Create Image"]["Retry"])

    def test_mayfly_waits_for_a_builder_as_long_as_its_deadline_says(self):
        margin = int(SCRIPT_MARGIN.total_seconds() // 60)
        assert BAKE["Launch Builder"]["TimeoutSeconds"] == f"{{% ($plan.builder.minutes + {margin}) * 60 %}}"

    def test_the_kill_switch_holds_the_removal_up_for_a_day(self):
        retry = next(each for each in BAKE["Remove Builder"]["Retry"] if "KillSwitchOn" in each["ErrorEquals"])
        assert retry["IntervalSeconds"] * retry["MaxAttempts"] == 24 * 3600

    def test_an_undisturbed_bake_with_its_proof_costs_22_state_transitions_at_most(self):
        def entered(states, name):
            return (
                1 + entered(states, states[name].get("Default") or states[name]["Next"]) if follows(states[name]) else 1
            )

        def follows(state):
            return "Next" in state or "Default" in state

        # The way of a good bake takes the choice at its verdict.
        good = BAKE | {"Proven?": {"Type": "Choice", "Default": BAKE["Proven?"]["Choices"][0]["Next"]}}
        own, proof = entered(good, "Plan") + 1, entered(LIFE, "Plan") + 1
        assert own + proof <= 22, (own, proof)


class TestTheRollout:
    """Whatever happens in a rollout, the service is brought back, looked at, and its turn given back."""

    WAITS = ("Prepare Stack", "Replace Instances", "Settle Stack", "Return Instances", "Return Stack")

    def way(self, name, **choices):
        """The states that are entered from this one on, where nothing fails and choices go as given."""
        entered = []
        while name:
            entered.append(name)
            state = ROLLOUT[name]
            name = choices.get(name) or state.get("Next") or state.get("Default")
        return entered

    def test_a_good_one_prepares_replaces_settles_and_verifies(self):
        assert self.way("Announce Start", **{"Completed?": "Completed"}) == [
            "Announce Start",
            "Prepare Stack",
            "New?",
            "Replace Instances",
            "Settle Stack",
            "Verify",
            "Judge",
            "Announce End",
            "Completed?",
            "Completed",
        ]

    def test_costs_the_same_whatever_the_number_of_instances(self):
        """No Map, no loop: what repeats is bounded by the limit in time, not by how much there is to replace."""
        assert not any(state["Type"] in ("Map", "Parallel", "Wait") for state in ROLLOUT.values())
        assert len(self.way("Announce Start", **{"Completed?": "Completed"})) + 1 <= 12

    @pytest.mark.parametrize("name", ["Prepare Stack", "Replace Instances", "Settle Stack"])
    def test_every_failure_on_the_way_forward_leads_back(self, name):
        (catch,) = ROLLOUT[name]["Catch"]
        assert catch == {
            "ErrorEquals": ["States.ALL"],
            "Assign": {"failure": "{% $states.errorOutput %}"},
            "Next": "Anything Before?",
        }
        assert self.way("Anything Before?")[1:4] == ["Return Instances", "Return Stack", "Verify"]

    def test_a_failure_on_the_way_back_keeps_nobody_from_looking(self):
        assert ROLLOUT["Return Instances"]["Catch"][-1]["Next"] == "Return Stack"
        assert ROLLOUT["Return Stack"]["Catch"][-1]["Next"] == "Verify"
        assert ROLLOUT["Verify"]["Catch"][-1]["Next"] == "Judge"

    def test_a_new_service_has_nothing_to_replace_and_nothing_to_go_back_to(self):
        for name, to in (("New?", "Verify"), ("Anything Before?", "Judge")):
            (choice,) = ROLLOUT[name]["Choices"]
            assert choice["Next"] == to
            expression = jsonata.Jsonata.jsonata(choice["Condition"][2:-2].strip())
            for before, new in ((None, True), ({"image": "ami-1"}, False)):
                expression.assign("states", {"context": {"Execution": {"Input": {"before": before}}}})
                assert expression.evaluate(None) is new

    @pytest.mark.parametrize("name", WAITS)
    def test_a_lost_event_is_survived_on_every_wait(self, name):
        assert ROLLOUT[name]["Retry"][0]["ErrorEquals"] == ["States.Timeout"]
        assert ROLLOUT[name]["Retry"][0]["MaxAttempts"] >= 3
        assert ROLLOUT[name]["Retry"][0]["BackoffRate"] == 1

    def test_its_limit_is_what_the_looks_at_the_refresh_come_to(self):
        replace = ROLLOUT["Replace Instances"]
        expression = jsonata.Jsonata.jsonata(replace["TimeoutSeconds"][2:-2].strip())
        expression.assign("states", {"context": {"Execution": {"Input": {"limit_minutes": 360}}}})
        assert expression.evaluate(None) * (1 + replace["Retry"][0]["MaxAttempts"]) == 360 * 60

    def test_what_auto_scaling_rolled_back_is_not_tried_again(self):
        final = ROLLOUT["Replace Instances"]["Retry"][2]
        assert {"RolledBack", "RefreshFailed", "RefreshCancelled"} <= set(final["ErrorEquals"])
        assert final["MaxAttempts"] == 0

    def test_a_way_back_that_was_cancelled_is_gone_again(self):
        again = ROLLOUT["Return Instances"]["Retry"][1]
        assert (again["ErrorEquals"], again["MaxAttempts"]) == (["RefreshCancelled"], 3)

    def test_announces_what_it_came_to(self):
        what = ROLLOUT["Announce End"]["Arguments"]["Entries"][0]["DetailType"][2:-2].strip()
        expression = jsonata.Jsonata.jsonata(what)
        said = {}
        for outcome in ("completed", "rolled back", "failed"):
            expression.assign("verdict", {"outcome": outcome})
            said[outcome] = expression.evaluate(None)
        assert said == {
            "completed": "Rollout Completed",
            "rolled back": "Rollout Rolled Back",
            "failed": "Rollout Failed",
        }

    def test_announces_what_it_begins_with(self):
        detail = ROLLOUT["Announce Start"]["Arguments"]["Entries"][0]["Detail"][2:-2].strip()
        plan = json.loads((ROOT / "events" / "update_service.json").read_text())["plan"]
        for before, was in ((plan["before"], {"image": plan["before"]["image"], "version": "1.4.1"}), (None, None)):
            expression = jsonata.Jsonata.jsonata(detail)
            expression.assign("states", {"context": {"Execution": {"Input": plan | {"before": before}}}})
            said = expression.evaluate(None)
            assert (said["rollout"], said["from"]) == ("webshop-production-17", was)
            assert said["to"] == {"image": plan["after"]["image"], "version": "1.4.2"}
