"""Logs and metrics, once for all functions. Traces are Lambda's and Step Functions' own."""

import warnings

from aws_lambda_powertools import Logger, Metrics, single_metric
from aws_lambda_powertools.metrics import MetricUnit

# Most invocations have nothing to count, and that is in order.
warnings.filterwarnings("ignore", "No application metrics to publish")

logger = Logger(service="mayfly")
metrics = Metrics(namespace="Mayfly", service="mayfly")


def measure(name: str, value: float, **dimensions: str) -> None:
    """One metric with dimensions of its own besides the service, at once: the others of an invocation have the service
    only. What is whole is a count."""
    unit = MetricUnit.Count if isinstance(value, int) else MetricUnit.NoUnit
    with single_metric(name=name, unit=unit, value=value, namespace="Mayfly") as one:
        # Powertools adds the service where its environment names one; CloudWatch matches exact sets of dimensions.
        for key, said in ({"service": "mayfly"} | dimensions).items():
            one.add_dimension(name=key, value=said)
