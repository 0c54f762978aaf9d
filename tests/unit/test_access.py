"""Roles from groups, and who may do what."""

import pytest

from mayfly.domain.access import Action, Role, action_of, caller, may

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
            (("developer:",), None, ()),
            (("developer",), None, ()),
            (("Operator", " operator", "co-operator", "Site operator"), None, ()),
        ],
        ids=str,
    )
    def test_is_the_most_that_a_group_gives(self, groups, role, applications):
        found = of(*groups)
        assert (found.role, found.applications) == (role, applications)

    @pytest.mark.parametrize("said", ["openid viewer", ["viewer"], ("viewer", 3)])
    def test_is_read_from_a_list_or_from_words(self, said):
        assert caller({"sub": "1", "scope": said}, "scope").role is Role.VIEWER

    @pytest.mark.parametrize("said", [None, "", [], {}])
    def test_is_none_where_the_claim_says_nothing(self, said):
        assert caller({"sub": "1", CLAIM: said}, CLAIM).role is None
        assert caller({"sub": "1"}, CLAIM).role is None


class TestAName:
    @pytest.mark.parametrize(
        ("claims", "who"),
        [
            ({"email": "a@example.com", "username": "ada", "sub": "1"}, "a@example.com"),
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
        assert not may(caller({CLAIM: ["operator"]}, CLAIM), Action.READ).granted


class TestAnAction:
    @pytest.mark.parametrize(
        ("method", "path", "action"),
        [
            ("GET", "/api/environments", Action.READ),
            ("HEAD", "/api/anything", Action.READ),
            ("POST", "/api/releases", Action.CHANGE),
            ("POST", "/api/environments/web-1/extension", Action.CHANGE),
            ("POST", "/api/bakes", Action.OPERATE),
            ("PUT", "/api/kill-switch", Action.OPERATE),
            ("DELETE", "/api/what-nobody-has-thought-of", Action.OPERATE),
        ],
    )
    def test_is_an_operators_unless_it_is_known_to_be_a_developers(self, method, path, action):
        assert action_of(method, path) is action


class TestADecision:
    @pytest.mark.parametrize(
        ("groups", "action", "application", "granted"),
        [
            ((), Action.READ, None, False),
            (("viewer",), Action.READ, None, True),
            (("viewer",), Action.CHANGE, None, False),
            (("viewer",), Action.CHANGE, "web", False),
            (("viewer",), Action.OPERATE, None, False),
            (("developer:web",), Action.READ, "api", True),
            (("developer:web",), Action.CHANGE, None, True),
            (("developer:web",), Action.CHANGE, "web", True),
            (("developer:web",), Action.CHANGE, "api", False),
            (("developer:web",), Action.CHANGE, "unknown", False),
            (("developer:web",), Action.OPERATE, None, False),
            (("operator",), Action.READ, None, True),
            (("operator",), Action.CHANGE, "web", True),
            (("operator",), Action.OPERATE, None, True),
        ],
        ids=str,
    )
    def test_follows_from_role_and_application(self, groups, action, application, granted):
        permission = may(of(*groups), action, application)
        assert permission.granted is granted
        assert "ada" in permission.reason

    def test_says_what_is_missing(self):
        assert may(of("developer:web"), Action.CHANGE, "api").reason == (
            "only members of 'developer:api' and 'operator' may change releases and environments, "
            "but ada is developer of web"
        )
        assert may(of("viewer"), Action.CHANGE).reason == (
            "only members of 'developer:<application>' and 'operator' may change releases and environments, "
            "but ada is viewer"
        )
