"""The OpenAPI document: it is the published one, it names every route, and the API does what it says."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.core.transport import Response
from schemathesis.specs.openapi.checks import ignored_auth, unsupported_method

from mayfly.domain.identity import is_environment
from tests.integration.api import Api
from tests.integration.test_serving_api import CHANGES, CHECK, READS
from tests.integration.world import ENVIRONMENT, NOW, RELEASE, ROOT, function

PUBLISHED = ROOT / "docs" / "openapi.json"
KNOWN = {
    "environments": ENVIRONMENT,
    "releases": RELEASE,
    "bakes": "base-1a2b3c4d",
    "rollouts": "webshop-production-1",
    "services": "webshop-production",
    "dead-letters": "dl-9f86d081884c7d65",
}
"""What there is, besides what nobody has ever heard of."""
ELSEWHERE = [ignored_auth, unsupported_method]
"""Not checked here: tests of their own ask the one, and a method that there is not is a 404."""

DAYS = 91
"""As many as records are kept, and today."""


@pytest.fixture
def api(api: Api) -> Api:
    """The same, long there: sweeps have summed each day before, and who asks for many days reads the sums."""
    dynamodb, table, today = api.world.own("dynamodb"), api.world.table, datetime.fromisoformat(NOW)
    days = [(today - timedelta(days=number)).date().isoformat() for number in range(1, DAYS)]
    puts = [
        {"PutRequest": {"Item": {"pk": {"S": f"sum#{day}"}, "id": {"S": day}, "settled": {"BOOL": True}}}}
        for day in days
    ]
    for start in range(0, len(puts), 25):  # the most of a call
        dynamodb.batch_write_item(RequestItems={table: puts[start : start + 25]})
    return api


document = schemathesis.openapi.from_dict(json.loads(PUBLISHED.read_text()))


def made() -> Any:
    """The document as the routes make it now."""
    return json.loads(function("serve_api").openapi().body)


def test_the_published_document_is_current() -> None:
    """`python -m tests.integration.test_openapi` writes it anew."""
    assert json.loads(PUBLISHED.read_text()) == made()


def test_every_route_is_tried_with_each_role() -> None:
    """What is in the document is in the lists of the other tests, and the other way round."""
    documented = {(method.upper(), path.count("/")) for path, methods in made()["paths"].items() for method in methods}
    tried = {("GET", path.count("/")) for path in READS} | {("POST", CHECK.count("/"))}
    tried |= {(method, path.count("/")) for _, method, path, _, _, _ in CHANGES.values()}
    assert documented == tried
    operations = sum(len(methods) for methods in made()["paths"].values())
    # The check is neither; the document does not document itself.
    assert operations == len(CHANGES) + len(READS)


@settings(
    max_examples=25,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)
def the_api_does_what_it_documents(case: schemathesis.Case, api: Api) -> None:
    """Whatever is sent, good or bad, is answered in a documented way and never by an error of ours."""
    kind = case.path.split("/")[2]
    parts = dict(case.path_parameters)
    if is_environment(str(parts.get("id"))) and len(parts["id"]) % 2:
        parts["id"] = KNOWN[kind]
    path = case.path.format(**parts)
    body = None if case.body is schemathesis.core.NOT_SET else case.body
    sent = body if body is None or isinstance(body, bytes) else json.dumps(body)
    event = api.event(case.method.upper(), path, sent, case.query)
    if "Authorization" not in (case.headers or {}):
        del event["headers"]["authorization"]
    answer = api.call(event)
    request = requests.Request(case.method, f"http://api{path}", case.headers).prepare()
    content = answer.text.encode() if isinstance(answer.text, str) else answer.text
    headers = {name.lower(): [value] for name, value in answer.headers.items()}
    response = Response(answer.status, headers, content, request, 0.1, False)
    case.validate_response(response, excluded_checks=ELSEWHERE)
    assert answer.status < 500, answer.text


# pytest names a test by its function alone where Schemathesis makes one of each operation: each has its own here.
for operation in document.get_all_operations():
    label = operation.ok().label
    globals()[f"test_the_api_does_what_it_documents: {label}"] = document.include(name=label).parametrize()(
        the_api_does_what_it_documents
    )


if __name__ == "__main__":
    PUBLISHED.write_text(json.dumps(made(), indent=1) + "\n")
