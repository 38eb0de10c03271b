# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a real Fluent Bit makes of the logs, and of a Loki that is away."""

from __future__ import annotations

import json
import time
from collections import Counter

import pytest
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.sizes import parse_size
from ansible_collections.sixty_sales.memory_optimized.tests.fluent_bit.conftest import SERVICE, eventually

SECOND = 1_000_000_000
NINE_O_CLOCK = 1_795_597_200  # 2026-11-25T09:00:00Z


def request(number: int, status: int = 200, **more: object) -> dict[str, object]:
    """A line as the nginx role writes it."""
    return {
        "time": "2026-11-25T10:00:00+01:00",
        "request_id": f"{number:032x}",
        "remote_addr": "203.0.113.7",
        "method": "GET",
        "uri": f"/api/deals/{number}",
        "protocol": "HTTP/2.0",
        "status": status,
        "bytes": 512,
        "request_time": 0.004,
        "upstream_addr": "10.60.3.11:3000",
        "upstream_status": str(status),
        "upstream_time": "0.003",
        "release": "r1",
        "slot": "blue",
        "referrer": "https://app.example.test/",
        "agent": "Mozilla/5.0 (X11; Linux x86_64)",
        **more,
    }


def said(number: int, level: object = "info", **more: object) -> dict[str, object]:
    """A line as the API writes it."""
    return {"level": level, "time": "2026-11-25T09:00:00.250Z", "release": "r1", "msg": f"request {number}", **more}


def numbers(loki, service="nginx"):
    """The requests that arrived, in the order of their arrival."""
    return [int(line["request_id"], 16) for line in loki.lines(service)]


def test_a_request_arrives_with_its_labels_and_its_time(shipper, loki):
    line = request(1)
    shipper.write("nginx", line)
    shipper.start()
    eventually(lambda: loki.taken, hint=shipper.output)
    [entry] = loki.taken
    assert entry.labels == {"service": "nginx", "slot": "blue", "release": "r1", "level": "info"}
    assert entry.nanoseconds == NINE_O_CLOCK * SECOND
    assert entry.line == {key: value for key, value in line.items() if key not in ("time", "release", "slot")}


@pytest.mark.parametrize(
    ("status", "level"),
    [(0, "info"), (101, "info"), (304, "info"), (404, "warn"), (429, "warn"), (500, "error"), (502, "error")],
)
def test_the_level_of_a_request_is_its_status(shipper, loki, status, level):
    shipper.write("nginx", request(1, status))
    shipper.start()
    eventually(lambda: loki.taken, hint=shipper.output)
    assert loki.taken[0].labels["level"] == level


def test_what_the_api_says(shipper, loki):
    levels = ["trace", "debug", "info", "warn", "error", "fatal"]
    shipper.write("api", *(said(number, level) for number, level in enumerate(levels)))
    shipper.write("api", *(said(number, 10 * number) for number in range(1, 7)))
    shipper.write("api", said(7, "user-4711"), said(8, 35), {"msg": "bare"}, "TypeError: no JSON")
    shipper.start()
    eventually(lambda: len(loki.taken) == 16, hint=shipper.output)
    seen = Counter(entry.labels["level"] for entry in loki.taken)
    assert seen == {**dict.fromkeys(levels, 2), "unknown": 4}
    assert {tuple(sorted(entry.labels)) for entry in loki.taken} == {
        ("level", "release", "service"),
        ("level", "service"),
    }
    times = {entry.nanoseconds for entry in loki.taken if "release" in entry.labels}
    assert times == {NINE_O_CLOCK * SECOND + SECOND // 4}
    assert {"log": "TypeError: no JSON"} in loki.lines("api")
    assert {"msg": "request 7"} in loki.lines("api")


def test_a_client_cannot_make_streams(shipper, loki):
    hostile = {
        "uri": '/"status":500,"level":"fatal"',
        "agent": '","level":"fatal","slot":"x',
        "referrer": "\u0000\u2028{}",
    }
    shipper.write("nginx", *(request(number, uri=f"/{number}") for number in range(500)))
    shipper.write("nginx", request(500, **hostile))
    shipper.start()
    eventually(lambda: len(loki.taken) == 501, hint=shipper.output)
    assert {tuple(sorted(entry.labels.items())) for entry in loki.taken} == {
        (("level", "info"), ("release", "r1"), ("service", "nginx"), ("slot", "blue"))
    }
    assert {key: loki.lines("nginx")[-1][key] for key in hostile} == hostile


def test_no_label_where_nothing_answered(shipper, loki):
    """The maintenance page: nginx knows neither a slot nor a release."""
    shipper.write("nginx", request(1, 503, slot="", release=""))
    shipper.start()
    eventually(lambda: loki.taken, hint=shipper.output)
    assert {key: value for key, value in loki.taken[0].labels.items() if value} == {
        "service": "nginx",
        "level": "error",
    }


def test_a_line_that_is_too_long_costs_itself_only(shipper, loki):
    shipper.write("nginx", request(1), request(2, uri="/" + "x" * 100_000), request(3))
    shipper.start()
    eventually(lambda: len(loki.taken) >= 2, hint=shipper.output)
    assert numbers(loki) == [1, 3]


def test_order_and_rotation(shipper, loki):
    """logrotate copies the log and cuts it; what comes afterwards is read, and the copy is not."""
    shipper.start()
    for turn in range(3):
        shipper.write("nginx", *(request(number) for number in range(100 * turn, 100 * turn + 100 - turn)))
        eventually(lambda turn=turn: len(loki.taken) == [100, 199, 297][turn], hint=shipper.output)
        shipper.rotate("nginx")
        time.sleep(1)
    assert numbers(loki) == [*range(100), *range(100, 199), *range(200, 298)]


def test_a_restart_loses_and_repeats_nothing(shipper, loki):
    shipper.write("nginx", *(request(number) for number in range(50)))
    shipper.start()
    eventually(lambda: len(loki.taken) == 50, hint=shipper.output)
    shipper.stop()
    shipper.write("nginx", *(request(number) for number in range(50, 80)))
    shipper.start()
    eventually(lambda: len(loki.taken) == 80, hint=shipper.output)
    shipper.stop("KILL")
    shipper.rotate("nginx")
    shipper.write("nginx", *(request(number) for number in range(80, 100)))
    shipper.start()
    eventually(lambda: len(loki.taken) == 100, hint=shipper.output)
    time.sleep(2)
    assert numbers(loki) == list(range(100))


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_loki_refuses_for_now_comes_again_once(shipper, loki, status):
    loki.status = status
    shipper.write("nginx", *(request(number) for number in range(20)))
    shipper.start()
    eventually(lambda: loki.refused >= 2, 40, shipper.output)
    loki.status = 204
    eventually(lambda: loki.taken, 40, shipper.output)
    time.sleep(2)
    assert numbers(loki) == list(range(20))


def test_what_loki_never_takes_is_not_sent_again(shipper, loki):
    """Lines that are too old: 400. They must not hold up what follows."""
    loki.status = 400
    shipper.write("nginx", request(1))
    shipper.start()
    eventually(lambda: loki.refused, hint=shipper.output)
    loki.status = 204
    shipper.write("nginx", request(2))
    eventually(lambda: loki.taken, hint=shipper.output)
    assert (numbers(loki), loki.refused) == ([2], 1)


def test_an_outage_of_loki_stays_within_the_limit_and_loses_nothing(shipper, loki):
    """24 MB of lines, twelve times the buffers, while Loki is away; then all of it, once each."""
    loki.status = 503
    shipper.start()
    long = {"agent": "Mozilla/5.0 " + "x" * 250}
    sent = 0
    while sent < 30_000:
        shipper.write("nginx", *(request(number, **long) for number in range(sent, sent + 1_000)))
        shipper.write("api", *(said(number, note="y" * 200) for number in range(sent, sent + 1_000)))
        sent += 1_000
        time.sleep(0.2)
    time.sleep(5)
    held = shipper.memory()
    loki.status = 204
    eventually(lambda: len(loki.taken) == 2 * sent, 120, lambda: (len(loki.taken), shipper.output()))
    time.sleep(2)
    assert sorted(numbers(loki)) == list(range(sent))
    assert Counter(line["msg"] for line in loki.lines("api")) == Counter(f"request {number}" for number in range(sent))
    caught_up = shipper.memory()
    print(f"\nheld {held}, caught up {caught_up}")
    assert shipper.inspect("{{.RestartCount}} {{.State.OOMKilled}}") == "0 false"
    assert held["unreclaimable"] < parse_size(SERVICE["alert"])
    assert caught_up["unreclaimable"] < parse_size(SERVICE["usage_target"])


def test_it_says_how_it_does(shipper, loki):
    shipper.write("nginx", request(1))
    shipper.start()
    eventually(lambda: loki.taken, hint=shipper.output)
    metrics = shipper.get("/api/v2/metrics/prometheus")
    assert 'fluentbit_input_records_total{name="nginx"} 1' in metrics
    assert 'fluentbit_output_dropped_records_total{name="loki"}' in metrics
    assert json.loads(shipper.get("/api/v1/metrics"))["output"]["loki"]["errors"] == 0
    assert shipper.inspect("{{.HostConfig.ReadonlyRootfs}} {{.Config.User}}") == "true 10002:4"
