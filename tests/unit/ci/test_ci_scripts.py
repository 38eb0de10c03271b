# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pipeline: what its scripts do, and what its workflow has to be."""

from __future__ import annotations

import importlib.util
import json
import os
import pathlib
import re
import shutil
import stat
import subprocess

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]
WORKFLOW = ROOT / ".github/workflows/memory-optimized-deploy.yml"
STAGES = ("ci-build", "ci-memory", "ci-performance", "ci-deploy", "ci-health")


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"scripts/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# -- a stage


@pytest.fixture
def stage(tmp_path, monkeypatch):
    """Runs a stage below a folder of its own; gives its status and its summary."""
    module = script("ci_stage")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "github.md"))

    def run(*arguments):
        status = module.main(arguments)
        text = (tmp_path / "build/reports/s/summary.md").read_text()
        assert (tmp_path / "github.md").read_text().endswith(text + "\n")
        return status, text

    return run


def test_a_stage_that_passes(stage):
    status, text = stage("s", "true", "sh -c 'echo hidden'")
    assert status == 0 and text.startswith("# s: passed\n")
    assert text.count("| passed |") == 2 and "```text" not in text


def test_a_failure_ends_the_stage_and_is_shown(stage):
    status, text = stage("s", "true", "sh -c 'echo why >&2; exit 7'", "touch never")
    assert status == 1 and text.startswith("# s: failed\n")
    assert "| failed (7) |" in text and "`touch never` | not run |" in text
    assert "```text\nwhy\n```" in text


def test_each_command_of_a_stage_that_goes_on(stage):
    status, text = stage("--keep-going", "--show", "s", "false", r"printf '\033[31mred\033[0m ```'")
    assert status == 1 and "not run" not in text
    assert "````text\nred ```\n````" in text


def test_a_report_is_included_unless_it_is_of_an_earlier_run(stage, tmp_path):
    old, new = tmp_path / "old.md", tmp_path / "new.md"
    old.write_text("## of an earlier run")
    os.utime(old, (1, 1))
    status, text = stage("--include", str(old), "--include", str(new), "s", f"sh -c 'echo \"## of this\" > {new}'")
    assert status == 0 and "## of this" in text and "earlier" not in text


def test_nobody_is_asked(stage):
    assert stage("--show", "s", "cat")[0] == 0


# -- the scan

APT = """NOTE: This is only a simulation!
Inst libssl3t64 [3.5.0-1] (3.5.0-2 Debian-Security:13/stable-security [amd64])
Inst tzdata [2025a] (2025b Debian:13.1/stable [all])
Inst openssl [3.5.0-1] (3.5.0-2 Debian:13.1/stable, Debian-Security:13/stable-security [amd64]) []
Conf openssl (3.5.0-2 Debian-Security:13/stable-security [amd64])
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [(APT, ("libssl3t64 3.5.0-1 -> 3.5.0-2", "openssl 3.5.0-1 -> 3.5.0-2")), ("", ())],
)
def test_security_updates(text, expected):
    assert script("scan_images").upgrades(text) == expected


def test_advisories():
    found = {"b": {"severity": "critical"}, "a": {"severity": "high"}, "c": {"severity": "moderate"}}
    assert script("scan_images").advisories(json.dumps({"vulnerabilities": found})) == ("a (high)", "b (critical)")


@pytest.mark.parametrize("text", ["", "{}", '{"message": "405"}', '{"error": {"summary": "405"}}'])
def test_a_registry_that_does_not_say(text):
    with pytest.raises(ValueError):
        script("scan_images").advisories(text)


@pytest.mark.parametrize(
    ("found", "problem", "strict", "status"),
    [((), "", "1", 0), (("a",), "", "0", 1), ((), "405", "0", 0), ((), "405", "1", 1)],
)
def test_what_the_scan_ends_with(tmp_path, monkeypatch, capsys, found, problem, strict, status):
    module = script("scan_images")
    package = tmp_path / "package.json"
    package.write_text('{"images": {"sixty/api:1": []}}')
    monkeypatch.setattr(module, "PACKAGE", package)
    monkeypatch.setattr(module, "scan_image", lambda name: module.Result(name, found))
    monkeypatch.setattr(module, "scan_application", lambda name: module.Result(name, problem=problem))
    monkeypatch.setenv("SCAN_STRICT", strict)
    assert module.main() == status
    assert ("NOT KNOWN, 405" in capsys.readouterr().out) == bool(problem)


# -- credentials


@pytest.fixture
def credentials(tmp_path):
    # Not on a bare machine; the one that runs the pipeline has it.
    if not shutil.which("ssh-keygen"):
        pytest.skip("there is no ssh-keygen here")
    key = tmp_path / "made"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    kind, public = (tmp_path / "made.pub").read_text().split()[:2]
    given = {
        "DEPLOY_SSH_KEY": key.read_text().rstrip("\n"),
        "DEPLOY_KNOWN_HOSTS": f"sixty.example.com {kind} {public}",
        "ANSIBLE_VAULT_PASSWORD": "a password",
    }

    def run(**changed):
        environment = {"PATH": os.environ["PATH"], "RUNNER_TEMP": str(tmp_path), "GITHUB_ENV": str(tmp_path / "env")}
        words = ["bash", ROOT / "scripts/ci_credentials.sh"]
        return subprocess.run(
            words, env={**environment, **given, **changed}, capture_output=True, text=True, check=False
        )

    return run


def test_credentials_are_readable_by_their_owner_alone(credentials, tmp_path):
    done = credentials()
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    folder = tmp_path / "credentials"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {
        "key": 0o600,
        "known_hosts": 0o600,
        "vault_password": 0o600,
    }
    told = (tmp_path / "env").read_text()
    assert "StrictHostKeyChecking=yes" in told and "ANSIBLE_HOST_KEY_CHECKING=true" in told


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"DEPLOY_SSH_KEY": ""}, "The secret DEPLOY_SSH_KEY is not set"),
        ({"ANSIBLE_VAULT_PASSWORD": ""}, "The secret ANSIBLE_VAULT_PASSWORD is not set"),
        ({"DEPLOY_SSH_KEY": "no key"}, "no private key"),
        ({"DEPLOY_KNOWN_HOSTS": "no host key"}, "no host key"),
    ],
)
def test_credentials_that_are_none(credentials, tmp_path, changed, says):
    done = credentials(**changed)
    assert done.returncode == 2 and says in done.stderr and "Nothing was changed" in done.stderr
    assert "no key" not in done.stderr.replace("no private key", "") and not (tmp_path / "env").exists()


# -- the workflow


@pytest.fixture(scope="module")
def workflow():
    return yaml.safe_load(WORKFLOW.read_text())


def texts():
    return [path.read_text() for path in (WORKFLOW, *ROOT.glob(".github/actions/*/action.yml"))]


def test_actions_are_pinned_by_their_commit():
    used = [line for text in texts() for line in re.findall(r"uses: (.*)", text)]
    assert len(used) > 10
    for use in used:
        assert re.fullmatch(r"\./\.github/actions/\w+|[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use), use


def test_the_stages_are_make_targets(workflow):
    run = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    called = set(re.findall(r"make ([a-z-]+)", "\n".join(run)))
    assert called >= set(STAGES) and called <= targets


def test_least_permissions(workflow):
    assert workflow["permissions"] == {}
    wide = {
        name: job["permissions"] for name, job in workflow["jobs"].items() if job["permissions"] != {"contents": "read"}
    }
    assert wide == {"notify": {"contents": "read", "issues": "write"}}


def test_deploys_take_turns_and_are_never_ended(workflow):
    for name in ("staging", "production"):
        job = workflow["jobs"][name]
        assert job["environment"] == name
        assert job["concurrency"] == {"group": f"deploy-{name}", "cancel-in-progress": False}
        assert "refs/heads/main" in job["if"] and "pull_request" in job["if"]
    assert set(workflow["jobs"]["staging"]["needs"]) == {"build", "debian", "memory", "performance"}
    assert "staging" in workflow["jobs"]["production"]["needs"]


def test_credentials_do_not_stay(workflow):
    for job in workflow["jobs"].values():
        runs = {step.get("run", ""): step for step in job["steps"]}
        if any("ci_credentials" in run for run in runs):
            assert runs['rm -rf "$RUNNER_TEMP/credentials"']["if"] == "always()"
            # What a cache brings was made by another run.
            assert not any("caches" in step.get("uses", "") for step in job["steps"])


def test_nothing_from_outside_is_part_of_a_command(workflow):
    run = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    assert not [text for text in run if "${{" in text]


def test_the_thresholds_are_the_requirements(workflow):
    wanted = {"LCP": "2000", "FID": "50", "CLS": "0.05", "TTI": "3000"}
    assert {name: workflow["env"][f"PERFORMANCE_THRESHOLD_{name}"] for name in wanted} == wanted
    assert (
        int(workflow["env"]["BUNDLE_LIMIT_BYTES"]) == 5 << 20
        and int(workflow["env"]["BUILD_MEMORY_LIMIT_BYTES"]) == 2 << 30
    )
