"""Snapshots of databases, seen through one workload account."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mayfly.domain.needs import Use

if TYPE_CHECKING:
    from mayfly.aws.clients import Workload


def snapshots(workload: "Workload", database: str) -> list[str]:
    """Returns the snapshots that somebody, or CloudFormation, took of a database; automatic ones go with it."""
    pages = workload.rds.get_paginator("describe_db_snapshots").paginate(
        DBInstanceIdentifier=database, SnapshotType="manual"
    )
    return [found["DBSnapshotIdentifier"] for page in pages for found in page["DBSnapshots"]]


def cluster_snapshots(workload: "Workload", cluster: str) -> list[str]:
    """Returns the snapshots that somebody, or CloudFormation, took of a cluster; automatic ones go with it."""
    pages = workload.rds.get_paginator("describe_db_cluster_snapshots").paginate(
        DBClusterIdentifier=cluster, SnapshotType="manual"
    )
    return [found["DBClusterSnapshotIdentifier"] for page in pages for found in page["DBClusterSnapshots"]]


def used_databases(workload: "Workload") -> Iterator[Use]:
    """Lists database instances."""
    for page in workload.rds.get_paginator("describe_db_instances").paginate():
        yield from (("databases", 1, database) for database in page["DBInstances"])
