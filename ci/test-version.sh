#!/bin/sh
# Has Mayfly test a version and waits for the verdict, by Mayfly's own command line; ends with 1 where it did not pass.
#
#   MAYFLY_APPLICATION  MAYFLY_VERSION  MAYFLY_ARTIFACT    what is tested
#   MAYFLY_COMMIT  MAYFLY_PULL_REQUEST                     where the verdict is shown, if there are any
#   MAYFLY_BRANCH                                          whose newer versions may supersede this one, if there is one
#   MAYFLY_STACK                                           the installation; `mayfly` where it is left out
set -u
said=$(mktemp)
trap 'rm -f "$said"' EXIT
set -- "$MAYFLY_APPLICATION" "$MAYFLY_VERSION" "$MAYFLY_ARTIFACT"
[ -z "${MAYFLY_COMMIT:-}" ] || set -- "$@" --commit "$MAYFLY_COMMIT"
[ -z "${MAYFLY_PULL_REQUEST:-}" ] || set -- "$@" --pull-request "$MAYFLY_PULL_REQUEST"
[ -z "${MAYFLY_BRANCH:-}" ] || set -- "$@" --branch "$MAYFLY_BRANCH"
mayfly push "$@" --watch --json >"$said"
code=$?
# Each suite as a line; in GitHub Actions, what did not pass is an annotation.
python3 - "$said" <<'PYTHON'
import json, os, sys

text = open(sys.argv[1]).read()
found = json.loads(text) if text else {"environments": []}
for one in found["environments"]:
    ending = one.get("ending") or {}
    line = f"{one['suite']} {ending.get('outcome', 'has no result')}: {ending.get('reason', one['id'])}"
    passed = ending.get("outcome") == "passed"
    print(line if passed or not os.environ.get("GITHUB_ACTIONS") else f"::error title={one['suite']}::{line}")
PYTHON
exit "$code"
