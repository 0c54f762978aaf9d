"""Another issuer than the installation's own user pool: whose tokens the HTTP API takes then, and whose it does not."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from local import users
from local.cloud import PATIENCE_SECONDS, LocalCloud
from local.install import deploy_with, installed
from tests.e2e.caller import Caller
from tests.e2e.issuer import Issuer, serving

CONSOLE = "the-console"
ADA = {"sub": "0001", "email": "ada@example.com", "email_verified": True, "roles": ["developer:webshop"]}


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issuer]:
    """The company's own, so to speak."""
    with serving(tmp_path_factory.mktemp("issuer")) as running:
        yield running


@pytest.fixture(scope="module")
def cloud(issuer: Issuer, deployed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """A local cloud whose gateway trusts the issuer's certificate, as AWS's trusts public ones."""
    running = LocalCloud(tmp_path_factory.mktemp("cloud"), saved=deployed, schedules="jumps", strict=True)
    with pytest.MonkeyPatch.context() as surroundings:
        surroundings.setenv("SSL_CERT_FILE", str(issuer.certificate))
        running.start()
    with running:
        yield running


@pytest.fixture(scope="module")
def operator(cloud: LocalCloud, heard: str) -> str:
    """A token of the user pool, which opened everything before there was another issuer."""
    token = users.token(cloud, installed(cloud).outputs, "operator")
    assert asked(cloud, token).json()["role"] == "operator"
    return token


@pytest.fixture(scope="module", autouse=True)
def _moved(cloud: LocalCloud, issuer: Issuer, operator: str) -> None:
    """Has the installation take the issuer's tokens, as an update of its stack."""
    assert asked(cloud, issuer.token(CONSOLE, **ADA)).status_code == 401
    outputs = deploy_with(cloud, Issuer=issuer.url, Audience=CONSOLE, GroupsClaim="roles")
    assert outputs["ClientId"] == CONSOLE
    assert "UserPoolId" not in outputs


def asked(cloud: LocalCloud, token: str, method: str = "GET", path: str = "/api/me") -> requests.Response:
    """What the bearer of a token is answered."""
    return Caller(cloud.console_url, token).ask(method, path, None if method == "GET" else {"why": "a test"})


def test_the_console_is_told_where_to_sign_in(cloud: LocalCloud, issuer: Issuer) -> None:
    answer = requests.get(f"{cloud.console_url}/config.json", timeout=PATIENCE_SECONDS)
    said = answer.json()
    assert (said["issuer"], said["client_id"], said["sign_in"], said["token"]) == (issuer.url, CONSOLE, "", "id_token")
    assert f"connect-src 'self' {issuer.url};" in answer.headers["Content-Security-Policy"]


def test_its_tokens_are_taken_with_the_roles_of_its_claim(cloud: LocalCloud, issuer: Issuer) -> None:
    me = asked(cloud, issuer.token(CONSOLE, **ADA)).json()
    assert (me["who"], me["role"], me["applications"]) == ("ada@example.com", "developer", ["webshop"])


def test_groups_in_one_text_are_no_list(cloud: LocalCloud, issuer: Issuer) -> None:
    refused = asked(cloud, issuer.token(CONSOLE, sub="0002", roles="operator viewer"))
    assert (refused.status_code, "is in no group" in refused.json()["error"]) == (403, True)


def test_its_roles_bound_what_may_be_done(cloud: LocalCloud, issuer: Issuer) -> None:
    refused = asked(cloud, issuer.token(CONSOLE, **ADA), "POST", "/api/sweeps")
    assert (refused.status_code, "only members of 'operator'" in refused.json()["error"]) == (403, True)


def test_groups_under_another_claim_mean_nothing(cloud: LocalCloud, issuer: Issuer) -> None:
    token = issuer.token(CONSOLE, **{"sub": "0003", "cognito:groups": ["operator"]})
    refused = asked(cloud, token)
    assert (refused.status_code, "is in no group" in refused.json()["error"]) == (403, True)


def test_tokens_of_the_user_pool_are_refused(cloud: LocalCloud, operator: str) -> None:
    assert asked(cloud, operator).status_code == 401


def test_tokens_that_are_not_good_are_refused(cloud: LocalCloud, issuer: Issuer) -> None:
    assert asked(cloud, issuer.token("another-client", **ADA)).status_code == 401
    assert asked(cloud, issuer.token(CONSOLE, **ADA, exp=1)).status_code == 401
    assert asked(cloud, issuer.token(CONSOLE, **ADA, iss="https://127.0.0.1:1")).status_code == 401
    somebody = Issuer(issuer.url, Path())
    assert asked(cloud, somebody.token(CONSOLE, **ADA)).status_code == 401
