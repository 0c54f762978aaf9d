"""Decisions of a bake, without AWS: names, user data, verdicts, and what the checks of an image prove."""

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mayfly.contract.aws_events import BaseImagesPublished
from mayfly.contract.configuration import Check, Family, Puppet
from mayfly.domain import tags
from mayfly.domain.bake import (
    USER_DATA_LIMIT,
    Candidate,
    bake_id,
    builder_answer,
    concerns,
    image_answer,
    image_name,
    judge_bake,
    newest,
    user_data,
    why_failed,
)
from mayfly.domain.checks import Expected, judge_checks, script
from mayfly.domain.contents import read_contents
from mayfly.domain.guard import may_destroy
from mayfly.domain.records import SuiteResult

ROOT = Path(__file__).resolve().parents[2]
FAMILY = json.loads((ROOT / "families" / "base.json").read_text())
SHELLS = ["sh", "bash"]


class TestNames:
    def test_the_same_event_is_the_same_bake_and_another_is_another(self):
        assert bake_id("base", "EventBridge 1") == bake_id("base", "EventBridge 1")
        assert len({bake_id(f, e) for f in ("base", "web") for e in ("EventBridge 1", "EventBridge 2")}) == 4

    def test_the_longest_family_s_names_fit_where_they_are_used(self):
        bake = bake_id("f" * 40, "1")
        assert len(f"{bake}-proof") <= 59  # an environment's name
        assert len(image_name(bake)) <= 128


class TestUserData:
    def test_whatever_is_in_a_value_stays_a_value(self, tmp_path):
        value = "it's $(touch broken) `touch broken` \"\\n\n; touch broken"
        file = tmp_path / "data"
        file.write_text(user_data('printf %s "$GIVEN"', {"GIVEN": value}))
        assert subprocess.run(["bash", file], capture_output=True, text=True, cwd=tmp_path, check=True).stdout == value
        assert not (tmp_path / "broken").exists()

    def test_of_the_real_scripts_fits_with_room_to_spare(self):
        bake, cleanup = ((ROOT / "images" / name).read_text() for name in ("bake.sh", "cleanup.sh"))
        assert len(user_data(bake, {"MAYFLY_CLEANUP": cleanup}).encode()) < USER_DATA_LIMIT - 2_000

    def test_that_ec2_would_not_take_is_an_error_before_it(self):
        with pytest.raises(ValueError, match="expected 16384 bytes at most"):
            user_data("x" * USER_DATA_LIMIT, {})


class TestTheBuilder:
    @pytest.mark.parametrize(
        ("state", "labels", "reason"),
        [
            ("stopped", {tags.BAKE_RESULT: "ok"}, None),
            ("stopped", {tags.BAKE_RESULT: "failed: puppet exit code 4"}, "puppet exit code 4"),
            ("running", {tags.BAKE_RESULT: "ok"}, "the builder is done, but it is running and not stopped"),
            ("running", {}, "the builder never reported; it is running"),
            ("stopped", {}, "the builder stopped without a report; its log, or its console, says more"),
        ],
    )
    def test_is_asked_how_it_went(self, state, labels, reason):
        assert why_failed(state, labels) == reason

    @pytest.mark.parametrize(
        ("state", "error"), [("stopped", None), ("terminated", "BuilderLost"), ("shutting-down", "BuilderLost")]
    )
    def test_ends_a_wait(self, state, error):
        assert builder_answer(state).error == error

    @pytest.mark.parametrize("state", ["pending", "running", "stopping", "unknown"])
    def test_does_not_end_a_wait(self, state):
        assert builder_answer(state) is None

    def test_is_removed_by_its_own_bake_only(self):
        mine = {tags.BAKE: "base-1", tags.CONTROLLER: "c"}
        assert may_destroy("base-1", "c", mine, tags.BAKE).granted
        assert not may_destroy("base-2", "c", mine, tags.BAKE).granted
        assert not may_destroy("base-1", "d", mine, tags.BAKE).granted
        assert not may_destroy("base-1", "c", mine | {tags.PROTECTED: "true"}, tags.BAKE).granted
        assert not may_destroy("base-1", "c", {}, tags.BAKE).granted


class TestTheImage:
    @pytest.mark.parametrize(
        ("state", "error"), [("available", None), ("failed", "ImageFailed"), ("error", "ImageFailed")]
    )
    def test_ends_a_wait(self, state, error):
        assert image_answer(state).error == error

    def test_is_waited_for_while_it_is_made(self):
        assert image_answer("pending") is None

    def test_is_proven_by_a_proof_that_passed_only(self):
        passed = SuiteResult("proof", "e", "passed", "all 3 checks passed")
        assert judge_bake(None, passed).stage == "proven"
        assert judge_bake("BakeFailed: it", passed).stage == "rejected"
        assert judge_bake(None, None).stage == "rejected"
        for outcome in ("failed", "expired", "broken", "cancelled"):
            assert judge_bake(None, SuiteResult("proof", "e", outcome, "why")).reason == f"the proof {outcome}: why"

    def test_is_made_from_the_newest_base(self):
        found = [Candidate(f"ami-{n}", "", f"2026-0{n}-01T00:00:00.000Z", "/dev/xvda", "x86_64") for n in (2, 9, 3)]
        assert newest(found).id == "ami-9"
        assert newest([]) is None

    @pytest.mark.parametrize(
        ("name", "published", "expected"),
        [
            ("al2023-*", ["amzn2-ami-1", "al2023-ami-1"], True),
            ("al2023-*-arm64", ["al2023-ami-1-x86_64"], False),
            (None, ["anything"], True),
            (None, [], False),
        ],
    )
    def test_may_have_a_new_base_among_published_ones(self, name, published, expected):
        assert concerns(name, published) == expected


CHECKS = [
    Expected("plain", "echo hello", stdout="^hello$"),
    Expected("quotes", 'printf \'%s\' "it\'s \\"quoted\\" \\\\ back"', stdout=r"it's \"quoted\" \\ back"),
    Expected("lines", "printf 'a\\n\\nb\\n'", stdout="^a\n\nb$"),
    Expected("exit", "exit 7", exit=7),
    Expected("nothing", "true", stdout="^$"),
    Expected("errors count too", "echo oops >&2", stdout="oops"),
    Expected("odd bytes", "printf 'ok\\001\\377\\tend'", stdout="^okend$"),
    Expected("much", "seq 1 100000"),
    Expected("no input", "cat", stdout="^$"),
    Expected("pipes", "echo x | grep -c x && echo '$HOME' | tr -d H", stdout="^1\n\\$OME$"),
]


@pytest.mark.parametrize("shell", SHELLS)
class TestTheScriptOfChecks:
    def run(self, shell, checks):
        done = subprocess.run([shell, "-c", "\n".join(script(checks))], capture_output=True, text=True, check=False)
        return done.stdout

    def test_says_what_every_check_did(self, shell):
        printed = self.run(shell, CHECKS)
        assert judge_checks(CHECKS, "Success", printed).reason == "all 10 checks passed"
        assert len(printed) < 24_000

    def test_says_what_the_image_consists_of_where_there_is_room_for_it(self, shell):
        printed = self.run(shell, CHECKS[:1])
        said = json.loads(printed.splitlines()[-1])
        assert read_contents(printed) if said["contents"] else said["characters"] > 23_000

    def test_goes_on_after_one_that_failed(self, shell):
        checks = [Expected("bad", "exit 1"), Expected("worse", "kill -9 $$"), Expected("good", "true")]
        reason = judge_checks(checks, "Success", self.run(shell, checks)).reason
        assert reason == "2 of 3 checks failed: bad: exit 1, expected 0; worse: exit 137, expected 0"

    def test_of_fifty_talkative_checks_fits_into_what_run_command_keeps(self, shell):
        checks = [Expected(f"check {n}", "seq 1 10000") for n in range(50)]
        printed = self.run(shell, checks)
        assert len(printed) < 24_000
        assert judge_checks(checks, "Success", printed).passed

    def test_passes_shellcheck(self, shell):
        lines = ["#!/bin/sh", *script(CHECKS[:1])]
        subprocess.run(["shellcheck", "-s", shell, "-"], input="\n".join(lines), text=True, check=True)


class TestWhatChecksProve:
    def test_none_at_all_prove_nothing(self):
        assert not judge_checks([], "Success", "").passed

    def test_one_that_did_not_answer_is_named(self):
        judged = judge_checks([Expected("a", "true")], "TimedOut", "")
        assert judged.reason == "1 of 1 checks failed (Run Command: TimedOut): a: it did not answer"

    @given(st.text(), st.sampled_from(["Success", "Failed"]))
    def test_whatever_is_printed_is_no_error_and_no_proof(self, printed, status):
        assert not judge_checks([Expected("a", "true")], status, printed).passed


class TestAFamily:
    def test_of_the_sample_is_valid_and_has_the_sample_checks_but_those_of_a_deployed_application(self):
        family = Family.model_validate(FAMILY)
        assert family.everywhere[0] == family.region
        sample = json.loads((ROOT / "images" / "checks.json").read_text())
        kept = [check for check in sample if check["name"] not in ("service runs", "service port")]
        assert [check.model_dump(exclude_none=True) for check in family.checks] == kept

    def test_of_the_sample_fits_into_a_standard_parameter(self):
        assert len(json.dumps(FAMILY, separators=(",", ":"))) < 4096

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({"base": {"name": "al2023-*"}}, "owner"),
            ({"base": {"owner": "amazon"}}, "owner and name"),
            ({"base": {"owner": "self", "name": "x"}}, "pattern"),
            ({"base": {"parameter": "/a", "owner": "amazon", "name": "x"}}, "either parameter"),
            ({"puppet": {"mode": "agent"}}, "a server with mode agent"),
            ({"puppet": {"mode": "apply", "artifact": "http://box/x"}}, "pattern"),
            ({"puppet": {"mode": "apply", "artifact": "s3://box/x"}}, "sha256: expected the checksum of the artifact"),
            (
                {"puppet": FAMILY["puppet"] | {"package": "https://box/agent.rpm"}},
                "package: expected '#sha256=' and its checksum at the end, but it is 'https://box/agent.rpm'",
            ),
            ({"checks": []}, "at least 1"),
            ({"checks": [{"name": "a", "command": "x"}] * 2}, "each check once"),
            ({"checks": [{"name": "a", "command": "x", "stdout": "("}]}, "regular expression"),
            ({"subnet": "subnet-1"}, "pattern"),
            ({"bake_minutes": 1}, "greater than or equal to 5"),
            ({"colour": "red"}, "Extra inputs"),
        ],
    )
    def test_that_is_wrong_is_refused_with_what_was_expected(self, change, expected):
        with pytest.raises(ValidationError, match=expected):
            Family.model_validate(FAMILY | change)

    def test_has_defaults_that_are_safe(self):
        family = Family.model_validate(
            {key: FAMILY[key] for key in FAMILY if key not in ("stable", "retire", "keep_newest")}
        )
        assert family.stable is None
        assert family.keep_newest == 5
        assert Check(name="a", command="x").exit == 0
        assert Puppet(mode="agent", server="p").environment == "production"


class TestPublishedImages:
    def test_are_found_wherever_the_publisher_puts_them(self):
        one = {"ImageId": "ami-12345678", "Name": "a"}
        for message in (
            {"v1": {"Regions": {"eu-west-1": [one]}}},
            {"ECSAmis": [{"Regions": {"eu-west-1": one}}]},
            {"v2": {"x": [{"Regions": {"eu-west-1": [one]}}]}},
        ):
            regions = BaseImagesPublished.read(message).regions
            assert [(image.image, image.name) for image in regions["eu-west-1"]] == [("ami-12345678", "a")]

    def test_of_several_parts_are_gathered(self):
        one = {"ImageId": "ami-12345678", "Name": "a"}
        message = {"ECSAmis": [{"Regions": {"eu-west-1": one}}, {"Regions": {"eu-west-1": one | {"Name": "b"}}}]}
        images = BaseImagesPublished.read(message).regions["eu-west-1"]
        assert [image.name for image in images] == ["a", "b"]
