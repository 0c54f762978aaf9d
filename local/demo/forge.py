"""What the demo's first chapter has besides Mayfly: a repository on a stand-in of GitHub, and the tests of an
application. One suite is a script on an instance, the other a workflow of the repository."""

import json
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from local import github
from local.cloud import LocalCloud
from mayfly.contract.vocabulary import APPLICATION_SOURCE, Event, Outcome, SuiteKind

Json = dict[str, Any]

REPOSITORY, PULL_REQUEST = "acme/shop", 7
SUITES = SMOKE, CHECKOUT, PREVIEW = ("smoke", "checkout", "show")
_SECRET = "made-up"
_MINUTES = 20
TESTS = """
cat >junit.xml <<XML
<testsuite name="{suite}">
<testcase name="serves {version}"/><testcase name="takes an order"/>
</testsuite>
XML
test -n "{version}"
"""
"""Tests that really run: they leave a report, and their exit code is the result."""


def configured(configuration: Json, connection: str) -> Json:
    """An application whose suites start by themselves, whose commits show it, and that shows its pull requests."""
    script = TESTS.format(suite=SMOKE, version="$MAYFLY_VERSION")
    by_script = {"type": "command", "script": script, "report": "junit.xml", "minutes": _MINUTES}
    by_workflow = {
        "type": "http",
        "url": f"https://{github.HOST}/repos/{REPOSITORY}/dispatches",
        "connection": connection,
        "body": {"event_type": "mayfly-tests", "client_payload": "$document"},
        "minutes": _MINUTES,
    }
    suites = [{"name": SMOKE, "runner": by_script}, {"name": CHECKOUT, "runner": by_workflow}]
    suites += [{"name": PREVIEW, "kind": SuiteKind.PREVIEW}]
    forge = {"type": "github", "repository": REPOSITORY, "connection": connection}
    return configuration | {"suites": suites, "forge": forge}


def connect(cloud: LocalCloud) -> str:
    """Makes the connection that holds GitHub's secret; returns its ARN."""
    key = {"ApiKeyName": "Authorization", "ApiKeyValue": f"Bearer {_SECRET}"}
    made = cloud.client("events").create_connection(
        Name="mayfly-github", AuthorizationType="API_KEY", AuthParameters={"ApiKeyAuthParameters": key}
    )
    return str(made["ConnectionArn"])


@contextmanager
def repository(cloud: LocalCloud, commit: str) -> Iterator[github.GitHub]:
    """Serves GitHub with one repository, whose workflow is what Mayfly's event starts there."""
    hub = github.GitHub(REPOSITORY, _SECRET, commits={commit}, pulls={PULL_REQUEST})
    hub.workflow = lambda payload: workflow(cloud, payload)
    with github.serve(hub):
        cloud.stand_in(github.HOST, hub.url)
        yield hub


def workflow(cloud: LocalCloud, payload: Json) -> None:
    """Runs the tests, leaves their report and says how they went, as `ci/github/tests.yml` does."""
    with tempfile.TemporaryDirectory() as folder:
        script = TESTS.format(suite=CHECKOUT, version=payload["version"])
        passed = subprocess.run(["/bin/sh", "-c", script], cwd=folder, check=False).returncode == 0
        report = (Path(folder) / "junit.xml").read_bytes()
    urllib.request.urlopen(urllib.request.Request(payload["report_url"], report, method="PUT")).close()
    result = {"environment": payload["environment"], "outcome": Outcome.PASSED if passed else Outcome.FAILED}
    entry = {
        "Source": f"{APPLICATION_SOURCE}{payload['application']}",
        "DetailType": Event.TEST_FINISHED,
        "EventBusName": "mayfly",
        "Detail": json.dumps(result | {"token": payload["token"]}),
    }
    cloud.client("events").put_events(Entries=[entry])
