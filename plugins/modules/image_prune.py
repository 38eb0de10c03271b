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
  - Looks at the images that the stack has had, those of O(wanted) and of its containers, now and in earlier runs. Those
    that no container of the engine uses, not even a stopped one, are kept from the newest on up to O(budget), and the
    rest is removed.
  - An image that other images are built on, or that has a further name, is left alone; so are those of other stacks and
    of nobody, also where they have the same names with other tags.
options:
  wanted:
    description: References that are never removed.
    type: list
    elements: str
    required: true
  budget:
    description: Bytes of such images that are kept, by their nominal sizes; layers that they share count for each.
    type: int
    required: true
  stack:
    description: Name of the stack, the value of the label C(sixty.stack) of its containers.
    type: str
    required: true
  record:
    description: File that remembers from run to run which images the stack has had; JSON.
    type: path
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
    stack: sixty
    record: /srv/sixty/images.json
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

import json

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils import image_garbage as core
from ansible_collections.sixty_sales.memory_optimized.plugins.module_utils.release_records import write_whole

try:
    import docker
except ImportError:
    docker = None

CONFLICT = 409


def remembered(path):
    """References of the images that the stack has had."""
    try:
        with open(path, encoding="utf-8") as handle:
            return set(json.load(handle))
    except FileNotFoundError:
        return set()


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
            "stack": {"type": "str", "required": True},
            "record": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    if docker is None:
        module.fail_json(msg=missing_required_lib("docker"))
    params, gone, left = module.params, [], []
    try:
        known = remembered(params["record"]) | set(params["wanted"])
    except (OSError, ValueError, TypeError) as error:
        module.fail_json(
            msg=f"{params['record']}, which says what images the stack has had, cannot be read: {error}. No image was "
            "removed. Move it away; the images from before are then nobody's, and stay."
        )
    try:
        client = docker.from_env()
        containers = client.api.containers(all=True)
        used = {entry["ImageID"] for entry in containers}
        known |= {
            entry["Image"] for entry in containers if (entry["Labels"] or {}).get("sixty.stack") == params["stack"]
        }
        images = [
            core.Image(entry["Id"], tuple(entry["RepoTags"] or []), entry["Size"], entry["Created"])
            for entry in client.api.images()
        ]
        for image in core.garbage(images, used, params["wanted"], known, params["budget"]):
            (gone if module.check_mode or remove(client, image) else left).append(image)
        names = [tag for image in gone for tag in image.tags]
        if not module.check_mode:
            there = {tag for image in images for tag in image.tags} - set(names)
            write_whole(params["record"], sorted(known & there))
    # requests' errors, such as an engine that goes away in the middle, are OSErrors.
    except (docker.errors.DockerException, OSError) as error:
        module.fail_json(
            msg=f"Images could not be removed, or it could not be noted which the stack has: {error}. {len(gone)} were "
            "removed, and no other harm is done; the next deploy goes on from here."
        )
    module.exit_json(
        changed=bool(gone),
        removed=names,
        bytes=sum(image.size for image in gone),
        left=[tag for image in left for tag in image.tags],
        diff={"before": "".join(f"{name}\n" for name in names), "after": ""},
    )


if __name__ == "__main__":
    main()
