# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What breaks around a deploy: archives that are cut, a connection that is lost, somebody else who deploys as well."""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
import uuid

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.faults.conftest import MACHINE
from ansible_collections.sixty_sales.memory_optimized.tests.faults.scene import HOME, INVENTORY, STACK
from ansible_collections.sixty_sales.memory_optimized.tests.ssh.production import eventually


@pytest.fixture
def new() -> str:
    """A name for a release."""
    return f"r-{uuid.uuid4().hex[:6]}"


def parts(host) -> list[str]:
    """The parts of the images that have arrived."""
    return sorted(host.ssh("find /srv -name 'part-*'").splitlines())


def test_a_first_deploy_is_cut_and_an_archive_on_its_way_is_truncated(host):
    if not host.is_bare():
        pytest.skip("the host has a stack already")
    operator = host.operator
    with operator.making("01-first-deploy-cut", "deploy-production") as deploying:
        # A task's name is printed with its end, so the host is asked how far it is.
        eventually(lambda: len(parts(host)) >= 2, "two parts of the images have arrived", 900)
        assert operator.cut_connections() > 0
        deploying.process.wait(120)
    assert deploying.play.recap["unreachable"] == 1, deploying.play.tail
    host.ssh(f"truncate --size=1M {parts(host)[0]}")
    # gzip would refuse a part of 1 MB, so a deploy that ends well has sent it again.
    operator.deploy("01-first-deploy", timeout=1200)
    assert operator.routed() == host.state()["active"]["release"]
    # Of the engine itself: a file that it has not read is no setting.
    assert host.ssh("docker info --format '{{.LiveRestoreEnabled}} {{.LoggingDriver}}'") == "true json-file"
    nothing = {"outage_s": 0, "acknowledged": 0, "lost_acknowledged": 0}
    host.matrix.add(
        {
            **{"fault": "SSH lost in a deploy", "service": "first deploy", **nothing},
            "recovered_by": "the next run, which goes on with the parts that have arrived",
            "told_how": "the play ends with unreachable=1; nothing was served before",
        }
    )
    host.matrix.add(
        {
            **{"fault": "archive truncated", "service": "images on their way", **nothing},
            "recovered_by": "the next run, which compares each part's checksum and sends that one again",
            "told_how": "by nobody: it is never loaded",
        }
    )


def test_a_package_that_is_truncated_is_refused(scene, tmp_path):
    whole = uuid.uuid4().bytes * 64
    (tmp_path / "images.tar").write_bytes(whole[:-1])
    package = {"files": {"images.tar": hashlib.sha256(whole).hexdigest()}, "images": {}, "commit": "none"}
    package.update(image="none", frontend="none", release="none")
    (tmp_path / "package.json").write_text(json.dumps(package))
    with scene.watched("archive truncated", "packed release") as fault:
        refused = scene.operator.make("02-package", f"deploy-package {INVENTORY}", package_dir=str(tmp_path))
        assert refused.code != 0 and refused.recap["changed"] == 0, refused.tail
        assert "Nothing was changed; get the package of the build again" in refused.said, refused.tail
        fault.say("nothing to recover", "`make deploy-package` refuses it by its SHA-256, before anything changes")


def test_a_backup_that_is_truncated_is_refused(scene):
    scene.operator.made("03-backup", f"backup {INVENTORY}", backup_name="whole")
    [whole] = scene.ssh(f"ls {HOME}/backups/*-whole.dump").splitlines()
    cut = whole.replace("-whole.dump", "-cut.dump")
    scene.ssh(f"head --bytes=-1 {whole} > {cut}")
    with scene.watched("archive truncated", "backup") as fault:
        refused = scene.operator.make(
            "03-restore-cut", f"restore {INVENTORY}", restore_from="cut", restore_confirm=STACK
        )
        assert refused.code != 0 and "is no whole dump" in refused.said, refused.tail
        fault.say("nothing to recover", "`make restore` reads it to its end and refuses it while the site is open")
    scene.ssh(f"rm {cut}")
    planned = scene.operator.make("03-restore-whole", f"restore {INVENTORY}", "--check", restore_from="whole")
    assert planned.code == 0 and "replaces the database sixty" in planned.said, planned.tail


def cut(seconds=4):
    """For a while, the host ends every session of the operator as soon as there is one."""
    end = time.monotonic() + seconds
    found = False
    while time.monotonic() < end or not found:
        assert time.monotonic() < end + 30, "there was no connection to cut"
        ended = subprocess.run(["docker", "exec", MACHINE, "pkill", "-KILL", "-u", "deploy", "sshd"], check=False)
        found = found or ended.returncode == 0
        time.sleep(0.1)


def test_the_connection_is_lost_before_the_switch(scene, new):
    operator, old = scene.operator, scene.operator.routed()
    there = f"docker ps --all --quiet --filter name=^{STACK}-api-{new}$"
    with scene.watched("SSH lost in a deploy", "before the switch") as fault:
        with operator.making("04-cut-before", "deploy-production", release_id=new) as deploying:
            eventually(lambda: scene.ssh(there), "the new release has a container", 300)
            cut()
            deploying.process.wait(180)
        assert deploying.play.code != 0 and "unreachable=1" in deploying.play.said, deploying.play.tail
        assert operator.routed() == old
        operator.deploy("04-again", release_id=new)
        assert operator.routed() == new and "deploy" not in scene.state()
        fault.say("the next run, which begins anew", "the play ends with unreachable=1; the release before serves")


def test_the_control_machine_is_lost_in_the_watch(scene, new):
    operator = scene.operator
    with scene.watched("SSH lost in a deploy", "in the watch") as fault:
        with operator.making("05-lost", "deploy-production", release_id=new, release_watch_seconds=30) as deploying:
            deploying.wait_for(f"{new} watched", 300)
            deploying.kill()
            operator.cut_connections()
        assert scene.state()["deploy"]["phase"] == "switched"
        eventually(lambda: "deploy" not in scene.state(), "the guard ends the watch by itself", 120)
        assert operator.routed() == new
        again = operator.deploy("05-again", release_id=new)
        assert f"Release {new} is served already" in again.said and again.recap["changed"] == 0, again.tail
        fault.say(
            "the guard on the host, which goes on watching and would go back by itself",
            "`make monitor-deployment` from anywhere; the next run says that it is served already",
        )


def test_a_second_operator_is_refused_and_the_lock_of_a_dead_deploy_is_removed(scene, new):
    operator, second = scene.operator, f"{new}-2"
    lock = f"cat {HOME}/lock.json 2>/dev/null || echo null"
    with scene.watched("two operators at once", "second deploy", "lock of a dead deploy") as fault:
        with operator.making("06-first", "deploy-production", release_id=new, release_watch_seconds=240) as deploying:
            deploying.wait_for(f"{new} watched", 300)
            refused = operator.make("06-second", "deploy-production", release_id=second)
            assert refused.code != 0, refused.tail
            assert f"Another deploy is under way: release {new} is switched" in refused.said, refused.tail
            alive = operator.make("06-unlock-alive", f"unlock {INVENTORY}")
            assert alive.code != 0 and "To remove the lock all the same" in alive.said, alive.tail
            holder = json.loads(scene.ssh(lock))
            scene.ssh(f"kill -9 {holder['pid']}")
            deploying.process.wait(120)
        assert "The guard ended without a word, most likely killed" in deploying.play.said, deploying.play.tail
        assert json.loads(scene.ssh(lock))["pid"] == holder["pid"]
        dead = operator.made("06-unlock-dead", f"unlock {INVENTORY}")
        assert f"process {holder['pid']} (gone), was removed" in dead.said, dead.tail
        assert json.loads(scene.ssh(lock)) is None
        operator.deploy("06-second-again", release_id=second)
        assert operator.routed() == second
        assert "Nobody holds the lock" in operator.made("06-unlock-none", f"unlock {INVENTORY}").said
        fault.say(
            "the first one goes on; the second waits for it",
            "the second is refused before anything changes, with release, phase and holder of the first",
            "second deploy",
        )
        fault.say(
            "the next deploy, or `make unlock` before it",
            "the deploy says that its guard was killed; `make unlock` says that the holder is gone",
            "lock of a dead deploy",
        )
