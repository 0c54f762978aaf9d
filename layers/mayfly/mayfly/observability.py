"""Logs and metrics, once for all functions. Traces are Lambda's and Step Functions' own."""

import warnings

from aws_lambda_powertools import Logger, Metrics

# Most invocations have nothing to count, and that is in order.
warnings.filterwarnings("ignore", "No application metrics to publish")

logger = Logger(service="mayfly")
metrics = Metrics(namespace="Mayfly", service="mayfly")
