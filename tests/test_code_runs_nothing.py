"""Nothing in the code could run or import what data name, whatever a later change does. Source: spec 11, [S-1]."""

import ast
from collections.abc import Iterator
from pathlib import Path

import statetree
import statetree_backends

RUNS = {"eval", "exec", "compile", "__import__", "Unpickler", "import_module", "exec_module", "load_module"}
"""Names that are never called, on any object."""
MODULES = {
    "marshal",
    "shelve",
    "runpy",
    "code",
    "imp",
    "dill",
    "cloudpickle",
    "joblib",
    "subprocess",
    "pickle",
    "ctypes",
}
"""Modules that are never imported."""
LOADING = {"statetree.plugins"}
"""Where the names of modules may come from outside of the code."""


def modules() -> Iterator[tuple[str, ast.AST]]:
    for package in (statetree, statetree_backends):
        folder = Path(package.__file__).parent
        for path in folder.rglob("*.py"):
            name = ".".join(path.relative_to(folder.parent).with_suffix("").parts)
            yield name, ast.parse(path.read_text("utf-8"))


def called(node: ast.Call) -> str:
    match node.func:
        case ast.Name(id=name) if name != "compile":
            return name
        case ast.Attribute(value=ast.Name(id=module), attr=name) if module != "re":
            return name
    return ""


def imported(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=str(module), names=names):
            return [module, *(f"{module}.{alias.name}" for alias in names)]
    return []


def test_nothing_in_the_code_runs_or_imports_what_data_name() -> None:
    found = []
    for name, tree in modules():
        for node in ast.walk(tree):
            place = f"{name}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Call) and called(node) in RUNS:
                found.append(f"{place} calls {called(node)}")
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                found.append(f"{place} says allow_pickle")
            found += [f"{place} imports {module}" for module in imported(node) if module.split(".")[0] in MODULES]
            if isinstance(node, ast.Attribute) and node.attr == "load" and name not in LOADING:
                value = node.value
                if isinstance(value, ast.Name) and value.id in ("np", "numpy", "torch"):
                    found.append(f"{place} calls {value.id}.load")

    assert found == []
    assert len(list(modules())) > 50
