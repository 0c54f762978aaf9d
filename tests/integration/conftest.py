"""One world a test: moto in this process, with a controller account and a workload account."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import moto.core.models
import pytest
from moto import mock_aws
from moto.dynamodb.exceptions import ItemSizeTooLarge
from moto.dynamodb.models.dynamo_type import DynamoType, LimitedSizeDict, bytesize
from moto.iam.models import iam_backends
from moto.stepfunctions.models import stepfunctions_backends
from pytest_socket import disable_socket, enable_socket

from local.workload import answers, commands, deletions, versions
from mayfly.aws import attempts, clients
from mayfly.domain.contents import Contents
from mayfly.domain.records import Entry
from mayfly.observability import logger
from mayfly.settings import load_settings, load_sign_in
from mayfly.workflows import image_contents
from tests.blueprint import INSTALLATION, template
from tests.inline import Inline
from tests.integration.api import Api
from tests.integration.world import (
    BLUEPRINT,
    CONTROLLER,
    CONTROLLER_ACCOUNT,
    ISSUER,
    KEYS,
    NOW,
    PUSHED,
    REGION,
    RELEASE,
    WORKLOAD_ACCOUNT,
    Clients,
    Wire,
    World,
    on_the_bus,
    session,
)


def pytest_configure(config: pytest.Config) -> None:
    """An invocation without a metric is nothing to warn of: most have none. The tests of the API's document are
    Schemathesis's, whose plugin no other folder needs."""
    config.addinivalue_line("filterwarnings", "ignore:No application metrics to publish:UserWarning")
    config.pluginmanager.import_plugin("schemathesis.pytest.plugin")


answers.install()
versions.install()

TABLE: dict[str, Any] = template(INSTALLATION)["Resources"]["Table"]["Properties"]


@pytest.fixture(scope="session")
def functions() -> tuple[Clients, Wire]:
    """The clients that the functions get, and the wire that hears them: made once, that takes longer than most
    tests."""
    own, wire = session(CONTROLLER_ACCOUNT), Wire()
    wire.join(own)
    return Clients(own), wire


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, functions: tuple[Clients, Wire]) -> Iterator[World]:
    """An installation of Mayfly as template.yaml sets it up, and an account where environments live. No way out."""
    for name in ("AWS_ENDPOINT_URL", "MAYFLY_WORKLOAD_ENDPOINT_URL", "AWS_PROFILE", "MOTO_ACCOUNT_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")  # over a thousand, for every test, and nobody looks
    own, wire = functions
    deletions.install_resource_lists()
    commands.install_lists()
    monkeypatch.setattr(moto.core.models, "RESPONSES_METHODS", ())  # for calls by requests, of which there are none
    disable_socket(allow_unix_socket=True)
    with mock_aws():
        monkeypatch.setattr(boto3, "client", own.client)
        monkeypatch.setattr(attempts, "threads", Inline)
        monkeypatch.setattr(LimitedSizeDict, "__setitem__", _replace_within_limits)
        for account, key in KEYS.items():
            backend = iam_backends[account]["aws"]
            backend.access_keys[key] = backend.create_temp_access_key()
        world = World(wire, "mayfly-records", "", "mayfly-blueprints", "", "", "mayfly", "mayfly-reports", "")
        _install(world)
        _configure(world, monkeypatch)
        _forget()
        wire.reset()
        yield world
    _forget()
    enable_socket()


@pytest.fixture
def api(world: World) -> Api:
    """An installation where a little has happened, and an operator who asks of its HTTP API."""
    world.upload(BLUEPRINT.read_text())
    world.call("accept_code_version", on_the_bus("Code Version Pushed", PUSHED))
    world.call("plan_release", {"release": RELEASE, "pushed": PUSHED, "now": NOW})
    world.planned(channel="base/stable")
    until, began = datetime(2027, 2, 22, tzinfo=UTC), Entry(NOW, "a test", "began", "because")
    of_it = {"service": "webshop-production", "application": "webshop"}
    world.records("rollout").begin("webshop-production-1", of_it, began, until)
    facts = {"application": "webshop", "name": "production", "stage": "steady", "version": "1", "instance_count": 6}
    world.records("service").begin("webshop-production", facts | {"drift": []}, began, until)
    asked = {"family": "base", "why": "because", "requested_by": "ops", "stage": "proven"}
    world.records("bake").begin("base-1a2b3c4d", asked, began, until)
    letter = {"kind": "refused", "function": "mayfly-accept-code-version", "stage": "waiting for a person", "at": NOW}
    world.records("dead-letter").begin("dl-9f86d081884c7d65", letter, began, until)
    image_contents.keep(world.reports, "ami-0123456789abcdef0", Contents({"package": {"openssl": "3.0.1"}}))
    asked = {"dry_run": True, "requested_by": "ops", "why": "because"}
    world.call("sweep_environments", on_the_bus("Sweep Requested", asked))
    world.wire.forget()
    return Api(world)


def _forget() -> None:
    """What a process keeps between invocations, and a test must not find."""
    clients.controller.cache_clear()
    load_settings.cache_clear()
    load_sign_in.cache_clear()
    logger.clear_state()
    logger.setLevel("INFO")  # the command line turns it off for its process


def _install(world: World) -> None:
    world.own("dynamodb").create_table(
        TableName=world.table,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=TABLE["AttributeDefinitions"],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        GlobalSecondaryIndexes=TABLE["GlobalSecondaryIndexes"],
    )
    world.queue = world.own("sqs").create_queue(QueueName="mayfly-dead-letters")["QueueUrl"]
    world.own("s3").create_bucket(Bucket=world.bucket)
    world.own("s3").put_bucket_versioning(Bucket=world.bucket, VersioningConfiguration={"Status": "Enabled"})
    world.own("s3").create_bucket(Bucket=world.reports)
    for bus in (world.bus, world.facts):
        world.own("events").create_event_bus(Name=bus)
    world.topic = world.own("sns").create_topic(Name="mayfly-team-shop")["TopicArn"]
    names = (
        "mayfly-run-release",
        "mayfly-run-environment",
        "mayfly-promote-image",
        "mayfly-bake-image",
        "mayfly-roll-out",
    )
    world.machine, world.environment_machine, world.promotion_machine, world.bake_machine, world.rollout_machine = (
        stepfunctions_backends[CONTROLLER_ACCOUNT][REGION]
        .create_state_machine(
            name=name,
            definition='{"StartAt": "End", "States": {"End": {"Type": "Succeed"}}}',
            roleArn=f"arn:aws:iam::{CONTROLLER_ACCOUNT}:role/{name}",
        )
        .arn
        for name in names
    )


def _configure(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The functions' settings, and what a platform team puts into the installation."""
    variables = {
        "MAYFLY_TABLE": world.table,
        "MAYFLY_CONTROLLER": CONTROLLER,
        "MAYFLY_RELEASE_MACHINE_ARN": world.machine,
        "MAYFLY_ENVIRONMENT_MACHINE_ARN": world.environment_machine,
        "MAYFLY_PROMOTION_MACHINE_ARN": world.promotion_machine,
        "MAYFLY_SHOW_MACHINE_ARN": f"arn:aws:states:{REGION}:{CONTROLLER_ACCOUNT}:stateMachine:mayfly-show-release",
        "MAYFLY_BAKE_MACHINE_ARN": world.bake_machine,
        "MAYFLY_TESTS_MACHINE_ARN": f"arn:aws:states:{REGION}:{CONTROLLER_ACCOUNT}:stateMachine:mayfly-run-tests",
        "MAYFLY_ROLLOUT_MACHINE_ARN": world.rollout_machine,
        "MAYFLY_RETIRE_MOST": "100",
        "MAYFLY_BUS": world.bus,
        "MAYFLY_FACTS": world.facts,
        "MAYFLY_REPORTS_BUCKET": world.reports,
        "MAYFLY_ACCOUNTS": f"{CONTROLLER_ACCOUNT},{WORKLOAD_ACCOUNT}",
        "MAYFLY_REGIONS": "",
        "MAYFLY_SWEEP_MOST": "20",
        "MAYFLY_SWEEP_PERCENT": "30",
        "MAYFLY_DEAD_LETTERS_URL": world.queue,
        "MAYFLY_BLUEPRINTS_BUCKET": world.bucket,
        "MAYFLY_PARAMETERS": "/mayfly",
        "MAYFLY_WORKLOAD_ROLE": "mayfly-workload",
        "MAYFLY_STACK_ROLE": "mayfly-cloudformation",
        "MAYFLY_RECORD_DAYS": "90",
        "MAYFLY_ISSUER": ISSUER,
        "MAYFLY_CLIENT_ID": "console",
        "MAYFLY_SIGN_IN": "https://mayfly-111111111111.auth.us-east-1.amazoncognito.com",
        "MAYFLY_GROUPS_CLAIM": "cognito:groups",
        "AWS_DEFAULT_REGION": REGION,
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    world.configure()
    world.put("/mayfly/images/base/stable", "ami-12c6146b")
    world.upload(BLUEPRINT.read_text())


def _replace_within_limits(item: LimitedSizeDict, key: str, value: Any) -> None:
    """Moto counts an attribute that is replaced as well as the one that takes its place; DynamoDB counts what is there
    then: names and values, 400 KB."""
    then = dict(item) | {key: value}
    names, values = map(bytesize, then), (each.size() for each in then.values() if isinstance(each, DynamoType))
    if sum(names) + sum(values) > 409_600:
        raise ItemSizeTooLarge
    dict.__setitem__(item, key, value)
