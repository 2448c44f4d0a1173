"""The command that checks whether this machine is ready for the lessons: doctor."""

import json
import shutil
import sys
from dataclasses import asdict

import click

COLOURS = {"ok": "green", "note": "yellow", "error": "red"}
INDENT = " " * 18


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """Check whether this machine is ready for the lessons, and print the fix of each problem.

    It takes about half a minute. The exit code is 0 if the machine is ready, and 1 if there is an error.
    """
    from tlkit.course.doctor import examine, minutes, verdict

    on_screen = sys.stdout.isatty() and not as_json
    findings = []
    for finding in examine(lambda name: click.echo(f"...    {name}\r", nl=False) if on_screen else None):
        findings.append(finding)
        if not as_json:
            show(finding.state, finding.name, finding.found, finding.fix)
    failed = any(finding.state == "error" for finding in findings)
    if as_json:
        summary = {"ready": not failed, "verdict": verdict(findings), "minutes": minutes(findings)}
        rows = [asdict(finding) for finding in findings]
        click.echo(json.dumps(summary | {"findings": rows}, indent=2, ensure_ascii=False))
    else:
        click.secho(verdict(findings), bold=True)
    sys.exit(int(failed))


def show(state: str, name: str, found: str, fix: str) -> None:
    """Print a finding; its fix is on one line of its own, so that it can be copied."""
    text = click.wrap_text(found, max(40, shutil.get_terminal_size().columns), INDENT, INDENT)
    click.echo(f"{click.style(f'{state:<7}', fg=COLOURS[state])}{name:<11}{text.lstrip()}")
    if fix:
        click.echo(f"{INDENT}fix: {fix}")
