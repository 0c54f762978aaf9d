"""The gateway, read as the template has it: nothing below /api/ is without a token, and the function can do nothing but
read and ask."""

import tomllib
from pathlib import Path

import pytest

import mayfly
from tests.blueprint import INSTALLATION, template

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = template(INSTALLATION)
RESOURCES = TEMPLATE["Resources"]
ROUTES = {
    resource["Properties"]["RouteKey"]: resource["Properties"]
    for resource in RESOURCES.values()
    if resource["Type"] == "AWS::ApiGatewayV2::Route"
}


class TestTheGateway:
    def test_has_these_routes_and_no_default(self):
        assert set(ROUTES) == {"ANY /api/{proxy+}", "GET /", "GET /{asset}"}

    def test_wants_a_token_for_all_below_api(self):
        route = ROUTES["ANY /api/{proxy+}"]
        assert (route["AuthorizationType"], route["AuthorizerId"]) == ("JWT", {"Ref": "ApiAuthorizer"})

    def test_leaves_nothing_open_that_could_be_below_api(self):
        opened = [key for key, route in ROUTES.items() if route.get("AuthorizationType") != "JWT"]
        assert all(key.startswith("GET /") and "+" not in key and key.count("/") == 1 for key in opened)

    def test_limits_everybody_and_writes_down_who(self):
        stage = RESOURCES["ApiStage"]["Properties"]
        assert stage["DefaultRouteSettings"].keys() == {"ThrottlingRateLimit", "ThrottlingBurstLimit"}
        assert "$context.authorizer.claims.sub" in stage["AccessLogSettings"]["Format"]

    @pytest.mark.parametrize("name", ["UserPool", "UserPoolDomain", "UserPoolClient", "Viewers", "Operators"])
    def test_makes_users_only_where_no_other_issuer_has_them(self, name):
        assert RESOURCES[name]["Condition"] == "MakesUserPool"


class TestTheClient:
    CLIENT = RESOURCES["UserPoolClient"]["Properties"]

    def test_has_no_secret_and_knows_the_code_flow_only(self):
        assert (self.CLIENT["GenerateSecret"], self.CLIENT["AllowedOAuthFlows"]) == (False, ["code"])
        assert "ALLOW_USER_PASSWORD_AUTH" not in self.CLIENT["ExplicitAuthFlows"]

    def test_lets_nobody_write_what_a_history_names_them_by(self):
        assert self.CLIENT["WriteAttributes"] == ["name"]


class TestTheFunction:
    STATEMENTS = RESOURCES["ServeApi"]["Properties"]["Policies"][0]["Statement"]

    def test_reads_and_asks_and_does_nothing_itself(self):
        actions = [
            action
            for one in self.STATEMENTS
            for action in ([one["Action"]] if isinstance(one["Action"], str) else one["Action"])
        ]
        assert sorted(actions) == [
            "dynamodb:BatchGetItem",
            "dynamodb:GetItem",
            "dynamodb:Query",
            "dynamodb:Scan",
            "events:PutEvents",
            "s3:GetObject",
            "s3:GetObject",
            "s3:GetObjectVersion",
            "s3:ListBucket",
            "ssm:GetParameter",
            "ssm:GetParameterHistory",
            "ssm:GetParametersByPath",
            "sts:AssumeRole",
            "sts:TagSession",
        ]

    def test_enters_other_accounts_to_read_consoles_only(self):
        (enter,) = (one for one in self.STATEMENTS if "sts:AssumeRole" in one["Action"])
        assert enter["Resource"] == {"Fn::Sub": "arn:${AWS::Partition}:iam::*:role/${AWS::StackName}-consoles"}

    def test_speaks_in_its_own_name_only(self):
        (put,) = (one for one in self.STATEMENTS if one["Action"] == "events:PutEvents")
        assert put["Condition"] == {"ForAllValues:StringEquals": {"events:source": "mayfly.api"}}

    def test_is_told_nothing_that_a_browser_must_not_know(self):
        assert not [
            name for name in RESOURCES["ServeApi"]["Properties"]["Environment"]["Variables"] if "SECRET" in name
        ]


def test_the_version_is_the_projects():
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == mayfly.__version__
