"""The command that says whether this machine is ready for the lessons: doctor."""

import json
import shutil
import sys
from dataclasses import asdict

import click

COLOURS = {"ok": "green", "note": "yellow", "wrong": "red"}
INDENT = " " * 18


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """Say in half a minute if this machine is ready for the lessons, and what mends what is wrong.

    The exit code is 0 where it is ready, and 1 where something is wrong.
    """
    from tlkit.course.doctor import examine, minutes, verdict

    on_screen = sys.stdout.isatty() and not as_json
    findings = []
    for finding in examine(lambda name: click.echo(f"...    {name}\r", nl=False) if on_screen else None):
        findings.append(finding)
        if not as_json:
            show(finding.state, finding.name, finding.found, finding.mend)
    wrong = any(finding.state == "wrong" for finding in findings)
    if as_json:
        said = {"ready": not wrong, "verdict": verdict(findings), "minutes": minutes(findings)}
        rows = [asdict(finding) for finding in findings]
        click.echo(json.dumps(said | {"findings": rows}, indent=2, ensure_ascii=False))
    else:
        click.secho(verdict(findings), bold=True)
    sys.exit(int(wrong))


def show(state: str, name: str, found: str, mend: str) -> None:
    """Print a finding; its mark is a word too, and a command stays on one line, to be copied."""
    text = click.wrap_text(found, max(40, shutil.get_terminal_size().columns), INDENT, INDENT)
    click.echo(f"{click.style(f'{state:<7}', fg=COLOURS[state])}{name:<11}{text.lstrip()}")
    if mend:
        click.echo(f"{INDENT}mend: {mend}")
