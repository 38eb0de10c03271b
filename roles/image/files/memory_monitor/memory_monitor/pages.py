# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is answered to which path."""

from __future__ import annotations

import json
import os
import zlib

from memory_monitor import __version__, metrics, picture
from memory_monitor.server import Response

STATIC = os.path.join(os.path.dirname(__file__), "static")
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
}
NOT_FOUND = Response(404, b"There is nothing here. Try /, /metrics, /api/v1/status or /healthz.\n")
STARTING = Response(503, b"There is no sample yet.\n")


def static_files(directory=STATIC):
    """Path -> response of the page's files; / is the page."""
    found = {}
    for name in sorted(os.listdir(directory)):
        kind = TYPES.get(os.path.splitext(name)[1])
        if kind:
            with open(os.path.join(directory, name), "rb") as handle:
                body = handle.read()
            found[f"/{name}"] = Response(200, body, kind, etag=f'"{zlib.crc32(body):08x}-{len(body):x}"')
    if "/index.html" in found:
        found["/"] = found.pop("/index.html")
    return found


def status(seen):
    """The body of /api/v1/status."""
    settings, host = seen.settings, seen.host
    return {
        "version": __version__,
        "stack": settings.stack,
        "time": seen.time,
        "cgroup_version": seen.version,
        "phase": "overlap" if seen.overlap else "steady",
        "host": {
            **{key: host.get(key, 0) for key in ("memory_total", "memory_available", "swap_total", "swap_free")},
            "oom_kills": seen.host_kills or 0,
        },
        "budget": {**settings.totals, **settings.percents},
        "total": picture.total(seen),
        "release": seen.release,
        "services": picture.entries(seen),
    }


class Pages:
    """Answers from the sampler's last picture. What one picture gives is made once, however many ask for it."""

    def __init__(self, sampler, files=None):
        self._sampler = sampler
        self._files = static_files() if files is None else files
        self._picture, self._made = None, {}
        self._registry = metrics.registry(lambda: self._picture)

    def __call__(self, path, query):
        if path == "/healthz":
            return Response(200, b"ok\n") if self._sampler.fresh() else Response(503, b"The samples are stale.\n")
        if path in self._files:
            return self._files[path]
        make = {"/metrics": self._metrics, "/api/v1/status": self._status, "/api/v1/history": self._history}.get(path)
        if make is None:
            return NOT_FOUND
        if self._sampler.picture is not self._picture:
            self._picture, self._made = self._sampler.picture, {}
        if self._picture is None:
            return STARTING
        argument = query.get("service", "all") if path == "/api/v1/history" else ""
        if (path, argument) not in self._made:
            response = make(argument)
            if response.status != 200:
                return response
            self._made[path, argument] = response
        return self._made[path, argument]

    def _metrics(self, _argument):
        return Response(200, metrics.render(self._registry), metrics.CONTENT_TYPE)

    def _status(self, _argument):
        return as_json(status(self._picture))

    def _history(self, service):
        history = self._picture.history
        try:
            return as_json({"step": history.step, "services": history.read(self._picture.time, service)})
        except KeyError:
            return as_json({"error": {"code": "unknown_service", "message": "No such service was seen."}}, 404)


def as_json(data, status=200):
    return Response(status, json.dumps(data, separators=(",", ":")).encode(), "application/json")
