# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which containers were started between two samples.

A container that crashes at once lives for some 50 ms, and the engine waits up to a minute before the next attempt:
who looks once a second sees one start in twenty. The kernel tells of every cgroup that is made (inotify), also
through a read-only mount and without a privilege.
"""

from __future__ import annotations

import ctypes
import os
import struct

IN_CREATE, IN_DELETE, IN_Q_OVERFLOW, IN_IGNORED, IN_ONLYDIR = 0x100, 0x200, 0x4000, 0x8000, 0x01000000
# Equal events in a row are told once (inotify(7)), so that ends have to be told between the starts.
WANTED = IN_CREATE | IN_DELETE | IN_ONLYDIR
EVENT = struct.Struct("iIII")
MOST_WATCHES = 256


class Creations:
    """Watches directories for new ones inside. Where the kernel refuses, that is counted, and inodes have to do."""

    def __init__(self, errors):
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._handle = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._paths = {}
        self._watched = {}
        self._errors = errors
        if self._handle < 0:
            errors.count("watch")

    def watch(self, directories):
        """Watch these as well."""
        for path in directories:
            if self._handle >= 0 and path not in self._watched and len(self._watched) < MOST_WATCHES:
                number = self._libc.inotify_add_watch(self._handle, os.fsencode(path), WANTED)
                if number < 0:
                    self._errors.count("watch")
                else:
                    self._watched[path], self._paths[number] = number, path

    def read(self):
        """(directory, name) of what was made since the last call."""
        made = []
        while self._handle >= 0:
            try:
                data = os.read(self._handle, 8192)
            except BlockingIOError:
                break
            offset = 0
            while offset < len(data):
                number, mask, _cookie, length = EVENT.unpack_from(data, offset)
                offset += EVENT.size
                if mask & IN_Q_OVERFLOW:
                    self._errors.count("watch")
                elif mask & IN_IGNORED:
                    self._watched.pop(self._paths.pop(number, None), None)
                elif mask & IN_CREATE:
                    name = os.fsdecode(data[offset : offset + length].rstrip(b"\0"))
                    made.append((self._paths.get(number, ""), name))
                offset += length
        return made

    def close(self):
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
