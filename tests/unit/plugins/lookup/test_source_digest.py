# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lookup, as Ansible calls it."""

from __future__ import annotations

import pytest
import yaml
from ansible import constants
from ansible.errors import AnsibleLookupError
from ansible_collections.sixty_sales.memory_optimized.plugins.lookup import source_digest
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import source_tree


@pytest.fixture
def lookup():
    # What Ansible's plugin loader does with a lookup and its documentation.
    options = yaml.safe_load(source_digest.DOCUMENTATION)["options"]
    constants.config.initialize_plugin_configuration_definitions("lookup", "source_digest", options)
    plugin = source_digest.LookupModule()
    plugin._load_name = "source_digest"
    return lambda *terms, **options: plugin.run(list(terms), variables={}, **options)


def test_several_folders_give_one_digest(lookup, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name, encoding="utf-8")
    (both,) = lookup(str(tmp_path / "a"), str(tmp_path / "b"))
    assert [both] != lookup(str(tmp_path / "a"))
    assert [both] != lookup(str(tmp_path / "a"), str(tmp_path / "b"), salt="s")
    assert [both] == lookup(str(tmp_path / "a"), str(tmp_path / "b"))


def test_a_relative_path_starts_at_the_collection(lookup):
    path = source_digest.ROOT / "plugins" / "lookup"
    assert lookup("plugins/lookup") == [source_tree.digest([(path, source_tree.list_files(path))])]


def test_a_folder_that_is_not_there(lookup, tmp_path):
    with pytest.raises(AnsibleLookupError, match="There is no folder"):
        lookup(str(tmp_path / "gone"))


def test_a_file_that_cannot_be_read(lookup, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x", encoding="utf-8")

    def refuse(_path):
        raise PermissionError(13, "Permission denied", "file")

    monkeypatch.setattr(source_tree.pathlib.Path, "read_bytes", refuse)
    with pytest.raises(AnsibleLookupError, match=r"cannot be read: .*Permission denied"):
        lookup(str(tmp_path))
