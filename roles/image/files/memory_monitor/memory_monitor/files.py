# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small kernel files, read whole."""

from __future__ import annotations

import errno
import os

# The longest, /proc/vmstat, has about 5 KB.
LARGEST = 65536
GONE = (errno.ENOENT, errno.ENODEV, errno.ENOTDIR)


def read_text(path):
    """A file's text; None where there is none, or its cgroup was removed while it was open (ENODEV).

    Raises OSError for one that cannot be read and ValueError for one that is not ASCII.
    """
    try:
        # Not to wait for a writer, whatever this is.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            # A file of many records comes page by page.
            data = part = os.read(handle, 8192)
            while part and len(data) < LARGEST:
                part = os.read(handle, 8192)
                data += part
            return data.decode("ascii")
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno in GONE:
            return None
        raise


class Errors:
    """How often something could not be read, by reason. Only counts, so that one bad file never breaks a scrape."""

    REASONS = (
        *("vanished", "malformed", "unreadable", "name", "limit", "watch"),
        *("host", "release", "backup", "settings", "sample"),
    )

    def __init__(self):
        self.counts = dict.fromkeys(self.REASONS, 0)

    def count(self, reason):
        self.counts[reason] += 1
