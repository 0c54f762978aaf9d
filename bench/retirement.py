"""Retirement: whether it decides rightly over thousands of images with every kind of use, and how its calls grow."""

import json
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter
from datetime import timedelta
from typing import Any

from local.cloud import CONTROLLER_ACCOUNT, REGION, LocalCloud
from local.install import ROOT
from mayfly.domain.timestamp import utc_text

type Json = dict[str, Any]

GALLERIES, IMAGES = 10, 2000
FEW, MANY = 40, 160
"""Images of a family, with nothing due: the calls of a run over one and the other are to be the same."""
FAMILY = "retirement-bench"
ROUNDS = 3


def measure(cloud: LocalCloud) -> Json:
    """The decisions alone in a process of their own, then runs of the deployed function."""
    run = subprocess.run([sys.executable, "-m", "bench.retirement"], capture_output=True, text=True, check=True)
    return dict(json.loads(run.stdout)) | calls(cloud)


def calls(cloud: LocalCloud) -> Json:
    """Calls to the workload account of a run over a few images and over many, none of which is due."""
    configure(cloud)
    found: Json = {}
    builder = launch(cloud)
    for count, more in ((FEW, FEW), (MANY, MANY - FEW)):
        for number in range(more):
            make(cloud, builder, f"{count}-{number}")
        until_available(cloud, count)
        cloud.reset_ledger()
        began = [run_once(cloud) for _ in range(ROUNDS)]
        rows = [row for row in cloud.ledger()["calls"] if row["action"] != "AssumeRole"]
        found[f"calls_over_{count}_images"] = len(rows) // ROUNDS
        found[f"ms_over_{count}_images"] = round(statistics.median(began))
    cloud.workload_client("ec2").terminate_instances(InstanceIds=[builder])
    return found


def configure(cloud: LocalCloud) -> None:
    """A family whose images are all too young to be retired."""
    name = f"/mayfly/families/{FAMILY}"
    value = (ROOT / "tests" / "families" / "plain.json").read_text()
    cloud.client("ssm").put_parameter(Name=name, Value=value, Type="String", Overwrite=True)


def launch(cloud: LocalCloud) -> str:
    """A machine that images can be made of."""
    ec2 = cloud.workload_client("ec2")
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    return str(ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"])


def make(cloud: LocalCloud, builder: str, name: str) -> None:
    """An image as a bake leaves it."""
    labels = {"mayfly:image-family": FAMILY, "mayfly:controller": f"{CONTROLLER_ACCOUNT}/{REGION}/mayfly"}
    listed = [{"Key": key, "Value": value} for key, value in labels.items()]
    cloud.workload_client("ec2").create_image(
        InstanceId=builder, Name=name, TagSpecifications=[{"ResourceType": "image", "Tags": listed}]
    )


def until_available(cloud: LocalCloud, count: int) -> None:
    """Waits until so many images are there."""
    mine = [{"Name": "tag:mayfly:image-family", "Values": [FAMILY]}, {"Name": "state", "Values": ["available"]}]
    give_up = time.monotonic() + 60
    while len(cloud.workload_client("ec2").describe_images(Filters=mine)["Images"]) < count:
        if time.monotonic() > give_up:
            raise TimeoutError(f"{count} images are not available within a minute")
        time.sleep(0.2)


def run_once(cloud: LocalCloud) -> float:
    """One dry run; how long it ran, in milliseconds."""
    event = {"now": utc_text(cloud.now() + timedelta(hours=1)), "dry_run": True}
    reply = cloud.client("lambda").invoke(FunctionName="mayfly-retire-images", Payload=json.dumps(event).encode())
    report = json.loads(reply["Payload"].read())
    if "counts" not in report:
        raise RuntimeError(f"the retirement failed: {report}")
    last = [row for row in cloud.ledger()["invocations"] if row["function"] == "mayfly-retire-images"][-1]
    return float(last["ms"])


def _decide() -> None:
    """Decides about generated galleries and holds each decision against what it was drawn to be."""
    from mayfly.domain.retirement import Step, decide_retirement
    from tests.unit.gallery import NOW, POLICY, gallery

    removals, wrong, missed, amis, seconds = 0, 0, 0, 0, list[float]()
    out = {Step.DEPRECATE, Step.DISABLE, Step.DEREGISTER}
    steps: Counter[str] = Counter()
    for seed in range(GALLERIES):
        made = gallery(IMAGES, seed)
        began = time.perf_counter()
        decided = decide_retirement(NOW, made.images, POLICY, made.needed, made.usage)
        seconds.append(time.perf_counter() - began)
        amis += len(decided)
        for each in decided:
            expected = made.expected[each.ami.id]
            steps[each.step.value] += 1
            removals += each.step in out
            wrong += each.step in out and each.step is not expected
            missed += expected in out and each.step is not expected
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures = {
        "images": GALLERIES * IMAGES,
        "amis": amis,
        "steps_due": removals,
        "restored": steps["restore"],
        "wrong_removals": wrong,
        "missed": missed,
        "decision_s_per_2000": round(statistics.median(seconds), 3),
        "decision_mb": round(peak),
    }
    print(json.dumps(figures))  # noqa: T201


if __name__ == "__main__":
    _decide()
