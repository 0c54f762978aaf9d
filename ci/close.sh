#!/bin/sh
# Tells Mayfly that a pull request was merged or closed: its preview is ended.
#
#   MAYFLY_APPLICATION  MAYFLY_PULL_REQUEST    which
#   MAYFLY_BUS                                 the installation's bus; `mayfly` where it is left out
#
# The role needs the output CiPolicy of blueprints/application.yaml.
set -eu

entries=$(mktemp)
trap 'rm -f "$entries"' EXIT
detail="{\\\"application\\\": \\\"$MAYFLY_APPLICATION\\\", \\\"pull_request\\\": $MAYFLY_PULL_REQUEST}"
cat >"$entries" <<JSON
[{"EventBusName": "${MAYFLY_BUS:-mayfly}", "Source": "mayfly.app.$MAYFLY_APPLICATION",
  "DetailType": "Pull Request Closed", "Detail": "$detail"}]
JSON
failed=$(aws events put-events --entries "file://$entries" --query FailedEntryCount --output text)
[ "$failed" = 0 ] || { echo "EventBridge did not take the event" >&2; exit 1; }
