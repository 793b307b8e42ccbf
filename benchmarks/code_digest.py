"""A digest of the code that a computation runs, and of no other: comments, other methods and presentation left out.

Python is followed by name: from a function or class through every name it mentions, into the modules those names come
from. What is digested are the syntax trees of these definitions, so that comments, docstrings and layout do not count.
Libraries of others are not followed; their versions are recorded with the results instead.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CPP_FOLDERS = ("cpp/core", "cpp/flow", "cpp/ops")
"""What prepares frames, estimates flow and samples logits."""
FOR_CUDA = re.compile(r"\.cu$|_cuda\.\w+$|^cuda$")
"""Files and folders that the CPU's kernels, which training and the benchmarks use, are built without."""

Symbol = tuple[str, str]
"""A module and a name in it; the name ``*`` stands for the whole module."""


@dataclass
class Module:
    """A module's source by the names that its top level binds.

    Attributes:
        statements: the statements that bind, or add to, each name.
        imports: name to (module, name there), whether imported at the top or inside a function.
        effects: statements at the top that bind nothing and run at import.
    """

    statements: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, Symbol] = field(default_factory=dict)
    effects: list[ast.stmt] = field(default_factory=list)


class CodeIndex:
    """The Python sources under a folder, and what is reached from a name in them.

    Args:
        folder: holds the packages, as ``python/`` does.
        packages: the packages that are followed; imports from elsewhere are not.
    """

    def __init__(self, folder: Path = ROOT / "python", packages: tuple[str, ...] = ("stpl",)) -> None:
        self.folder = folder
        self.packages = packages
        self._modules: dict[str, Module | None] = {}
        self._named: dict[Symbol, list[Symbol]] = {}

    def reached(self, roots: Iterable[Symbol], stop: Iterable[str] = ()) -> list[Symbol]:
        """Every symbol that the roots depend on, sorted, themselves included.

        Args:
            stop: modules and packages that are entered only where a root lies in them: what a factory may build, of
                which the roots name what it does build.
        """
        closed = tuple(stop)
        seen: set[Symbol] = set()
        waiting = [(symbol, True) for symbol in roots]
        while waiting:
            symbol, trusted = waiting.pop()
            if symbol in seen or (not trusted and _inside(symbol[0], closed)):
                continue
            if self._module(symbol[0]) is None:
                continue
            seen.add(symbol)
            # Inside a closed package, what a root mentions is part of the root.
            inside = _inside(symbol[0], closed)
            if symbol not in self._named:
                self._named[symbol] = list(self._mentioned(symbol))
            waiting.extend((named, inside) for named in self._named[symbol])
        return sorted(seen)

    def digest(self, symbols: Iterable[Symbol]) -> str:
        """SHA-256 of the definitions of the symbols."""
        sha = hashlib.sha256()
        for module, name in sorted(symbols):
            sha.update(f"{module}.{name}\n".encode())
            for statement in self._statements((module, name)):
                sha.update(_dumped(statement))
        return sha.hexdigest()

    def attributes(self, symbols: Iterable[Symbol]) -> set[str]:
        """Every attribute that the definitions of the symbols ask something for, as ``b`` in ``a.b``."""
        return {name for symbol in symbols for tree in self._statements(symbol) for _, name in _names(tree) if name}

    def _statements(self, symbol: Symbol) -> list[ast.stmt]:
        module = self._module(symbol[0])
        assert module is not None
        if symbol[1] == "*":
            return [*module.effects, *(s for name in sorted(module.statements) for s in module.statements[name])]
        return [*module.effects, *module.statements.get(symbol[1], [])]

    def _mentioned(self, symbol: Symbol) -> Iterator[Symbol]:
        """The symbols that the definition of a symbol names directly."""
        module = self._module(symbol[0])
        assert module is not None
        if symbol[1] in module.imports:
            yield module.imports[symbol[1]]  # passed on from another module
        elif symbol[1] == "*":
            yield from module.imports.values()
        for statement in self._statements(symbol):
            for name, attribute in _names(statement):
                if name in module.imports:
                    origin, imported = module.imports[name]
                    yield (origin, attribute) if imported == "*" and attribute else (origin, imported)
                elif name in module.statements:
                    yield symbol[0], name

    def _module(self, name: str) -> Module | None:
        if name not in self._modules:
            self._modules[name] = self._read(name)
        return self._modules[name]

    def _read(self, name: str) -> Module | None:
        if name.split(".")[0] not in self.packages:
            return None
        path = self.folder.joinpath(*name.split("."))
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if not file.is_file():
            return None
        package = name if path.is_dir() else name.rpartition(".")[0]
        tree = _parsed(file.read_text(encoding="utf-8"))
        module = Module()
        for statement in tree.body:
            if isinstance(statement, (ast.Import, ast.ImportFrom)):
                continue
            bound = list(_bound(statement))
            for target in bound:
                module.statements.setdefault(target, []).append(statement)
            if not bound:
                module.effects.append(statement)
        for node in _import_statements(tree):
            module.imports.update(self._imports(node, package))
        return module

    def _imports(self, node: ast.AST, package: str) -> Iterator[tuple[str, Symbol]]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] in self.packages:
                    yield alias.asname or alias.name, (alias.name, "*")
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = parts[: len(parts) - node.level + 1] if node.level else []
            origin = ".".join([*base, *filter(None, [node.module])])
            if origin.split(".")[0] in self.packages:
                for alias in node.names:
                    submodule = self._is_module(f"{origin}.{alias.name}")
                    yield (
                        alias.asname or alias.name,
                        (f"{origin}.{alias.name}", "*")
                        if submodule
                        else (
                            origin,
                            alias.name,
                        ),
                    )

    def _is_module(self, name: str) -> bool:
        path = self.folder.joinpath(*name.split("."))
        return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def digest_of_files(root: Path = ROOT, folders: tuple[str, ...] = CPP_FOLDERS) -> str:
    """SHA-256 of the files under some folders of the project, names and contents, but for those FOR_CUDA."""
    sha = hashlib.sha256()
    for folder in folders:
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and not any(map(FOR_CUDA.search, path.relative_to(root).parts)):
                sha.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
    return sha.hexdigest()


def _inside(module: str, packages: Iterable[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


@cache
def _names(statement: ast.stmt) -> tuple[tuple[str, str], ...]:
    """Every name in a statement, with the attribute asked of it; "" for an attribute without name, or the reverse."""
    return tuple(_find_names(statement))


def _find_names(statement: ast.stmt) -> Iterator[tuple[str, str]]:
    for node in ast.walk(statement):
        if isinstance(node, ast.Attribute):
            yield _dotted(node.value), node.attr
        elif isinstance(node, ast.Name):
            yield node.id, ""
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"\w+", node.value):
            yield node.value, ""  # a quoted annotation
        elif isinstance(node, ast.ImportFrom):
            yield from ((alias.asname or alias.name, "") for alias in node.names)


def _dotted(node: ast.expr) -> str:
    """``a.b.c`` of such an expression; "" of any other."""
    if isinstance(node, ast.Name):
        return node.id
    owner = _dotted(node.value) if isinstance(node, ast.Attribute) else ""
    return f"{owner}.{node.attr}" if owner and isinstance(node, ast.Attribute) else ""


def _bound(statement: ast.stmt) -> Iterator[str]:
    """The names that a top-level statement binds or changes, inside ``if`` and ``try`` too."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield statement.name
        return
    for node in ast.walk(statement):
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, (ast.AnnAssign, ast.AugAssign)):
            targets = [node.target]
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        for target in targets:
            yield from (inner.id for inner in ast.walk(target) if isinstance(inner, ast.Name))


@cache
def _dumped(statement: ast.stmt) -> bytes:
    return ast.dump(statement).encode() + b"\n"


@cache
def _import_statements(tree: ast.Module) -> tuple[ast.stmt, ...]:
    """At the top and inside functions."""
    return tuple(node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom)))


@cache
def _parsed(text: str) -> ast.Module:
    """Without docstrings and other statements that are a string alone."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            continue
        node.body = [s for s in body if not _is_text(s)] or [ast.Pass()]  # type: ignore[attr-defined]
    if tree.body and isinstance(tree.body[0], ast.Pass):
        tree.body = tree.body[1:]
    return tree


def _is_text(statement: ast.AST) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
