"""The files that an agent is made of, as they go on record: a secret in them stays out."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from agentd.log import is_secret_name
from agentd.manifest.files import Files
from agentd.manifest.yaml.nodes import Map, Node, Scalar, Seq

DEFAULTS = ("_defaults.yaml", "_defaults.yml")
_SHORTEST = 6  # characters of a secret; shorter ones occur in other words
_BETWEEN = re.compile(r"\{\{.*?\}\}|\s+")  # the parts of a secret: tags of a template, lines


def sources_of(
    files: Files,
    *,
    manifests: Iterable[str],
    prompts: Iterable[str],
    tools: Iterable[str],
    root: Map,
) -> dict[str, bytes]:
    """The bytes of these files, by their path in the project.

    `${VAR}` stays as it is written. A secret that stands in a manifest itself becomes `***`: `root`
    says where there are any.
    """
    secrets = list(_secrets(root))
    found: dict[str, bytes] = {}
    for name in manifests:
        if name in files.manifests:
            own = [each for each in secrets if each.span.source.file == files.manifest_path(name)]
            found[f"{_name(files.folder)}/{name}"] = _masked(files.manifests[name], own)
    for folder, contents, names in (
        (files.prompt_folder, files.prompts, prompts),
        (files.tool_folder, files.tools, tools),
    ):
        found |= {f"{_name(folder)}/{name}": contents[name] for name in names if name in contents}
    return found


def defaults_of(manifest: str) -> Iterator[str]:
    """The files that can hold defaults of this manifest, the nearest last."""
    parts = manifest.split("/")[:-1]
    for depth in range(len(parts) + 1):
        for file in DEFAULTS:
            yield "/".join([*parts[:depth], file])


def is_defaults(name: str) -> bool:
    """Whether this file of a folder of manifests holds defaults."""
    return posixpath.basename(name) in DEFAULTS


def _name(folder: Path) -> str:
    return Path(os.path.abspath(folder)).name


def _secrets(node: Node, name: str = "") -> Iterator[Scalar]:
    """The texts whose names say that they are secret, and that stand in the file themselves."""
    match node:
        case Scalar():
            if is_secret_name(name) and isinstance(node.value, str) and not node.from_environment:
                yield node
        case Seq():
            for item in node.items:
                yield from _secrets(item, name)
        case Map():
            for key, (_, value) in node.entries.items():
                yield from _secrets(value, key)


def _masked(data: bytes, secrets: Iterable[Scalar]) -> bytes:
    for secret in secrets:
        for part in _BETWEEN.split(secret.text):
            if len(part) >= _SHORTEST:
                # In a manifest, `$$` stands for a dollar.
                data = data.replace(part.replace("$", "$$").encode(), b"***")
                data = data.replace(part.encode(), b"***")
    return data
