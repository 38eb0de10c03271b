"""Looks for known vulnerabilities that have a fix: packages of the packed images for which Debian has a security
update, and npm packages of the application with advisories.

It asks Debian's archive and the npm registry, so it runs wherever the images can be built. Ends with 1 for findings,
and with SCAN_STRICT=1 also where somebody could not be asked.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "build/package/package.json"
APPLICATIONS = ("app/api", "app/frontend")
# "Inst openssl [3.5.0-1] (3.5.0-2 Debian-Security:13/stable-security [amd64])"
UPGRADE = re.compile(r"^Inst (\S+) \[(\S+)\] \((\S+) (.*?)(?: \[\S+\])?\)", re.MULTILINE)
# An image that was not made from Debian packages has no apt-get: exit 3 is not one of apt's.
LOOK = "command -v apt-get >/dev/null || exit 3; apt-get -qq update && apt-get --simulate dist-upgrade"
TIMEOUT = 300


class Result(NamedTuple):
    """What was found in one place; C(problem) says why nobody knows."""

    name: str
    findings: tuple[str, ...] = ()
    note: str = ""
    problem: str = ""

    @property
    def line(self) -> str:
        if self.problem:
            return f"{self.name}: NOT KNOWN, {self.problem}"
        told = f"{len(self.findings)} to fix: {', '.join(self.findings)}" if self.findings else "nothing to fix"
        return f"{self.name}: {self.note or told}"


def upgrades(text: str) -> tuple[str, ...]:
    """Packages with a security update, out of what apt-get would do."""
    found = UPGRADE.findall(text)
    return tuple(f"{name} {old} -> {new}" for name, old, new, where in found if "security" in where.lower())


def advisories(text: str) -> tuple[str, ...]:
    """Packages with severe advisories, out of `npm audit --json`. Raises ValueError where it says nothing of them."""
    document = json.loads(text)
    if "vulnerabilities" not in document:
        raise ValueError(document.get("message") or document.get("error", {}).get("summary") or "npm does not say")
    severities = ((name, entry["severity"]) for name, entry in sorted(document["vulnerabilities"].items()))
    return tuple(f"{name} ({severity})" for name, severity in severities if severity in ("high", "critical"))


def last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[-1]


def run(*words: str, cwd: pathlib.Path = ROOT) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(words, 124, "", f"no answer within {TIMEOUT} s")


def scan_image(reference: str) -> Result:
    done = run("docker", "run", "--rm", "--user", "0", "--entrypoint", "sh", reference, "-c", LOOK)
    if done.returncode == 3:
        return Result(reference, note="made by somebody else, without Debian packages; not scanned")
    if done.returncode:
        return Result(reference, problem=last_line(done.stderr))
    return Result(reference, upgrades(done.stdout))


def scan_application(folder: str) -> Result:
    # What only builds and tests is in no image and in no bundle.
    done = run("npm", "audit", "--json", "--omit=dev", cwd=ROOT / folder)
    try:
        return Result(folder, advisories(done.stdout))
    except ValueError as error:
        return Result(folder, problem=f"the registry does not say ({error})")


def main() -> int:
    if not PACKAGE.exists():
        sys.exit(f'There is no {PACKAGE.relative_to(ROOT)}; nothing was scanned. Run "make package" first.')
    results = [scan_image(reference) for reference in json.loads(PACKAGE.read_text())["images"]]
    results += [scan_application(folder) for folder in APPLICATIONS]
    for result in results:
        print(result.line)
    if any(result.findings for result in results):
        print(
            "The package was left as it is, and nothing was deployed. An image is made anew where none is left: remove"
            ' it and the base image, then "make package". npm: "npm update <package>" in the folder.'
        )
    is_blind = any(result.problem for result in results) and os.environ.get("SCAN_STRICT") == "1"
    return int(is_blind or any(result.findings for result in results))


if __name__ == "__main__":
    sys.exit(main())
