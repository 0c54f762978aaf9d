"""Logs and metrics, once for all functions. Traces are Lambda's and Step Functions' own."""

from aws_lambda_powertools import Logger, Metrics

logger = Logger(service="mayfly")
metrics = Metrics(namespace="Mayfly", service="mayfly")
