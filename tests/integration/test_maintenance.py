# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The site closed and opened by its play: what clients get, who passes, and that nothing else is touched."""

from __future__ import annotations

import http.client
import json
import os
import re
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from ansible_collections.sixty_sales.memory_optimized.tests.integration.stack import (
    HOME,
    NAME,
    PORT,
    Answer,
    ask,
    deploy,
    docker,
    inspect,
    play,
    refused,
    snapshot,
    untouched,
)

pytestmark = pytest.mark.usefixtures("open_site")
PLAY = {"playbook": "playbooks/maintenance.yml"}
SWITCH = HOME / "route/maintenance"


def close(*arguments):
    return deploy(*arguments, maintenance="on", **PLAY)


def reopen(*arguments):
    return deploy(*arguments, maintenance="off", **PLAY)


def token():
    """The only other name beside `on`."""
    [name] = {path.name for path in SWITCH.iterdir()} - {"on"}
    return name


def get(path, method="GET", **headers):
    """One request with headers of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return Answer(response.status, {key.lower(): value for key, value in response.getheaders()}, response.read())
    finally:
        connection.close()


def workers():
    """The processes of nginx; a reload would replace the workers, a restart all of them."""
    return sorted(line.split()[1] for line in docker("top", f"{NAME}-nginx").splitlines()[1:])


@pytest.fixture
def open_site(stack):
    """Each test begins with the site open, and the next one too."""
    if SWITCH.exists():
        reopen()
    yield
    if SWITCH.exists():
        reopen()


@pytest.fixture(scope="module", autouse=True)
def closing_itself_moves_nothing(stack):
    """Whatever the tests of this module did: the stack is the one it was, with the same processes of nginx."""
    before, running = snapshot(), workers()
    yield
    after = snapshot()
    # The directory of the routes was written to; its entries are the same.
    assert {key for key in before if before[key] != after.get(key)} | set(after) - set(before) == set()
    assert workers() == running


def test_closed_for_people_and_programs_and_open_as_before():
    before = [ask(path) for path in ("/", "/deals", "/api/release", "/api/deals")]
    ended = close()
    assert f"Maintenance of {NAME} is on from now." in ended.said and "Retry-After 120" in ended.said
    assert str(SWITCH) in ended.said
    for path in ("/", "/deals/7", "/index.html", "/assets/none.js"):
        for method in ("GET", "HEAD"):
            answer = ask(path, method)
            assert (answer.status, answer.headers["retry-after"]) == (503, "120")
            assert answer.headers["content-type"].startswith("text/html")
            assert answer.headers["cache-control"] == "no-store"
            assert (b"come back in about 2 minutes" in answer.body) == (method == "GET")
    for path in ("/api/deals", "/api/release", "/api/stream"):
        for method in ("GET", "HEAD", "POST"):
            answer = ask(path, method, {} if method == "POST" else None)
            assert (answer.status, answer.headers["retry-after"]) == (503, "120")
            assert answer.headers["cache-control"] == "no-store"
            if method != "HEAD":
                error = json.loads(answer.body)["error"]
                assert error["code"] == "maintenance" and "120 s" in error["message"]
    assert ask("/healthz").status == 200
    # The health check of the container.
    docker("exec", f"{NAME}-nginx", *inspect(f"{NAME}-nginx")["Config"]["Healthcheck"]["Test"][1:])
    ended = reopen()
    assert f"Maintenance of {NAME} is off from now; it was on since" in ended.said
    after = [ask(path) for path in ("/", "/deals", "/api/release", "/api/deals")]
    assert [(a.status, a.release, a.body) for a in after] == [(b.status, b.release, b.body) for b in before]
    assert not SWITCH.exists()


def test_a_second_run_changes_nothing_and_says_since_when():
    close()
    name, since = token(), (SWITCH / "on").stat().st_mtime
    with untouched():
        ended = close("--diff")
    assert ended.recap["changed"] == 0 and token() == name
    assert f"is on since {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(since))} UTC" in ended.said
    assert reopen().recap["changed"] > 0
    with untouched():
        ended = reopen("--diff")
    assert ended.recap["changed"] == 0 and f"Maintenance of {NAME} is off." in ended.said


def test_check_mode_tells_what_the_run_then_does():
    with untouched():
        checked = close("--check", "--diff")
    assert "would be on from now" in checked.said and ask("/").status == 200
    assert checked.changed == close().changed and ask("/").status == 503
    with untouched():
        checked = reopen("--check", "--diff")
    assert "would be off from now" in checked.said and ask("/").status == 503
    assert checked.changed == reopen().changed and ask("/").status == 200


def test_only_who_knows_the_token_passes():
    ended = close("--diff")
    name = token()
    assert re.fullmatch("[0-9a-f]{32}", name)
    assert name not in ended.text
    assert f'curl -H "X-Maintenance-Bypass: {name}" http://127.0.0.1:{PORT}/' in close("-v").said
    for path in ("/", "/api/release", "/api/deals"):
        assert get(path, X_Maintenance_Bypass=name).status == 200
        for wrong in ("0" * 32, name[:-1], name.upper() + "0", "on", "../maintenance/on", f"./{name}", f"{name}/"):
            assert get(path, X_Maintenance_Bypass=wrong).status == 503, wrong
    # nginx's user may look for a name and not read which there are.
    assert "Permission denied" in docker("exec", f"{NAME}-nginx", "ls", "/route/maintenance", check=False)
    reopen()
    close()
    assert token() != name and get("/", X_Maintenance_Bypass=name).status == 503


def test_a_stream_goes_on_and_a_kept_connection_serves_both():
    stream = http.client.HTTPConnection("127.0.0.1", PORT, timeout=40)
    kept = http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)
    try:
        stream.request("GET", "/api/stream")
        answer = stream.getresponse()
        assert answer.status == 200 and ask("/", connection=kept).status == 200
        close()
        assert ask("/", connection=kept).status == 503
        # The stream says something from time to time.
        assert answer.readline() and not answer.isclosed()
        created = json.dumps({"name": "maintenance", "company": "x", "owner": "x"})
        headers = {"X-Maintenance-Bypass": token(), "Content-Type": "application/json"}
        kept.request("POST", "/api/deals", created, headers)
        row = json.loads(kept.getresponse().read())["id"]
        seen = b""
        while f'"id":{row}'.encode() not in seen.replace(b" ", b""):
            seen = answer.readline()
            assert seen, "the stream ended"
        kept.request("DELETE", f"/api/deals/{row}", headers={"X-Maintenance-Bypass": token()})
        assert kept.getresponse().read() is not None
        reopen()
        assert ask("/", connection=kept).status == 200
    finally:
        stream.close()
        kept.close()


def test_nothing_but_open_or_closed_while_it_flips():
    seen: Counter[tuple[str, int]] = Counter()
    failures, over = [], threading.Event()

    def client(path):
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)
        # Bounded to 10 requests a second below /api/, within the limit for one address.
        while not over.wait(0.1 if path.startswith("/api/") else 0.02):
            try:
                seen[path, ask(path, connection=connection).status] += 1
            except (OSError, http.client.HTTPException) as error:
                failures.append(f"{path}: {error!r}")
                connection.close()
        connection.close()

    threads = [threading.Thread(target=client, args=(path,)) for path in ("/", "/deals", "/api/release", "/healthz")]
    SWITCH.mkdir(mode=0o711)
    for thread in threads:
        thread.start()
    for _turn in range(20):
        (SWITCH / "on").touch()
        assert ask("/").status == 503, "seen at once"
        time.sleep(0.15)
        os.unlink(SWITCH / "on")
        assert ask("/").status == 200, "seen at once"
        time.sleep(0.15)
    over.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert set(seen) == {
        *(("/", 200), ("/", 503), ("/deals", 200), ("/deals", 503), ("/api/release", 200), ("/api/release", 503)),
        ("/healthz", 200),
    }, seen
    assert min(seen.values()) > 5, seen


@pytest.mark.parametrize("word", ["maybe", "", "1"])
def test_a_word_that_is_neither_is_refused(word):
    with untouched():
        refused("Nothing was changed. Say -e maintenance=on", maintenance=word, **PLAY)


def test_every_word_for_on_and_off_is_understood():
    for on, off in (("On", "OFF"), ("yes", "no"), (True, False), ("true", "False")):
        assert "would be on" in deploy("--check", maintenance=on, **PLAY).said
        assert f"Maintenance of {NAME} is off." in deploy("--check", maintenance=off, **PLAY).said


def test_a_host_without_the_stack_is_refused():
    refused("There is no stack", "Nothing was changed", maintenance="on", **PLAY, stack_root="/srv/nowhere")
    assert not Path("/srv/nowhere").exists()


def test_a_site_that_is_served_all_the_same_is_no_maintenance(tmp_path):
    """As with a configuration that knows no maintenance: here the directory is not the one that nginx has."""
    (tmp_path / "route").mkdir()
    refused("answered", "so it is still served", "--tags nginx", maintenance="on", **PLAY, stack_root=str(tmp_path))
    assert ask("/").status == 200


def test_a_stopped_nginx_is_told_and_is_no_failure():
    """A restore closes the site whatever runs."""
    ended = play(**PLAY, maintenance="on", release_url="http://127.0.0.1:9")
    assert ended.code == 0 and "nginx does not answer there" in ended.said, ended.tail
