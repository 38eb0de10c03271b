# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restarts and OOM kills, on trees that change between two samples."""

from __future__ import annotations

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.unit.monitor.cgroup_trees import MB
from memory_monitor.tracker import MEMORY_SECONDS, MOST_GONE, PATIENCE


@pytest.fixture(params=[True, False], ids=["told", "by inode"])
def told(request, machine):
    """Whether the kernel tells of new cgroups, or only their inodes do."""
    if not request.param:
        machine.sampler.creations.close()
    return request.param


def counts(machine, path):
    facts = machine.facts(path)
    return facts["restarts"], facts["oom_kills"]


# -- restarts


def test_a_restart_is_a_new_inode_of_the_same_id(machine, tree, told):
    path = tree.run(1)
    machine.look()
    for number in range(1, 4):
        tree.restart(path)
        machine.look()
        machine.look()
        assert counts(machine, path) == (number, 0)


def test_a_restart_with_a_pause(machine, tree, told):
    path = tree.run(1)
    machine.look()
    tree.end(path)
    machine.look()
    assert machine.ids() == set() and counts(machine, path) == (0, 0)
    tree.run(1)
    machine.look()
    assert machine.ids() == {path} and counts(machine, path) == (1, 0)


def test_another_id_is_a_recreation(machine, tree, told):
    path = tree.run(1)
    machine.look()
    tree.remove(path)
    other = tree.run(2)
    machine.look()
    assert counts(machine, path) == counts(machine, other) == (0, 0)
    assert machine.ids() == {other}


def test_several_starts_between_two_samples(machine, tree):
    """A container that crashes at once: nobody ever sees it run."""
    path = tree.run(1)
    machine.look()
    for _ in range(3):
        tree.restart(path)
    tree.remove(path)
    machine.look()
    assert machine.ids() == set() and counts(machine, path) == (3, 0)
    for _ in range(2):
        tree.run(1)
        tree.remove(path)
    machine.look()
    assert counts(machine, path) == (5, 0)
    tree.run(1)
    machine.look()
    assert machine.ids() == {path} and counts(machine, path) == (6, 0)


def test_a_container_that_was_never_seen_to_run(machine, tree):
    tree.remove(tree.run(1))
    machine.look()
    path = tree.run(2)
    tree.restart(path)
    tree.remove(path)
    machine.look()
    facts = machine.facts(path)
    assert counts(machine, path) == (1, 0) and (facts["stack"], facts["service"]) == ("sixty", "redis")


def test_a_start_between_the_walk_and_its_telling_counts_once(machine, tree):
    path = tree.run(1)
    machine.look()
    look = machine.sampler.tree.look

    def late(stack):
        seen = look(stack)
        tree.restart(path)
        return seen

    machine.sampler.tree.look = late
    machine.look()
    machine.sampler.tree.look = look
    assert counts(machine, path) == (1, 0)
    machine.look()
    assert counts(machine, path) == (1, 0)


def test_a_container_that_starts_behind_the_look_has_not_gone(machine, tree):
    tree.remove(tree.run(1))
    machine.look()
    look = machine.sampler.tree.look

    def late(stack):
        seen = look(stack)
        tree.run(2)
        return seen

    machine.sampler.tree.look = late
    picture = machine.look()
    machine.sampler.tree.look = look
    assert (len(picture.running), [facts["gone"] for facts in picture.unseen]) == (0, [None])
    assert len(machine.look().running) == 1


def test_a_container_that_cannot_be_read_has_not_gone(machine, tree):
    path = tree.run(1)
    machine.look()
    file = tree.file(path, "memory.usage_in_bytes", "memory.current")
    text = file.read_text()
    file.write_text("?")
    machine.killed()
    picture = machine.look()
    assert (len(picture.running), [facts["gone"] for facts in picture.unseen]) == (0, [None])
    file.write_text(text)
    machine.look()
    assert counts(machine, path) == (0, 0)


# -- OOM kills


def test_the_child_of_a_container_that_survives(machine, tree):
    path, other = tree.run(1), tree.run(2, service="api")
    machine.look()
    machine.killed()
    tree.run(1, oom_kills=1)
    if tree.version == 2:
        tree.service_kills(1)
    for _ in range(int(PATIENCE) + 2):
        machine.look()
    assert (counts(machine, path), counts(machine, other)) == ((0, 1), (0, 0))


def test_kills_before_the_first_sample_are_counted_but_explain_nothing(machine, tree):
    path, other = tree.run(1, oom_kills=2), tree.run(2, service="api")
    machine.look()
    assert counts(machine, path) == (0, 2)
    # Nobody else is explained by them.
    tree.remove(other)
    machine.killed()
    if tree.version == 2:
        tree.service_kills(1, service="api")
    machine.look()
    assert (counts(machine, path), counts(machine, other)) == ((0, 2), (0, 1))


@pytest.mark.parametrize("later", [0, 1, 3])
def test_the_first_process_of_a_container(machine, tree, told, later):
    """It takes its cgroup along, at once or when the engine has removed it; another container goes on."""
    path, other = tree.run(1), tree.run(2, service="api")
    machine.look()
    machine.killed()
    if tree.version == 2:
        tree.service_kills(1)
    for _ in range(later):
        machine.look()
    tree.restart(path)
    machine.look()
    machine.look()
    assert (counts(machine, path), counts(machine, other)) == ((1, 1), (0, 0))
    assert machine.sampler.picture.host_kills == 41


def test_a_kill_that_is_read_one_round_after_its_container_went(machine, tree):
    path = tree.run(1)
    machine.look()
    tree.remove(path)
    machine.look()
    machine.killed()
    if tree.version == 2:
        tree.service_kills(1)
    machine.look()
    assert counts(machine, path) == (0, 1)


def test_a_loop_of_kills_between_the_samples(machine, tree):
    path = tree.run(1)
    machine.look()
    for number in range(1, 4):
        machine.killed()
        tree.restart(path)
        tree.remove(path)
        if tree.version == 2:
            tree.service_kills(number)
        machine.look()
        tree.run(1)
        machine.look()
    assert counts(machine, path)[1] == 3


def test_a_kill_that_was_no_containers(machine, tree):
    path = tree.run(1)
    machine.look()
    machine.killed()
    machine.look()
    machine.look(PATIENCE + 1)
    tree.restart(path)
    machine.look()
    machine.look()
    assert counts(machine, path) == (1, 0)
    assert machine.sampler.picture.host_kills == 41


def test_a_container_that_ends_without_a_kill(machine, tree):
    path = tree.run(1)
    machine.look()
    tree.remove(path)
    machine.look()
    machine.look()
    machine.killed()
    machine.look()
    assert counts(machine, path) == (0, 0)


def test_a_kill_that_its_cgroup_tells_first(machine, tree):
    """The machine's count is read before the tree; a container that went in the same moment is not blamed."""
    path, other = tree.run(1), tree.run(2, service="api")
    machine.look()
    tree.run(1, oom_kills=1)
    machine.look()
    tree.remove(other)
    machine.killed()
    if tree.version == 2:
        tree.service_kills(1)
    machine.look()
    machine.look()
    assert (counts(machine, path), counts(machine, other)) == ((0, 1), (0, 0))


def test_the_fullest_of_several_is_blamed_and_each_once(machine, tree):
    paths = [tree.run(number, "", "", usage=usage * MB, active_file=0) for number, usage in enumerate((20, 60, 40))]
    machine.look()
    for path in paths:
        tree.remove(path)
    machine.killed(2)
    machine.look()
    assert [counts(machine, path)[1] for path in paths] == [0, 1, 1]


def test_more_kills_than_containers(machine, tree):
    """All processes of one container were killed."""
    path = tree.run(1, "", "")
    machine.look()
    tree.remove(path)
    machine.killed(5)
    machine.look()
    assert counts(machine, path) == (0, 1)
    machine.look()
    assert counts(machine, path) == (0, 5)


def test_one_that_started_again_is_blamed_before_one_that_only_ended(machine, tree):
    """Both at once, and the first was the fuller one when it was last seen."""
    ended = tree.run(1, "", "", usage=64 * MB, active_file=0, inactive_file=0)
    machine.look()
    killed = tree.run(2, "", "", usage=5 * MB)
    for _ in range(2):
        tree.restart(killed)
    tree.remove(ended)
    machine.killed(2)
    machine.look()
    assert (counts(machine, ended), counts(machine, killed)) == ((0, 0), (2, 2))


def test_a_kill_whose_end_is_seen_later_is_nobody_elses(machine, tree):
    """Three lives and three kills, of which two have ended; another container ends in the same moment."""
    killed, ended = tree.run(1, "", ""), tree.run(2, "", "")
    machine.look()
    for _ in range(2):
        tree.restart(killed)
    tree.remove(ended)
    machine.killed(3)
    machine.look()
    tree.remove(killed)
    machine.look()
    assert (counts(machine, ended), counts(machine, killed)) == ((0, 0), (2, 3))


def test_one_that_was_never_seen_is_blamed_before_one_that_was_not_full(machine, tree):
    ended = tree.run(1, "", "", usage=30 * MB)
    machine.look()
    tree.remove(ended)
    killed = tree.run(2, "", "")
    tree.remove(killed)
    machine.killed()
    machine.look()
    assert (counts(machine, ended), counts(machine, killed)) == ((0, 0), (0, 1))


def test_each_life_is_one_kill(machine, tree):
    """Two containers, of which one died three times."""
    path, other = tree.run(1, "", ""), tree.run(2, "", "")
    machine.look()
    for _ in range(3):
        tree.restart(path)
    tree.restart(other, usage=60 * MB)
    machine.killed(4)
    machine.look()
    assert sorted([counts(machine, path), counts(machine, other)]) == [(1, 1), (3, 3)]


def test_version_2_knows_the_service(machine, tree):
    """Two go at once, and the fuller one was not killed."""
    # On version 1 the fuller one is taken for it: the tree tells no better.
    expected = [1, 0] if tree.version == 1 else [0, 1]
    full = tree.run(1, service="api", usage=64 * MB)
    killed = tree.run(2, service="redis", usage=40 * MB)
    machine.look()
    tree.remove(full)
    tree.remove(killed)
    machine.killed()
    if tree.version == 2:
        tree.service_kills(1, service="redis")
    machine.look()
    assert [counts(machine, full)[1], counts(machine, killed)[1]] == expected


def test_counters_only_rise(machine, tree, told):
    """Also when a cgroup's own count starts at zero again."""
    path = tree.run(1, oom_kills=3)
    machine.look()
    tree.restart(path, oom_kills=0)
    machine.look()
    assert counts(machine, path) == (1, 3)
    machine.killed()
    tree.run(1, oom_kills=1)
    machine.look()
    assert counts(machine, path) == (1, 4)


def test_without_the_machines_count(machine, tree):
    path = tree.run(1)
    machine.look()
    (machine.proc / "vmstat").write_text("nr_free_pages 5\n")
    tree.run(1, oom_kills=1)
    machine.look()
    assert counts(machine, path) == (0, 1) and machine.errors["host"] == 1
    assert machine.sampler.picture.host_kills is None
    # What was explained meanwhile is nobody's later.
    machine.killed()
    other = tree.run(2)
    machine.look()
    tree.remove(other)
    machine.look()
    assert counts(machine, other) == (0, 0)


# -- bounds


def test_what_went_is_remembered_for_an_hour(machine, tree):
    path = tree.run(1)
    machine.look()
    tree.remove(path)
    machine.look()
    machine.look(MEMORY_SECONDS - 2)
    assert counts(machine, path) == (0, 0)
    machine.look(3)
    assert machine.sampler.tracker.records == {}


def test_only_so_much_is_remembered(machine, tree):
    machine.look()
    for number in range(MOST_GONE + 10):
        machine.sampler.tracker.update(
            machine.now + number,
            machine.sampler.tree.look("sixty"),
            [(f"{number}", "/docker", f"{number}")],
            None,
            lambda _: 0.0,
            machine.sampler.settings,
            {},
        )
    records = machine.sampler.tracker.records
    assert len(records) == MOST_GONE and "9" not in records and "10" in records


def test_the_own_stack_is_remembered_longer_than_others(machine, tree):
    own = tree.run(1)
    tree.restart(own)
    machine.look()
    tree.remove(own)
    machine.look()
    settings, seen = machine.sampler.settings, machine.sampler.tree.look("sixty")
    for number in range(MOST_GONE + 10):
        starts = [(f"{number}", "/other/redis", f"{number}")]
        machine.sampler.tracker.update(machine.now + number, seen, starts, None, lambda _: 0.0, settings, {})
    records = machine.sampler.tracker.records.values()
    assert len(records) == MOST_GONE and own in {record.path for record in records}


def test_the_kills_of_a_stack_outlive_its_containers(machine, tree):
    for number, stack in ((1, "sixty"), (2, "other")):
        path = tree.run(number, stack)
        machine.look()
        tree.remove(path)
        machine.killed()
        machine.look()
    tracker = machine.sampler.tracker
    assert tracker.stack_kills == {"sixty": 1, "other": 1}
    machine.look(MEMORY_SECONDS + 1)
    assert tracker.records == {} and tracker.stack_kills == {"sixty": 1, "other": 1}


# -- rates and names


def test_cpu_is_a_rate(machine, tree):
    path = tree.run(1, cpu=10.0)
    machine.look()
    assert machine.facts(path)["cpu_cores"] == 0
    tree.run(1, cpu=10.5)
    machine.look(2)
    assert machine.facts(path)["cpu_cores"] == pytest.approx(0.25)
    tree.restart(path, cpu=0.1)
    machine.look()
    assert machine.facts(path)["cpu_cores"] == 0


def test_the_start_is_that_of_the_cgroup_and_stays(machine, tree):
    path = tree.run(1)
    machine.look()
    started = machine.facts(path)["start_time"]
    assert started == tree.file(path, "memory.stat", "memory.stat").parent.stat().st_mtime
    (tree.file(path, "memory.stat", "memory.stat").parent / "new").touch()
    machine.look()
    assert machine.facts(path)["start_time"] == started


def test_a_release_has_its_slot(machine, tree):
    path = tree.run(1, service="api")
    directory = machine.home / "route/slots/blue/r1"
    directory.mkdir(parents=True)
    (directory / "container").write_text(path.rpartition("/")[2].replace("docker-", "").replace(".scope", "") + "\n")
    (machine.home / "route/active").symlink_to("slots/blue/r1")
    picture = machine.look()
    facts = machine.facts(path)
    assert (facts["name"], facts["slot"], facts["release"]) == ("sixty-api-r1", "blue", "r1")
    assert picture.release["slot"] == "blue" and not picture.overlap
    other = tree.run(2, service="api")
    assert machine.look().overlap and machine.facts(other)["name"] == "sixty-api-000000000000"
