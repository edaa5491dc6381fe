"""The catalog: every agent of a folder, ready to run, and every problem in its files."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from agentd.catalog.assembly import assemble
from agentd.catalog.sources import defaults_of, is_defaults
from agentd.catalog.spec import AgentSpec, files_of
from agentd.catalog.topology.check import check
from agentd.catalog.topology.flow import Topology
from agentd.catalog.topology.members import Member
from agentd.catalog.topology.name_conflicts import name_conflicts
from agentd.manifest.file import ManifestDraft, read_defaults, read_manifest
from agentd.manifest.files import Files, read_files
from agentd.manifest.yaml.reader import Document
from agentd.problems import Problem, errors
from agentd.templates.prompts import PromptLibrary

__all__ = ["AgentSpec", "Catalog", "Files", "load", "merge_problems", "read_files"]

ENDINGS = (".agent.md", ".yaml", ".yml")

Inputs = tuple[bytes, ...]  # a manifest and its defaults


@dataclass(frozen=True)
class Catalog:
    """All agents of a folder at one moment, and every problem in its files.

    Attributes:
        agents: the agents that can run, by name.
        problems: errors and warnings of all files, in the order of files and lines.
        broken: the manifests from which no agent could be made.
        faulty: what could be read of these, for further checks only.
        topology: how work flows between the agents.
        by_file: the problems of each manifest, with those of its defaults, prompts and other files.
        cache: what the next `load` can reuse.
    """

    agents: Mapping[str, AgentSpec]
    problems: tuple[Problem, ...] = ()
    broken: frozenset[Path] = frozenset()
    faulty: tuple[AgentSpec, ...] = field(default=(), repr=False, compare=False)
    topology: Topology = field(default=Topology({}), repr=False, compare=False)
    by_file: Mapping[Path, tuple[Problem, ...]] = field(
        default_factory=dict[Path, tuple[Problem, ...]], repr=False, compare=False
    )
    cache: _Cache | None = field(default=None, repr=False, compare=False)

    def problems_of(self, file: Path) -> tuple[Problem, ...]:
        """The problems of one manifest, with those of its defaults, prompts and other files."""
        return self.by_file.get(file, ())


@dataclass(frozen=True)
class _Cache:
    """The results of a load, with their inputs, so that the next load can reuse them.

    `warnings` are those of the topology, each with the file that it belongs to.
    """

    folder: Path
    environ: Mapping[str, str]
    library: PromptLibrary
    drafts: Mapping[str, tuple[Inputs, ManifestDraft]]
    specs: Mapping[str, AgentSpec]
    topology: Topology
    warnings: tuple[tuple[str, Problem], ...]


def load(
    source: Files | Path,
    *,
    prompts: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    previous: Catalog | None = None,
) -> Catalog:
    """The catalog of `source`: a folder of manifests, or the files that `read_files` read.

    Invalid files become problems and never raise. With `previous` only what has changed is made
    again, and an agent whose revision has not changed stays the same object.

    Raises:
        UsageError: the folder does not exist or is not a folder.
    """
    files = source if isinstance(source, Files) else read_files(source, prompts)
    environ = dict(environ)  # a copy, as the next load compares it with its own
    cache = _valid_cache(previous, files, environ)
    library = _library(files, cache)
    defaults = _defaults(files)
    others = [problem for document in defaults.values() for problem in document.problems]
    # Scripts and schemas are YAML files, too. Only when all files have been read is it known which
    # of them a manifest names, and which are manifests.
    read = _drafts(files, defaults, environ, cache)
    drafts = _manifests(read)
    problems = {name: list(draft.problems) for name, draft in drafts.items()}
    specs, faulty = _specs(drafts, problems, files, library, cache)
    topology, warnings = _topology(drafts, specs, cache)
    for name, problem in warnings:
        problems[name].append(problem)
    by_file = {files.folder / name: tuple(found) for name, found in problems.items()}
    by_file |= {path: (problem,) for path, problem in files.refused.items()}
    broken = {files.folder / name for name in drafts.keys() - specs.keys()}
    broken |= {path for path, problem in files.refused.items() if problem.severity == "error"}
    return Catalog(
        agents=MappingProxyType({spec.name: spec for spec in specs.values()}),
        problems=merge_problems(others, *by_file.values()),
        broken=frozenset(broken),
        faulty=tuple(faulty),
        topology=topology,
        by_file=by_file,
        cache=_Cache(files.folder, environ, library, read, specs, topology, warnings),
    )


def _valid_cache(
    previous: Catalog | None, files: Files, environ: Mapping[str, str]
) -> _Cache | None:
    """What can be reused of the previous catalog: nothing if the folder or a variable changed."""
    cache = previous.cache if previous else None
    if cache and (cache.folder != files.folder or cache.environ != environ):
        return None
    return cache


def _defaults(files: Files) -> dict[str, Document]:
    """The `_defaults.yaml` of each folder, by name."""
    return {
        name: read_defaults(content, files.manifest_path(name))
        for name, content in files.manifests.items()
        if is_defaults(name)
    }


def _library(files: Files, cache: _Cache | None) -> PromptLibrary:
    texts, unreadable = _texts(files)
    return PromptLibrary(
        texts,
        folder=files.prompt_path(""),
        unreadable=unreadable,
        previous=cache.library if cache else None,
    )


def _texts(files: Files) -> tuple[dict[str, str], dict[str, str]]:
    """The prompts as text, and what is wrong with each file that is no text.

    That is a problem only of the agents that need the file.
    """
    refused = {path: problem.text for path, problem in files.refused.items()}
    unreadable = {
        path.relative_to(files.prompt_folder).as_posix(): text
        for path, text in refused.items()
        if path.is_relative_to(files.prompt_folder)
    }
    texts: dict[str, str] = {}
    for name, content in files.prompts.items():
        try:
            texts[name] = content.decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            unreadable[name] = f"is not UTF-8 text (line {line}); save it as UTF-8"
    return texts, unreadable


def _drafts(
    files: Files,
    defaults: Mapping[str, Document],
    environ: Mapping[str, str],
    cache: _Cache | None,
) -> dict[str, tuple[Inputs, ManifestDraft]]:
    """Every YAML file read as a manifest, with the bytes that it was made from."""
    drafts: dict[str, tuple[Inputs, ManifestDraft]] = {}
    for name, content in files.manifests.items():
        if name in defaults or name.endswith(".json"):
            continue
        near = [each for each in defaults_of(name) if each in defaults]
        # Bytes are compared, not times: a file may be written twice in one tick of the clock.
        inputs = (content, *(files.manifests[each] for each in near))
        cached = cache.drafts.get(name) if cache else None
        if cached and cached[0] == inputs:
            drafts[name] = cached
            continue
        stem = posixpath.basename(name)
        for ending in ENDINGS:
            stem = stem.removesuffix(ending)
        documents = [defaults[each] for each in near]
        drafts[name] = (
            inputs,
            read_manifest(
                content, files.manifest_path(name), stem=stem, defaults=documents, environ=environ
            ),
        )
    return drafts


def _manifests(read: Mapping[str, tuple[Inputs, ManifestDraft]]) -> dict[str, ManifestDraft]:
    """The drafts, without the files that a manifest names as a script, schema or document."""
    named = {other for name, (_, draft) in read.items() for _, other in files_of(draft.data, name)}
    return {name: draft for name, (_, draft) in read.items() if name not in named}


def _specs(
    drafts: Mapping[str, ManifestDraft],
    problems: Mapping[str, list[Problem]],
    files: Files,
    library: PromptLibrary,
    cache: _Cache | None,
) -> tuple[dict[str, AgentSpec], list[AgentSpec]]:
    """The agents that can run, by file, and those that cannot.

    The problems of all files are added to `problems`.
    """
    before = cache.specs if cache else {}
    specs: dict[str, AgentSpec] = {}
    for name, draft in drafts.items():
        spec, found = assemble(draft, name, files, library)
        problems[name].extend(found)
        old = before.get(name)
        if spec:
            specs[name] = old if old and old.revision == spec.revision else spec
    for name, problem in name_conflicts(drafts).items():
        problems[name].append(problem)
    faulty = [specs.pop(name) for name in drafts if name in specs and errors(problems[name])]
    return specs, faulty


def _topology(
    drafts: Mapping[str, ManifestDraft], specs: Mapping[str, AgentSpec], cache: _Cache | None
) -> tuple[Topology, tuple[tuple[str, Problem], ...]]:
    """The topology of the agents that can run, and its warnings, each with its file.

    There are no warnings while a file has errors: an agent that seems to be missing may be in it.
    """
    # The places come from the drafts. A spec may have been made from an older version of the file
    # with the same revision but other comments, so that its lines are not those of the file.
    members = {spec.name: Member(spec.manifest, drafts[name].root) for name, spec in specs.items()}
    found = {spec.name: name for name, spec in specs.items()}
    topology = Topology(members, whole=len(specs) == len(drafts))
    if cache and cache.topology == topology:
        return cache.topology, cache.warnings
    warnings = check(topology) if topology.whole else ()
    return topology, tuple((found[agent], problem) for agent, problem in warnings)


def merge_problems(*groups: Iterable[Problem]) -> tuple[Problem, ...]:
    """Each problem once, in the order of files and lines. Many agents may share a problem."""
    distinct = dict.fromkeys(problem for group in groups for problem in group)
    return tuple(sorted(distinct, key=lambda each: (each.file, each.line, each.column)))
