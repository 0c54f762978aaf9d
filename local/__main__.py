"""`make local`: the local cloud with Mayfly installed, kept up until Ctrl-C, with what happens in it."""

import signal
import sys
import time

from rich.console import Console

from local import users
from local.cloud import CloudError, LocalCloud
from local.demo.rollouts import SERVICE, declare
from local.facts import Facts
from local.install import ROOT, SIMULATED, Installation, install
from local.records import all_histories
from mayfly.contract.vocabulary import Event
from mayfly.domain.text import whole_seconds


def main() -> int:
    """Serves until it is interrupted."""
    # Ended by a signal, it still ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    console = Console(highlight=False)
    try:
        with console.status("starting") as status, LocalCloud(ROOT / ".local") as cloud:

            def step(text: str) -> None:
                console.print(f"[green]·[/] {text}")
                status.update(text)

            installation = install(cloud, step)
            declare(cloud, warmup_seconds=15)  # nobody hurries time here
            environ = write_environ(cloud, installation)
            status.stop()
            console.print(f"\nThe local cloud is up. In another terminal:\n\n    . {environ}\n", highlight=False)
            smoke = "webshop-1-4-2-359f67ef-smoke"
            # What is to be copied stays in one line.
            console.print("    mayfly push webshop 1.4.2 s3://artifacts/webshop-1.4.2.tgz --watch", soft_wrap=True)
            console.print(f"    mayfly result {smoke} passed --token $(cat .local/tokens/{smoke})\n", soft_wrap=True)
            console.print(
                f"The first version that passes all its suites makes {SERVICE}, each later one rolls it out.\n"
            )
            console.print(f"The console: {cloud.console_url}/")
            console.print(f"Sign in as {', '.join(users.PEOPLE)}; the password is {users.PASSWORD}\n")
            console.print(f"{SIMULATED}\n")
            console.print("Ctrl-C ends it and all that it started. What happens in it:")
            watch(console, cloud, installation.outputs["TableName"], Facts(cloud, installation.outputs["FactsBusName"]))
    except KeyboardInterrupt:
        console.print("ended")
    except CloudError as error:
        console.print(f"[red]{error}[/]")
        return 1
    return 0


def write_environ(cloud: LocalCloud, installation: Installation) -> str:
    """Writes the variables for `mayfly`, `aws`, `sam` and boto3, and the way to them, to a file that a shell can read;
    returns its name."""
    # `sam local invoke` reads these as they are, and the stack's outputs are handy besides.
    variables = (
        cloud.environ
        | {"MAYFLY_CONSOLE_URL": cloud.console_url}
        | {f"MAYFLY_{key}": value for key, value in installation.outputs.items()}
    )
    file = ROOT / ".local" / "environ"
    lines = [f"export {key}='{value}'\n" for key, value in variables.items()]
    # The AWS CLI 1 sends some services to AWS, SQS among them, unless its own option says where to.
    lines += [
        f"export PATH='{ROOT}/.venv/bin':\"$PATH\"\n",
        'aws() { command aws --endpoint-url "$AWS_ENDPOINT_URL" "$@"; }\n',
    ]
    file.write_text("".join(lines))
    return str(file.relative_to(ROOT))


def watch(console: Console, cloud: LocalCloud, table: str, facts: Facts) -> None:
    """Prints each new line of each record's history, and keeps what passes a suite, as who runs its tests does."""
    told: dict[str, int] = {}
    tokens = ROOT / ".local" / "tokens"
    tokens.mkdir(exist_ok=True)
    while True:
        for fact in facts.heard():
            if fact["detail-type"] == Event.ENVIRONMENT_READY:
                token = tokens / fact["detail"]["environment"]
                (half := token.with_suffix(".part")).write_text(fact["detail"]["token"])
                half.rename(token)  # who waits for the file finds all of it
        for key, lines in sorted(all_histories(cloud, table).items(), key=lambda one: one[1][-1].at if one[1] else ""):
            for line in lines[told.get(key, 0) :]:
                name = f"[bold]{key.partition('#')[2]}[/]"
                console.print(f"[dim]{line.at[11:19]}[/]  {name}  {line.what}  [dim]{whole_seconds(line.why)}[/]")
            told[key] = len(lines)
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
