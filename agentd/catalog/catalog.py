"""The catalog: every agent of a folder, ready to run, and all that is wrong with its files."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from agentd.catalog.assembly import assemble
from agentd.catalog.spec import AgentSpec, files_of
from agentd.catalog.topology.check import check
from agentd.catalog.topology.flow import Topology
from agentd.catalog.topology.members import Member
from agentd.catalog.topology.name_conflicts import contested
from agentd.manifest.file import ManifestDraft, read_defaults, read_manifest
from agentd.manifest.files import Files, read_files
from agentd.manifest.yaml.reader import Document
from agentd.problems import Problem
from agentd.templates.prompts import PromptLibrary

__all__ = ["AgentSpec", "Catalog", "Files", "load", "merge_problems", "read_files"]

DEFAULTS = ("_defaults.yaml", "_defaults.yml")
ENDINGS = (".agent.md", ".yaml", ".yml")

Inputs = tuple[bytes, ...]


@dataclass(frozen=True)
class Catalog:
    """What a folder says at one moment.

    Attributes:
        agents: those that can run, by name.
        problems: errors and warnings of all files, in the order of the files.
        broken: the manifests that gave no agent.
        topology: its agents together.
        by_file: the problems of each manifest, with those of its defaults, prompts and scripts.
        memory: for the next `load`.
    """

    agents: Mapping[str, AgentSpec]
    problems: tuple[Problem, ...] = ()
    broken: frozenset[Path] = frozenset()
    topology: Topology = field(default=Topology({}), repr=False, compare=False)
    by_file: Mapping[Path, tuple[Problem, ...]] = field(
        default_factory=dict[Path, tuple[Problem, ...]], repr=False, compare=False
    )
    memory: _Memory | None = field(default=None, repr=False, compare=False)

    def problems_of(self, file: Path) -> tuple[Problem, ...]:
        """The problems of one manifest, with those of its defaults, prompts and scripts."""
        return self.by_file.get(file, ())


@dataclass(frozen=True)
class _Memory:
    """What the next load need not do again where its inputs are the same."""

    folder: Path
    environ: Mapping[str, str]
    library: PromptLibrary
    drafts: Mapping[str, tuple[Inputs, ManifestDraft]]
    specs: Mapping[str, AgentSpec]
    topology: Topology
    odd: tuple[tuple[str, Problem], ...]


def load(
    source: Files | Path,
    *,
    prompts: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    previous: Catalog | None = None,
) -> Catalog:
    """The catalog of `source`: a folder of manifests, or what `read_files` read of one.

    Bad files never raise, they are problems. With `previous` only what changed is made again, and
    an agent whose revision is the same stays the same object.

    Raises:
        UsageError: the folder is none.
    """
    files = source if isinstance(source, Files) else read_files(source, prompts)
    environ = dict(environ)
    memory = previous.memory if previous else None
    if memory and (memory.folder != files.folder or memory.environ != environ):
        memory = None
    texts, others = _texts(files)
    library = PromptLibrary(
        texts, folder=files.prompt_path(""), previous=memory.library if memory else None
    )
    defaults = {
        name: read_defaults(content, files.manifest_path(name))
        for name, content in files.manifests.items()
        if posixpath.basename(name) in DEFAULTS
    }
    for document in defaults.values():
        others += document.problems
    read = _drafts(files, defaults, environ, memory)
    drafts = _manifests(read)
    problems = {name: list(draft.problems) for name, draft in drafts.items()}
    specs = _specs(drafts, problems, files, library, memory)
    topology, odd = _together(drafts, specs, memory)
    for name, problem in odd:
        problems[name].append(problem)
    by_file = {files.folder / name: tuple(found) for name, found in problems.items()}
    by_file |= {path: (problem,) for path, problem in files.refused.items()}
    broken = {files.folder / name for name in drafts.keys() - specs.keys()}
    broken |= {path for path, problem in files.refused.items() if problem.severity == "error"}
    return Catalog(
        agents=MappingProxyType({spec.name: spec for spec in specs.values()}),
        problems=merge_problems(others, *by_file.values()),
        broken=frozenset(broken),
        topology=topology,
        by_file=by_file,
        memory=_Memory(files.folder, environ, library, read, specs, topology, odd),
    )


def _texts(files: Files) -> tuple[dict[str, str], list[Problem]]:
    """The prompts as text. One that is not is told, and is an error of the agents that need it."""
    texts: dict[str, str] = {}
    problems: list[Problem] = []
    for name, content in files.prompts.items():
        try:
            texts[name] = content.decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError:
            shown = files.prompt_path(name)
            problems.append(Problem(file=shown, text="not UTF-8 text", severity="warning"))
    return texts, problems


def _drafts(
    files: Files,
    defaults: Mapping[str, Document],
    environ: Mapping[str, str],
    memory: _Memory | None,
) -> dict[str, tuple[Inputs, ManifestDraft]]:
    """Every manifest, with the bytes that it was made from."""
    drafts: dict[str, tuple[Inputs, ManifestDraft]] = {}
    for name, content in files.manifests.items():
        if name in defaults or name.endswith(".json"):
            continue
        near = [each for each in _defaults_of(name) if each in defaults]
        inputs = (content, *(files.manifests[each] for each in near))
        known = memory.drafts.get(name) if memory else None
        if known and known[0] == inputs:
            drafts[name] = known
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


def _defaults_of(name: str) -> Iterator[str]:
    """The names that defaults of this manifest can have, the nearest last."""
    parts = name.split("/")[:-1]
    for depth in range(len(parts) + 1):
        for file in DEFAULTS:
            yield "/".join([*parts[:depth], file])


def _manifests(read: Mapping[str, tuple[Inputs, ManifestDraft]]) -> dict[str, ManifestDraft]:
    """The drafts without those that others name as their scripts, schemas or documents."""
    named = {other for name, (_, draft) in read.items() for _, other in files_of(draft, name)}
    return {name: draft for name, (_, draft) in read.items() if name not in named}


def _specs(
    drafts: Mapping[str, ManifestDraft],
    problems: Mapping[str, list[Problem]],
    files: Files,
    library: PromptLibrary,
    memory: _Memory | None,
) -> dict[str, AgentSpec]:
    """The agents that can run, by file; what keeps the others from it goes to `problems`."""
    before = memory.specs if memory else {}
    specs: dict[str, AgentSpec] = {}
    for name, draft in drafts.items():
        spec, mistakes = assemble(draft, name, files, library)
        problems[name].extend(mistakes)
        old = before.get(name)
        if spec:
            specs[name] = old if old and old.revision == spec.revision else spec
    for name, rival in contested(drafts).items():
        problems[name].append(rival)
        specs.pop(name, None)
    return specs


def _together(
    drafts: Mapping[str, ManifestDraft], specs: Mapping[str, AgentSpec], memory: _Memory | None
) -> tuple[Topology, tuple[tuple[str, Problem], ...]]:
    """The agents that can run, as a whole; and what is odd about it, each with its file, once every
    file loads: until then much is only missing."""
    # Drafts, not specs, know where their fields stand: a spec may be that of an older file which
    # differs in comments.
    found = {spec.name: (name, drafts[name].manifest) for name, spec in specs.items()}
    members = {
        agent: Member(manifest, drafts[name].root)
        for agent, (name, manifest) in found.items()
        if manifest
    }
    topology = Topology(members, whole=len(specs) == len(drafts))
    if memory and memory.topology == topology:
        return memory.topology, memory.odd
    odd = check(topology) if topology.whole else ()
    return topology, tuple((found[agent][0], problem) for agent, problem in odd)


def merge_problems(*groups: Iterable[Problem]) -> tuple[Problem, ...]:
    """Each problem once, though many agents may share it, in the order of files and lines."""
    distinct = dict.fromkeys(problem for group in groups for problem in group)
    return tuple(sorted(distinct, key=lambda each: (each.file, each.line, each.column)))
