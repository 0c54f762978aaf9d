"""What `mayfly blueprint check` says of a template, and on which line."""

import json
from pathlib import Path

import pytest

from docs.resource_types import FILE, table
from mayfly.workflows.examination import examine, takes

ROOT = Path(__file__).resolve().parents[2]


def said(text: str, configured: dict[str, str] | None = None) -> list[tuple[str, int, str]]:
    """Level, line and name of each remark."""
    return [(one.level, one.line, one.where) for one in examine(text, configured)]


def about(text: str, words: str) -> tuple[str, int, str]:
    """Level, line and name of the one remark with these words."""
    (found,) = [one for one in examine(text) if words in one.said]
    return found.level, found.line, found.where


def resource(kind: str, *lines: str, more: str = "") -> str:
    """A template of one resource on line 4, whose properties begin on line 6."""
    properties = "\n".join(f"      {line}" for line in lines)
    head = "Parameters: {InstanceCount: {Type: Number}, ImageId: {Type: String}, EnvironmentId: {Type: String}}"
    return f"{head}\n\nResources:\n  It:\n    Type: {kind}{more}\n    Properties:\n{properties}\n"


@pytest.mark.parametrize("name", ["fleet.yaml", "service.yaml"])
def test_what_is_shipped_has_no_errors(name: str) -> None:
    assert not [one for one in examine((ROOT / "blueprints" / name).read_text()) if one.level == "error"]


class TestATemplate:
    def test_that_is_none_is_named_with_its_line(self) -> None:
        assert said("Resources:\n  Queue: {Type: 'AWS::SQS::Queue'\n") == [("error", 3, "")]
        assert said("just a text") == [("error", 1, "")]

    def test_that_is_too_large_is_an_error_and_one_that_is_read_from_the_bucket_a_note(self) -> None:
        text = resource("AWS::SSM::Parameter", "Value: x")
        assert said(text + "#" * 1_000_000) == [("error", 1, "")]
        assert about(text + "#" * 51_200, "CloudFormation reads it from the bucket") == ("note", 1, "")

    def test_of_more_resources_than_cloudformation_takes_is_an_error(self) -> None:
        many = "".join(f"  Q{n}: {{Type: 'AWS::SQS::Queue'}}\n" for n in range(501))
        assert about(f"Resources:\n{many}", "501 resources, and CloudFormation takes 500") == ("error", 1, "")

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("[" * 100_000, "nested more than 100 deep"),
            ("- " * 50_000, "nested more than 100 deep"),
            ("Resources: {A: &a {Type: x}, B: *a}", "*a is a YAML alias"),
            (f"Resources: {{A: {{Type: x, Size: {'9' * 900_000}}}}}", "a number of 900000 characters"),
            (f"Resources: {{A: {{Type: x, Size: 1{':1' * 400_000}}}}}", "a number of 800001 characters"),
            # As much as a template may have, of what a search from every beginning to the end would take an hour for.
            (
                f"Resources: {{A: {{Type: 'AWS::SNS::Topic', Properties: {{TopicName: !Sub '{'${A' * 300_000}'}}}}}}",
                "is the same",
            ),
            ("Resources: {A: {Type: 'AWS::EC2::LaunchTemplate', Properties: {LaunchTemplateData: x}}}", "another form"),
            ("Resources: {A: {Type: 'AWS::IAM::Role', Properties: {Tags: [1]}}}", "another form"),
            ("Resources: {}\nParameters: {Size: 3}", "another form"),
            ("Resources: {}\nOutputs: {Url: {Export: 3}}", "another form"),
        ],
    )
    def test_that_no_template_can_be_is_told_and_breaks_nothing(self, text: str, words: str) -> None:
        assert about(text, words)[0] == "error"
        takes(text)

    def test_without_a_count_is_said_to_have_its_own(self) -> None:
        assert about("Resources: {Jobs: {Type: 'AWS::SQS::Queue'}}", "no parameter InstanceCount")[0] == "note"

    def test_whose_instances_boot_something_else_is_told(self) -> None:
        text = "Resources:\n  One:\n    Type: AWS::EC2::Instance\n    Properties: {ImageId: ami-1}\n"
        assert about(text, "another image than the channel") == ("warning", 1, "Parameters")


class TestAParameter:
    TEXT = "Parameters:\n  Size: {Type: String}\n  Colour: {Type: String, Default: red}\nResources: {}\n"

    def test_without_a_value_is_a_warning_as_long_as_no_application_is_known(self) -> None:
        assert about(self.TEXT, "no Default") == ("warning", 2, "Size")

    def test_without_a_value_is_an_error_of_an_application_that_gives_none(self) -> None:
        assert ("error", 2, "Size") in said(self.TEXT, {})
        assert ("error", 2, "Size") not in said(self.TEXT, {"Size": "3"})

    def test_that_is_configured_and_not_declared_is_an_error(self) -> None:
        (found,) = [one for one in examine(self.TEXT, {"Size": "3", "Shape": "round"}) if one.level == "error"]
        assert found.said == "Shape is configured, but no parameter of it"

    @pytest.mark.parametrize("name", ["fleet.yaml", "service.yaml"])
    def test_of_a_fifth_instance_type_is_an_error(self, name: str) -> None:
        text, types = (ROOT / "blueprints" / name).read_text(), [f"m{number}i.large" for number in range(5)]
        given = {"VpcId": "vpc-1", "SubnetIds": "a", "LoadBalancerSubnetIds": "a"} if name == "service.yaml" else {}
        four, five = (given | {"InstanceType": ",".join(types[:count])} for count in (4, 5))
        assert not [one for one in examine(text, four) if one.level == "error"]
        (found,) = [one for one in examine(text, five) if one.level == "error"]
        said = "one to four instance types, with commas and no blanks between"
        assert found.said == f"InstanceType is '{','.join(types)}': {said}"

    def test_is_held_to_its_pattern_as_far_as_that_is_known(self) -> None:
        text = "Parameters: {A: {Type: String, Default: x, AllowedPattern: '%s'}}\nResources: {}\n"
        (found,) = [one for one in examine(text % "[a-z]", {"A": "3"}) if one.level == "error"]
        assert found.said == "A is '3': it has to match [a-z]"
        assert not [one for one in examine(text % "[a-z]", {"A": "b"}) if one.level == "error"]
        for javas in ("[a-z&&[^b]]++[", "[a-z&&[^b]]"):
            assert not [one for one in examine(text % javas, {"A": "3"}) if one.level == "error"]


class TestAName:
    @pytest.mark.parametrize(
        ("kind", "line"),
        [
            ("AWS::SQS::Queue", "QueueName: jobs"),
            ("AWS::DynamoDB::Table", "TableName: !Sub 'orders-${AWS::Region}'"),
            ("AWS::ElasticLoadBalancingV2::LoadBalancer", "Name: !Ref ImageId"),
            ("AWS::S3::Bucket", "BucketName: team-reports"),
        ],
    )
    def test_that_is_everybodys_lets_one_environment_stand_at_a_time(self, kind: str, line: str) -> None:
        assert about(resource(kind, line), "only one at a time") == ("error", 7, "It")

    @pytest.mark.parametrize(
        "line",
        [
            "QueueName: !Sub '${EnvironmentId}-jobs'",
            "QueueName: !Join ['-', [!Ref 'AWS::StackName', jobs]]",
            "QueueName: {'Fn::Sub': ['${a}-jobs', {a: !Ref EnvironmentId}]}",
            "VisibilityTimeout: 30",
        ],
    )
    def test_that_is_the_environments_own_is_right(self, line: str) -> None:
        assert not [one for one in examine(resource("AWS::SQS::Queue", line)) if one.level == "error"]

    def test_of_a_bucket_that_mayfly_may_not_empty_is_a_warning(self) -> None:
        theirs = resource("AWS::S3::Bucket", "BucketName: !Sub 'team-reports-${EnvironmentId}'")
        assert about(theirs, "may empty buckets only") == ("warning", 7, "It")
        alike = resource("AWS::S3::Bucket", "BucketName: !Sub 'mayfly-${EnvironmentId}-reports'")
        assert about(alike, "may empty buckets only") == ("warning", 7, "It")
        ours = resource("AWS::S3::Bucket", "BucketName: !Sub 'mayfly-${EnvironmentId}--reports'")
        assert not [one for one in examine(ours) if "may empty buckets only" in one.said]

    @pytest.mark.parametrize(
        ("kind", "naming"), [("AWS::SSM::Parameter", "Name"), ("AWS::Logs::LogGroup", "LogGroupName")]
    )
    def test_outside_the_path_of_blueprints_is_a_warning(self, kind: str, naming: str) -> None:
        for path in ("/mayfly/applications/${EnvironmentId}", "/${EnvironmentId}", "/mayfly/${EnvironmentId}/x"):
            text = resource(kind, f"{naming}: !Sub '{path}'")
            assert about(text, "below one path only: say " + naming)[0] == "warning"
        ours = resource(kind, f"{naming}: !Sub '/mayfly-environments/${{EnvironmentId}}/x'")
        assert not [one for one in examine(ours) if "one path only" in one.said]

    def test_of_an_export_is_looked_at_too(self) -> None:
        text = resource("AWS::SQS::Queue", "VisibilityTimeout: 30") + "Outputs:\n  Url:\n    Export: {Name: shop-url}\n"
        assert about(text, "only one at a time") == ("error", 10, "Url")
        assert about(text, "as long as another stack imports it") == ("warning", 10, "Url")


class TestWhatOutlivesAnEnvironment:
    def test_is_what_is_retained(self) -> None:
        text = resource("AWS::DynamoDB::Table", "BillingMode: PAY_PER_REQUEST", more="\n    DeletionPolicy: Retain")
        assert about(text, "outlives each environment") == ("warning", 6, "It")

    def test_is_a_snapshot_of_a_database_that_says_nothing(self) -> None:
        assert about(resource("AWS::RDS::DBInstance", "Engine: postgres"), "a snapshot of each environment stays")
        said = resource("AWS::RDS::DBInstance", "Engine: postgres", more="\n    DeletionPolicy: Delete")
        assert not [one for one in examine(said) if "snapshot" in one.said]

    @pytest.mark.parametrize(
        ("kind", "line"),
        [
            ("AWS::RDS::DBInstance", "DeletionProtection: true"),
            ("AWS::EC2::Instance", "DisableApiTermination: true"),
            ("AWS::DynamoDB::Table", "DeletionProtectionEnabled: 'true'"),
            ("AWS::EC2::Volume", "Tags: [{Key: 'mayfly:protected', Value: 'yes'}]"),
            (
                "AWS::ElasticLoadBalancingV2::LoadBalancer",
                "LoadBalancerAttributes: [{Key: deletion_protection.enabled, Value: 'true'}]",
            ),
        ],
    )
    def test_is_what_is_protected_and_that_is_an_error(self, kind: str, line: str) -> None:
        assert about(resource(kind, line), "no environment with it can be ended") == ("error", 7, "It")


class TestWhatTheServiceRoleMayNot:
    def test_is_named_with_the_call(self) -> None:
        text = resource("AWS::RDS::DBInstance", "Engine: postgres")
        assert about(text, "permit rds:CreateDBInstance and its deletion") == ("warning", 5, "It")

    def test_is_nothing_of_what_it_may(self) -> None:
        assert not [one for one in examine(resource("AWS::EC2::VPC", "CidrBlock: 10.0.0.0/16")) if "role" in one.said]

    def test_is_a_role_without_its_path_and_boundary(self) -> None:
        errors = [one.said for one in examine(resource("AWS::IAM::Role", "Path: /")) if one.level == "error"]
        assert [one.rpartition(": say ")[2] for one in errors] == [
            "Path: /mayfly/",
            "PermissionsBoundary, as fleet.yaml does",
        ]


def test_what_one_environment_takes_is_reckoned_from_its_defaults() -> None:
    found, unknown = takes((ROOT / "blueprints" / "fleet.yaml").read_text())
    counted = {one["quota"]: one["takes"] for one in found}
    assert (counted["VPCs per Region"], counted["Network interfaces per Region"]) == (1, 46)
    assert not unknown
    assert takes("no template") == ([], [])


def test_the_table_of_resource_types_is_current() -> None:
    """`python -m docs.resource_types` writes it."""
    assert json.loads(FILE.read_text()) == table()
