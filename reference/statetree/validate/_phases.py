"""The phases of a validation, one behind the other, each as far as it can run safely. Source: spec [R-1] and [R-3].

A phase that needs what an earlier one refused is listed as not run. Only what the environment refuses is raised: files
that cannot be read, and libraries that are not installed.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from statetree.canonical import decode_json, explain_json
from statetree.child import Budget
from statetree.decode import Decoder
from statetree.digest import block_spans, digest
from statetree.errors import Problem, StateTreeError, StoreIOError, UsageError, shown
from statetree.info import decode_info
from statetree.limits import Limits
from statetree.loading import check_bytes
from statetree.manifest import Manifest, decode_manifest, root_problems
from statetree.registry import recognise
from statetree.source import Source
from statetree.store import Examinable, Examination, Finding, Reader, Stock
from statetree.validate._tree import tree_faults
from statetree.validate._unwise import unwise
from statetree.validate.report import PHASES, Findings, NotRun, Report, is_asked

__all__ = ["Validation"]

T = TypeVar("T")


class Validation:
    """One file that is judged.

    Args:
        path: the file or folder.
        level: how far to look.
        limits: what is refused as too large.
        budget: what a library may take in a process of its own; None: it runs in this process.
    """

    def __init__(self, path: Path, level: str, limits: Limits, budget: Budget | None) -> None:
        self._path = path
        self._level = level
        self._limits = limits
        self._budget = budget
        self._found = Findings()
        self._not_run: dict[str, str] = {}
        self._digest: str | None = None
        self._wrong: set[tuple[str, int]] = set()
        """(code, array) of what is wrong with an array and was told already."""

    def report(self) -> Report:
        """Judge the file.

        Raises:
            StoreIOError: the file cannot be read.
            UsageError: a library that it needs is not installed.
        """
        backend = self._try("recognition", lambda: recognise(self._path, self._budget))
        if backend is None:
            self._skip("recognition", "it is of no container that is known here")
        else:
            self._found.backend = backend.name
            reader = self._try("framing", lambda: backend.reader(self._path, self._limits))
            if reader is None:
                self._skip("framing", "the container cannot be opened")
            else:
                try:
                    self._judge(reader, backend.name)
                finally:
                    reader.close()
        found = self._found
        wanted = [phase for phase in PHASES if phase in self._not_run and is_asked(phase, self._level)]
        return Report(
            str(self._path),
            tuple(found.problems),
            tuple(found.warnings),
            found.backend,
            self._digest,
            self._level,
            tuple(NotRun(phase, self._not_run[phase]) for phase in wanted),
            found.more,
            found.more_warnings,
        )

    def _skip(self, after: str, reason: str) -> None:
        """Say of all phases behind one that they cannot run."""
        for phase in PHASES[PHASES.index(after) + 1 :]:
            self._not_run.setdefault(phase, reason)

    def _try(self, phase: str, run: Callable[[], T]) -> T | None:
        """Return what a step returns, None if it refuses."""
        try:
            return run()
        except (StoreIOError, UsageError):
            raise
        except StateTreeError as error:
            for problem in error.problems:
                self._found.add(problem, phase)
            return None

    def _judge(self, reader: Reader, backend: str) -> None:
        text = self._try("manifest", reader.manifest)
        manifest = None if text is None else self._manifest(text)
        if text is None:
            for phase in ("limits", "tree", "digests", "stock"):
                self._not_run[phase] = "there is no manifest that can be believed"
        source = None
        if manifest is not None and text is not None:
            self._digest = f"{manifest.algorithm}:{digest(manifest.algorithm, text)}"
            source = Source(reader, manifest, backend, verify=True)
            fits = self._fits(manifest, reader)
            tree = self._tree(manifest, source)
            if not tree or not fits:
                reason = "the tree is wrong" if not tree else "the file declares more than the limits allow"
                self._not_run |= dict.fromkeys(("digests", "stock"), reason)
                source = source if tree else None
        if "info" not in self._not_run:
            self._try("info", lambda: decode_info(reader.info(), self._limits, "info"))
        if "container" not in self._not_run:
            self._container(reader, manifest, source)

    def _manifest(self, text: bytes) -> Manifest | None:
        """Judge the manifest text and its table of arrays."""
        with suppress(StateTreeError):
            return decode_manifest(text, self._limits, "manifest")
        if len(text) > self._limits.manifest_bytes:
            self._try("manifest", lambda: decode_manifest(text, self._limits, "manifest"))
            self._skip("manifest", "the manifest is larger than the limits allow")
            return None
        value: Any
        try:
            value = decode_json(text, "manifest")
        except StateTreeError:
            problem, value = explain_json(text, "manifest")
            self._found.add(problem, "manifest")
        for phase in ("limits", "digests", "stock"):
            self._not_run[phase] = "the manifest is wrong"
        if value is ...:
            self._not_run["tree"] = "the manifest cannot be parsed"
            return None
        for problem in root_problems(value, self._limits, "manifest"):
            self._found.add(problem, "manifest")
            if problem.code == "VERSION_MAJOR":
                self._skip("manifest", "the file is of another major version")
                return None
        rows = value.get("arrays") if type(value) is dict else None
        if type(rows) is list and "tree" in value and len(rows) <= self._limits.arrays:
            tree_faults(value["tree"], len(rows), self._limits, lambda problem: self._found.add(problem, "tree"))
        else:
            self._not_run["tree"] = "the manifest has no tree and table of arrays"
        return None

    def _fits(self, manifest: Manifest, reader: Reader) -> bool:
        """Whether the arrays are within the limits: those that the caller gave, and the ratio."""
        before = len(self._found.problems)
        allowed = replace(self._limits, total_bytes=self._limits.total_bytes or 1 << 63)
        self._try("limits", lambda: check_bytes(sum(manifest.nbytes), reader, allowed))
        return len(self._found.problems) == before

    def _tree(self, manifest: Manifest, source: Source) -> bool:
        """Judge the tree; return whether it is sound."""
        try:
            tree = Decoder(range(len(manifest.arrays)), self._limits).decode(manifest.node)
        except StateTreeError as error:
            add = self._found.add
            before = len(self._found.problems)
            tree_faults(manifest.node, len(manifest.arrays), self._limits, lambda problem: add(problem, "tree"))
            if len(self._found.problems) == before:
                add(error.problems[0], "tree")
            return False
        unwise(manifest, tree, source.paths, lambda problem: self._found.add(problem, "tree"))
        return True

    def _container(self, reader: Reader, manifest: Manifest | None, source: Source | None) -> None:
        """Judge the container against the manifest, then the bytes of the arrays."""
        bound = source is not None and self._bind(source)
        if bound:
            self._try("container", reader.layout)
            self._try("container", reader.blocks)
        if isinstance(reader, Examinable):
            data = self._level != "structure"
            asked = Examination(version=manifest.version if manifest else None, bound=bound, data=data)
            self._findings("container", source if bound else None, lambda: reader.examine(asked))
        if source is None or not bound:
            reason = "it is not known which arrays the container holds"
            for phase in ("digests", "stock"):
                self._not_run.setdefault(phase, reason)
            return
        if is_asked("digests", self._level) and "digests" not in self._not_run:
            self._digests(source)
        if is_asked("stock", self._level) and "stock" not in self._not_run:
            self._stock(reader, source)

    def _bind(self, source: Source) -> bool:
        """Whether the store agrees with the manifest in algorithm and number of arrays, and so knows its arrays."""
        wanted, found = source.manifest.algorithm, source.reader.algorithm()
        if wanted != found:
            expected = f"a container of the manifest's algorithm {wanted}"
            self._found.add(Problem("BACKEND_MISMATCH", expected, shown(found), place="manifest"), "container")
            return False

        def bind() -> bool:
            source.bind(whole=True)
            return True

        return self._try("container", bind) is not None

    def _findings(self, phase: str, source: Source | None, run: Callable[[], Any]) -> None:
        """Keep the findings of a backend."""

        def keep() -> None:
            each: Finding
            for each in run():
                problem = each.problem
                if source is not None and each.index is not None:
                    problem = replace(problem, path=source.paths()[each.index])
                    self._wrong.add((problem.code, each.index))
                self._found.add(problem, phase)

        self._try(phase, keep)

    def _digests(self, source: Source) -> None:
        """Hold the bytes of every array against its digest."""
        for index, nbytes in enumerate(source.manifest.nbytes):
            try:
                for start, stop in block_spans(0, nbytes) if nbytes else [(0, 0)]:
                    source.read(index, start, stop)
            except (StoreIOError, UsageError):
                raise
            except StateTreeError as error:
                for problem in error.problems:
                    if (problem.code, index) not in self._wrong:
                        # What is wrong with an index is wrong with each array, and said once.
                        own = problem.path is None and (problem.place or "").startswith(source.reader.place(index))
                        self._found.add(replace(problem, path=source.paths()[index]) if own else problem, "digests")

    def _stock(self, reader: Reader, source: Source) -> None:
        """Look at the container with its stock library, if nothing is wrong with it so far."""
        if self._found.problems:
            self._not_run["stock"] = "the container is wrong already"
        elif not isinstance(reader, Stock):
            self._not_run["stock"] = f"the backend {source.backend} has no stock library"
        else:
            digests = [entry.digest for entry in source.manifest.arrays]
            self._findings("stock", source, lambda: reader.stock(digests))
