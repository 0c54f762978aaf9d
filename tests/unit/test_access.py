"""Roles from groups, and who may do what."""

from typing import ClassVar

import pytest

from mayfly.domain.access import ApiAction, Role, Team, action_of, caller, may

CLAIM = "cognito:groups"


def of(*groups, **claims):
    return caller({"username": "ada", CLAIM: list(groups)} | claims, CLAIM)


class TestARole:
    @pytest.mark.parametrize(
        ("groups", "role", "applications"),
        [
            ((), None, ()),
            (("staff", "admin"), None, ()),
            (("viewer",), Role.VIEWER, ()),
            (("developer:web",), Role.DEVELOPER, ("web",)),
            (("developer:web", "viewer", "developer:api"), Role.DEVELOPER, ("api", "web")),
            (("operator", "developer:web"), Role.OPERATOR, ("web",)),
            (("owner:web", "developer:api"), Role.OWNER, ("api", "web")),
            (("owner:",), None, ()),
            (("developer:",), None, ()),
            (("developer",), None, ()),
            (("Operator", " operator", "co-operator", "Site operator"), None, ()),
        ],
        ids=str,
    )
    def test_is_the_most_that_a_group_gives(self, groups, role, applications):
        found = of(*groups)
        assert (found.role, found.applications) == (role, applications)

    @pytest.mark.parametrize("said", [["viewer"], ["viewer", 3, None, ["operator"], {"operator": True}]])
    def test_is_read_from_a_list(self, said):
        assert caller({"sub": "1", "roles": said}, "roles").role is Role.VIEWER

    @pytest.mark.parametrize("said", [None, "", [], {}, "viewer", "openid operator", "[operator]", {"operator": 1}, 7])
    def test_is_none_where_the_claim_says_nothing(self, said):
        assert caller({"sub": "1", CLAIM: said}, CLAIM).role is None
        assert caller({"sub": "1"}, CLAIM).role is None


class TestATeam:
    TEAMS: ClassVar = {
        "web": Team(owners=("leads", "heads"), developers=("team-shop", "team-web")),
        "api": Team(developers=("team-api",)),
        "blog": Team(),
    }

    @pytest.mark.parametrize(
        ("groups", "role", "applications"),
        [
            (("team-web",), Role.DEVELOPER, ("web",)),
            (("team-shop", "team-api", "viewer"), Role.DEVELOPER, ("api", "web")),
            (("team-web", "developer:blog"), Role.DEVELOPER, ("blog", "web")),
            (("heads", "team-api"), Role.OWNER, ("api", "web")),
            (("team",), None, ()),
            (("operator", "team-api"), Role.OPERATOR, ("api",)),
        ],
        ids=str,
    )
    def test_develops_the_applications_that_name_it(self, groups, role, applications):
        found = caller({"sub": "1", CLAIM: list(groups)}, CLAIM, self.TEAMS)
        assert (found.role, found.applications) == (role, applications)


class TestAName:
    @pytest.mark.parametrize(
        ("claims", "who"),
        [
            ({"email": "a@example.com", "username": "ada", "sub": "1"}, "ada"),
            ({"email": "a@example.com", "email_verified": "true", "username": "ada"}, "ada"),
            ({"username": "a\x1b[31md\u202ea\n", "sub": "1"}, "a [31mda "),
            ({"email": "a@example.com", "email_verified": True, "sub": "1"}, "a@example.com"),
            ({"email": "boss@example.com", "email_verified": False, "username": "ada"}, "ada"),
            ({"email": "boss@example.com", "email_verified": "false", "cognito:username": "ada"}, "ada"),
            ({"username": "ada", "sub": "1"}, "ada"),
            ({"cognito:username": "ada", "sub": "1"}, "ada"),
            ({"sub": "1"}, "1"),
            ({}, ""),
            ({"sub": "x" * 5000}, "x" * 256),
        ],
        ids=lambda value: str(value)[:60],
    )
    def test_is_the_first_that_the_token_vouches_for(self, claims, who):
        assert caller(claims, CLAIM).who == who

    def test_is_needed(self):
        assert not may(caller({CLAIM: ["operator"]}, CLAIM), ApiAction.READ).granted


class TestAnAction:
    @pytest.mark.parametrize(
        ("method", "path", "action"),
        [
            ("GET", "/api/environments", ApiAction.READ),
            ("HEAD", "/api/anything", ApiAction.READ),
            ("POST", "/api/releases", ApiAction.CHANGE),
            ("POST", "/api/environments/web-1/extension", ApiAction.CHANGE),
            ("POST", "/api/blueprints/check", ApiAction.CHANGE),
            ("POST", "/api/rollouts/web-production-1/abort", ApiAction.ROLL_OUT),
            ("POST", "/api/services/web-production/rollout", ApiAction.ROLL_OUT),
            ("POST", "/api/bakes", ApiAction.OPERATE),
            ("PUT", "/api/kill-switch", ApiAction.OPERATE),
            ("DELETE", "/api/what-nobody-has-thought-of", ApiAction.OPERATE),
        ],
    )
    def test_is_an_operators_unless_it_is_known_to_be_a_developers(self, method, path, action):
        assert action_of(method, path) is action


class TestADecision:
    @pytest.mark.parametrize(
        ("groups", "action", "application", "granted"),
        [
            ((), ApiAction.READ, None, False),
            (("viewer",), ApiAction.READ, None, True),
            (("viewer",), ApiAction.CHANGE, None, False),
            (("viewer",), ApiAction.CHANGE, "web", False),
            (("viewer",), ApiAction.OPERATE, None, False),
            (("developer:web",), ApiAction.READ, "api", True),
            (("developer:web",), ApiAction.CHANGE, None, True),
            (("developer:web",), ApiAction.CHANGE, "web", True),
            (("developer:web",), ApiAction.CHANGE, "api", False),
            (("developer:web",), ApiAction.CHANGE, "unknown", False),
            (("developer:web",), ApiAction.OPERATE, None, False),
            (("developer:web",), ApiAction.ROLL_OUT, "web", False),
            (("owner:web",), ApiAction.CHANGE, "web", True),
            (("owner:web",), ApiAction.ROLL_OUT, None, True),
            (("owner:web",), ApiAction.ROLL_OUT, "web", True),
            (("owner:web", "developer:api"), ApiAction.ROLL_OUT, "api", False),
            (("owner:web",), ApiAction.OPERATE, None, False),
            (("operator",), ApiAction.ROLL_OUT, "web", True),
            (("operator",), ApiAction.READ, None, True),
            (("operator",), ApiAction.CHANGE, "web", True),
            (("operator",), ApiAction.OPERATE, None, True),
        ],
        ids=str,
    )
    def test_follows_from_role_and_application(self, groups, action, application, granted):
        permission = may(of(*groups), action, application)
        assert permission.granted is granted
        assert "ada" in permission.reason

    def test_says_who_may_roll_out(self):
        assert may(of("developer:web"), ApiAction.ROLL_OUT, "web").reason == (
            "only members of 'owner:web' and 'operator' may roll out permanent environments, "
            "but ada is developer of web"
        )

    def test_says_what_is_missing(self):
        assert may(of("developer:web"), ApiAction.CHANGE, "api").reason == (
            "only members of 'developer:api' and 'operator' may change releases and environments, "
            "but ada is developer of web"
        )
        assert may(of("viewer"), ApiAction.CHANGE).reason == (
            "only members of 'developer:<application>' and 'operator' may change releases and environments, "
            "but ada is viewer"
        )
