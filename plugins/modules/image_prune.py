#!/usr/bin/python
# Copyright (c) 2026, Sixty Sales DevOps Team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: image_prune
short_description: Remove images of earlier releases and versions that no container uses, beyond a budget
version_added: "0.1.0"
description:
  - Looks at the images that have the names of O(wanted) with other tags. Those that no container of the engine uses,
    not even a stopped one, are kept from the newest on up to O(budget), and the rest is removed.
  - An image that other images are built on, or that has a further name, is left alone.
options:
  wanted:
    description: References that are never removed. Their names without the tags say which images are looked at.
    type: list
    elements: str
    required: true
  budget:
    description: Bytes of such images that are kept, by their nominal sizes; layers that they share count for each.
    type: int
    required: true
attributes:
  check_mode:
    description: Says what would be removed.
    support: full
  diff_mode:
    description: Shows the images before and after.
    support: full
requirements:
  - docker (Python SDK) on the host
author: Sixty Sales DevOps Team (@sixty-sales)
"""

EXAMPLES = r"""
- name: Keep 2 GB of images that can be gone back to
  sixty_sales.memory_optimized.image_prune:
    wanted: ["sixty/redis:3465bb2ba315", "sixty/nginx:50268584a478"]
    budget: 2147483648
"""

RETURN = r"""
removed:
  description: References that were removed (in check mode, would be).
  returned: success
  type: list
  elements: str
bytes:
  description: Their nominal size; layers that other images share stay.
  returned: success
  type: int
left:
  description: References that the engine would not remove, since another image is built on them.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import image_garbage as core

try:
    import docker
except ImportError:
    docker = None

CONFLICT = 409


def remove(client, image):
    """By its names, since by its id the engine refuses one that has two. Whether it is gone."""
    for tag in image.tags:
        try:
            client.api.remove_image(tag)
        except docker.errors.ImageNotFound:
            continue
        except docker.errors.APIError as error:
            if error.response is not None and error.response.status_code == CONFLICT:
                return False
            raise
    return True


def main():
    module = AnsibleModule(
        argument_spec={
            "wanted": {"type": "list", "elements": "str", "required": True},
            "budget": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    if docker is None:
        module.fail_json(msg=missing_required_lib("docker"))
    gone, left = [], []
    try:
        client = docker.from_env()
        used = {entry["ImageID"] for entry in client.api.containers(all=True)}
        images = [
            core.Image(entry["Id"], tuple(entry["RepoTags"] or []), entry["Size"], entry["Created"])
            for entry in client.api.images()
        ]
        for image in core.garbage(images, used, module.params["wanted"], module.params["budget"]):
            (gone if module.check_mode or remove(client, image) else left).append(image)
    # requests' errors, such as an engine that goes away in the middle, are OSErrors.
    except (docker.errors.DockerException, OSError) as error:
        module.fail_json(
            msg=f"The engine does not remove images: {error}. {len(gone)} were removed, and no other harm is done; the "
            "next deploy goes on from here."
        )
    names = [tag for image in gone for tag in image.tags]
    module.exit_json(
        changed=bool(gone),
        removed=names,
        bytes=sum(image.size for image in gone),
        left=[tag for image in left for tag in image.tags],
        diff={"before": "".join(f"{name}\n" for name in names), "after": ""},
    )


if __name__ == "__main__":
    main()
