# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random sequences of deploys, failures, kills, full disks and meddling hands: the routed release always serves.

The modules are the real ones, on a real directory; engine, HTTP and clock are stand-ins (release_world.py). The same
examples are tried each time; SIXTY_PROPERTY_EXAMPLES=10000 tries as many others.
"""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import pytest
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import blue_green_host as host
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import release_records
from ansible_collections.sixty_sales.memory_optimized.plugins.modules import blue_green, release_guard
from ansible_collections.sixty_sales.memory_optimized.tests.unit.plugins.modules.module_runner import run_main
from ansible_collections.sixty_sales.memory_optimized.tests.unit.plugins.modules.release_world import (
    SLOTS,
    Killed,
    World,
    arguments,
    patch_engine,
    patch_time,
    snapshot,
)
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

RANDOM = int(os.environ.get("SIXTY_PROPERTY_EXAMPLES", "0"))
WATCH = {"watch_seconds": 6, "period": 2, "probes": 2, "latency_samples": 20, "memory_seconds": 4}
KINDS = ["good", "good", "fires", "never ready", "wrong id", "no container", "no bundle"]
# Which change of anything it is that a kill comes just before, and which write finds the disk full; mostly none.
FUSES = st.none() | st.integers(0, 40)
DISKS = st.none() | st.none() | st.integers(0, 12)
PICKS = st.integers(0, 9)


class Trouble:
    """What stops a step in the middle."""

    def __init__(self, fuse, space):
        self.fuse, self.space = fuse, space
        self.killed = self.full = False

    def change(self):
        """Something is about to change."""
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse < 0:
                self.killed = True
                raise Killed

    def write(self):
        self.change()
        if self.space is not None:
            self.space -= 1
            if self.space < 0:
                self.full = True
                raise OSError(errno.ENOSPC, "No space left on device")


class Deploys(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.patch = pytest.MonkeyPatch()
        self.world = world = World(Path(self.directory.name))
        world.port = 80
        patch_engine(world, self.patch)
        patch_time(world, self.patch)
        self.patch.setattr(host, "get", world.get)
        self.patch.setattr(os, "fsync", lambda handle: None)
        self.trouble, self.number = Trouble(None, None), 0
        # Releases whose trigger fired and those that never served: nobody goes back to them without being told.
        self.bad, self.served, self.forgotten = set(), set(), False
        self.interrupt()

    def teardown(self):
        try:
            self.undisturbed()
        finally:
            self.patch.undo()
            self.directory.cleanup()

    def interrupt(self):
        """Let the trouble of a step come before each change: of the engine, the route and the records."""
        world = self.world

        def before(owner, name, how):
            does = getattr(owner, name)

            def do(*given, **more):
                getattr(self.trouble, how)()
                return does(*given, **more)

            self.patch.setattr(owner, name, do)

        before(host.Switch, "point", "change")
        before(host.Switch, "unroute", "change")
        before(host.os, "link", "write")
        before(release_records, "write_whole", "write")
        before(release_records.Records, "journal", "write")
        before(release_records.Records, "unlock", "change")
        happens, boundary = world.happens, world.boundary

        def engine(action, name):
            if action not in ("get", "logs"):
                self.trouble.change()
            happens(action, name)

        def reached(phase):
            self.trouble.change()
            boundary(phase)

        world.happens = engine
        self.patch.setattr(host, "boundary", reached)

    # -- what is looked at

    def is_serving(self):
        """The routed release's container is up and its page is there."""
        slot, container = self.slot(), self.world.containers.get(f"sixty-api-{self.world.routed()}")
        page = self.world.root / "route" / "active" / "www" / "index.html"
        return bool(container and container.up and container.address == SLOTS[slot] and page.is_file())

    def slot(self):
        return host.core.parse_route(self.world.link())[0]

    def one_of(self, pick, names):
        names = sorted(names)
        return names[pick % len(names)] if names else None

    def releases(self):
        return {container.says for container in self.world.containers.values()}

    # -- steps

    def step(self, main, release, fuse=None, space=None, check=False, **more):
        """Run a module into its trouble. Its result; None where it was killed."""
        world, was_serving, routed = self.world, self.is_serving(), self.world.routed()
        world.phases.clear()
        self.trouble = Trouble(fuse, space)
        given = arguments(world, release, keep=2, **more)
        try:
            result = run_main(self.patch, main, given, check)
        except Killed:
            result = None
        finally:
            trouble, self.trouble = self.trouble, Trouble(None, None)
            world.process += 1
            world.then.clear()
        for container in world.containers.values():
            container.says, container.status_code = container.name.partition("-api-")[2], 200
        assert self.is_serving() or not was_serving, f"{routed} served, and {world.routed()} does not: {result}"
        if result and not trouble.full and was_serving:
            assert len(world.up()) <= 2, result
        if trouble.full:
            self.forgotten = True
        return result

    def guard(self, release, kind="good", **more):
        if kind == "fires":
            self.world.at_phase("watching", lambda: vars(self.world[release]).update(ready=503))
        result = self.step(release_guard.main, release, **{**WATCH, **more})
        if release in self.releases() and kind == "fires":
            self.world[release].ready = 200
        if self.world.routed() == release:
            self.served.add(release)
            self.bad.discard(release)
        if result and result.get("rolled_back"):
            assert kind == "fires"
            self.bad.add(release)
            self.served.add(release)
        if result and not result["failed"]:
            assert self.world.routed() == release
            assert self.world.up() == [release]
            assert self.world.is_clean()
        return result

    def new(self, kind="good"):
        self.number += 1
        release = f"r{self.number}"
        self.world.prepare(release)
        if kind == "never ready":
            self.world[release].ready = 503
        elif kind == "wrong id":
            self.world[release].says = "another"
        elif kind == "no container":
            del self.world.containers[f"sixty-api-{release}"]
        elif kind == "no bundle":
            (self.world.root / "releases" / release / "current").unlink()
        return release

    @initialize()
    def first(self):
        assert not self.guard(self.new())["failed"]

    @rule(kind=st.sampled_from(KINDS), fuse=FUSES, space=DISKS)
    def deploy(self, kind, fuse, space):
        was_serving, before = self.is_serving(), self.world.routed()
        release = self.new(kind)
        result = self.guard(release, kind, fuse=fuse, space=space)
        if result and kind not in ("good", "fires"):
            assert result["failed"]
            assert self.world.routed() == before
        if result and kind == "fires" and was_serving and space is None:
            assert (result["rolled_back"], self.world.routed()) == (True, before)

    @rule(pick=PICKS, fires=st.booleans(), fuse=FUSES, space=DISKS)
    def deploy_again(self, pick, fires, fuse, space):
        release = self.one_of(pick, self.releases())
        if release:
            self.guard(release, "fires" if fires and release != self.world.routed() else "good", fuse=fuse, space=space)

    @rule(pick=st.none() | PICKS, fuse=FUSES, space=DISKS)
    def roll_back(self, pick, fuse, space):
        target = None if pick is None else self.one_of(pick, self.releases())
        before = self.world.routed()
        result = self.step(
            blue_green.main, target, fuse=fuse, space=space, action="rollback", manifest=None, lock_timeout=1
        )
        routed = self.world.routed()
        if target is None and routed != before and not self.forgotten:
            assert routed not in self.bad, result
            assert routed in self.served, result
        if target and target == routed:
            self.bad.discard(routed)
            self.served.add(routed)
        if target is None and result and not result["failed"]:
            # To ask twice is not to go back twice.
            again = self.step(blue_green.main, None, action="rollback", manifest=None)
            assert (again["failed"], self.world.routed()) == (False, routed), again

    @rule(fuse=FUSES, space=DISKS)
    def switch(self, fuse, space):
        """Without a guard."""
        release = self.new()
        result = self.step(blue_green.main, release, fuse=fuse, space=space)
        if self.world.routed() == release:
            self.served.add(release)
        if result and not result["failed"]:
            assert (self.world.routed(), self.world.up(), self.world.is_clean()) == (release, [release], True)

    @rule(fuse=FUSES, space=DISKS)
    def promote(self, fuse, space):
        routed = self.world.routed()
        result = self.step(blue_green.main, routed, fuse=fuse, space=space, action="promote")
        if result and not result["failed"]:
            assert set(self.world.up()) <= {routed}

    @rule(action=st.sampled_from(["stage", "verify"]), fuse=FUSES)
    def stage(self, action, fuse):
        before = self.world.link()
        self.step(blue_green.main, self.new(), fuse=fuse, action=action)
        assert self.world.link() == before

    @rule()
    def unlock(self):
        assert not self.step(blue_green.main, None, action="unlock")["failed"]
        assert not (self.world.root / "lock.json").exists()

    @rule(pick=PICKS, module=st.sampled_from(["guard", "rollback", "switch"]))
    def only_look(self, pick, module):
        """Check mode changes nothing."""
        release = self.one_of(pick, self.releases())
        before, up = snapshot(self.world.root), self.world.up()
        if module == "guard":
            self.step(release_guard.main, release or "r1", check=True, **WATCH)
        elif module == "rollback":
            self.step(blue_green.main, release, check=True, action="rollback", manifest=None)
        else:
            self.step(blue_green.main, release or "r1", check=True)
        assert (snapshot(self.world.root), self.world.up()) == (before, up)

    @rule()
    def undisturbed(self):
        """Whatever was before: the next deploy ends well, and leaves nothing over."""
        release = self.new()
        result = self.guard(release)
        assert not result["failed"], result["msg"]
        assert self.world.state()["active"]["release"] == release

    # -- hands

    @rule(pick=PICKS)
    def remove_a_container(self, pick):
        release = self.one_of(pick, self.releases())
        if release:
            del self.world.containers[f"sixty-api-{release}"]

    @rule(pick=PICKS)
    def stop_a_container(self, pick):
        release = self.one_of(pick, self.world.up())
        if release:
            self.world[release].up = False

    @rule(pick=PICKS)
    def start_a_container(self, pick):
        """As the engine does with those that it finds after a boot."""
        release = self.one_of(pick, self.releases() - set(self.world.up()))
        if release and self.world[release].address and not self.world.at(self.world[release].address):
            self.world[release].start()

    @rule(pick=PICKS)
    def move_the_route(self, pick):
        """To what lies in a slot."""
        route = self.world.root / "route"
        link = self.one_of(pick, (str(path.relative_to(route)) for path in route.glob("slots/*/[!.]*")))
        if link:
            (self.world.root / "route" / "active").unlink(missing_ok=True)
            (self.world.root / "route" / "active").symlink_to(link)
            self.served.add(self.world.routed())
            self.bad.discard(self.world.routed())
            self.forgotten = True

    @precondition(lambda self: (self.world.root / "state.json").exists())
    @rule()
    def lose_the_state(self):
        (self.world.root / "state.json").unlink()
        self.forgotten = True


Deploys.TestCase.settings = settings(
    max_examples=RANDOM or 300,
    stateful_step_count=15,
    deadline=None,
    derandomize=not RANDOM,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
TestDeploys = Deploys.TestCase
