#!/bin/sh
# Tells Mayfly how the tests went that it has started by an `http` runner: report.sh passed|failed [junit.xml]
#
#   MAYFLY_APPLICATION  MAYFLY_ENVIRONMENT  MAYFLY_TOKEN  MAYFLY_REPORT_URL    as they were handed over
#   MAYFLY_BUS                              the installation's bus; `mayfly` where it is left out
#
# The role needs the output TesterPolicy (or CiPolicy) of blueprints/application.yaml.
set -eu
outcome=$1
[ "$#" -lt 2 ] || curl --silent --show-error --fail --upload-file "$2" "$MAYFLY_REPORT_URL"

entries=$(mktemp)
trap 'rm -f "$entries"' EXIT
detail="{\\\"environment\\\": \\\"$MAYFLY_ENVIRONMENT\\\", \\\"outcome\\\": \\\"$outcome\\\", \\\"token\\\": \\\"$MAYFLY_TOKEN\\\"}"
cat >"$entries" <<JSON
[{"EventBusName": "${MAYFLY_BUS:-mayfly}", "Source": "mayfly.app.$MAYFLY_APPLICATION",
  "DetailType": "Test Finished", "Detail": "$detail"}]
JSON
failed=$(aws events put-events --entries "file://$entries" --query FailedEntryCount --output text)
[ "$failed" = 0 ] || { echo "EventBridge did not take the event" >&2; exit 1; }
