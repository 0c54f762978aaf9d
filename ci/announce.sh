#!/bin/sh
# Announces a version to Mayfly: plain shell with the AWS CLI, for any CI server. The verdict comes as the status of the
# commit, by mail, or by `mayfly watch`.
#
#   MAYFLY_APPLICATION  MAYFLY_VERSION  MAYFLY_ARTIFACT    what is tested
#   MAYFLY_COMMIT  MAYFLY_PULL_REQUEST                     where the verdict is shown, if there are any
#   MAYFLY_BRANCH                                          whose newer versions may supersede this one, if there is one
#   MAYFLY_BUS                                             the installation's bus; `mayfly` where it is left out
#
# The role needs the output CiPolicy of blueprints/application.yaml.
set -eu

quoted() { printf '%s' "$1" | sed 's/[\\"]/\\&/g'; }

detail="{\"application\": \"$(quoted "$MAYFLY_APPLICATION")\", \"version\": \"$(quoted "$MAYFLY_VERSION")\""
detail="$detail, \"artifact\": \"$(quoted "$MAYFLY_ARTIFACT")\""
[ -z "${MAYFLY_COMMIT:-}" ] || detail="$detail, \"commit\": \"$(quoted "$MAYFLY_COMMIT")\""
[ -z "${MAYFLY_PULL_REQUEST:-}" ] || detail="$detail, \"pull_request\": $MAYFLY_PULL_REQUEST"
[ -z "${MAYFLY_BRANCH:-}" ] || detail="$detail, \"branch\": \"$(quoted "$MAYFLY_BRANCH")\""
entries=$(mktemp)
trap 'rm -f "$entries"' EXIT
cat >"$entries" <<JSON
[{"EventBusName": "${MAYFLY_BUS:-mayfly}", "Source": "mayfly.app.$MAYFLY_APPLICATION",
  "DetailType": "Code Version Pushed", "Detail": "$(quoted "$detail}")"}]
JSON
failed=$(aws events put-events --entries "file://$entries" --query FailedEntryCount --output text)
[ "$failed" = 0 ] || { echo "EventBridge did not take the event" >&2; exit 1; }
echo "$MAYFLY_APPLICATION $MAYFLY_VERSION was announced"
