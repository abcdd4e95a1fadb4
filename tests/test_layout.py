"""The layout's rules: imports point down and form no circle, and only ``src/python`` names PyO3."""

from __future__ import annotations

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "python" / "flask_fernet"
CRATE = ROOT / "src"

Graph = dict[str, set[str]]

#: Modules and packages from the bottom up. A module imports from its own level and from below.
PYTHON_LEVELS = [
    ["driver", "errors", "fernet", "log", "signals", "times", "tracebacks"],
    ["settings"],
    ["keys", "stores.protocol"],
    ["stores.by_loop", "stores.connections", "stores.memory", "stores.table"],
    ["stores.redis_exchanges", "stores.sql_errors", "stores.sql_statements"],
    ["stores.sql_runners"],
    ["stores.async_redis", "stores.redis", "stores.sql"],
    ["stores.async_sql"],
    ["stores.redis_urls", "stores.sql_urls"],
    ["stores.urls", "testing.contracts"],
    ["stored.records"],
    ["stored.state", "stored.feed", "stored.merging", "stored.outage"],
    ["stored.ghost", "stored.exchange"],
    ["stored.changes", "stored.owners"],
    ["sessions.app_memory", "sessions.lifetimes", "sessions.signed"],
    ["sessions.followed_rings", "sessions.salts", "sessions.storage"],
    ["sessions.session"],
    ["sessions.key_sources", "sessions.policy"],
    ["sessions.payload", "sessions.serializer"],
    ["sessions.stored_reading"],
    ["sessions.storing"],
    ["sessions.users"],
    ["sessions.opening", "sessions.saving"],
    ["sessions.configuration", "sessions.fallback", "sessions.readiness"],
    ["sessions.interface"],
    ["metrics", "quart", "sessions.inspection", "sessions.maintenance", "testing.tester"],
    ["testing.plugin"],
    ["doctor"],
    ["cli"],
]
RUST_LEVELS = [
    ["compress", "http_date", "search"],
    ["cookie", "json"],
    ["token"],
    ["keys"],
    ["python::unhandled", "python::scalar", "python::dict", "python::memory"],
    ["python::panics"],
    ["python::call"],
    ["python::clock", "python::errors"],
    ["python::codec", "python::fernet", "python::keys"],
    ["python::flask"],
    ["python::session::compression", "python::session::policy", "python::session::provenance",
     "python::session::settings_snapshot"],
    ["python::session::counters", "python::session::policy_cache", "python::session::set_cookie"],
    ["python::session::resolved_policy"],
    ["python::session::state"],
    ["python::session::resolve"],
    ["python::session::open", "python::session::save"],
    ["python::session::interface"],
]  # fmt: skip
#: Files that only list modules, or wire them together.
WIRING = {
    *("", "python", "python::session"),
    *(
        "flask_fernet",
        "flask_fernet.sessions",
        "flask_fernet.stored",
        "flask_fernet.stores",
        "flask_fernet.testing",
    ),
}


def python_imports() -> Graph:
    """The modules of the package that each module imports, also for type checking only."""
    modules = {module_name(path): path for path in PACKAGE.rglob("*.py")}
    graph: Graph = {}
    for name, path in modules.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        graph[name] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1])
                base = f"{base}.{node.module}" if node.module else base
                found = {f"{base}.{alias.name}" for alias in node.names} | {base}
                imported = {target for target in found if target in modules}
                # `from . import settings` names the package only to reach the module.
                graph[name] |= imported - ({base} if len(imported) > 1 else set()) - {name}
    return graph


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def rust_imports() -> Graph:
    """The files of the crate that each file names, its tests left out."""
    files = {rust_path(file): file for file in CRATE.rglob("*.rs")}
    graph: Graph = {}
    for path, file in files.items():
        code = file.read_text().partition("#[cfg(test)]")[0]
        code = re.sub(r"//[^\n]*", "", code)
        graph["::".join(path)] = {
            "::".join(target)
            for words in named_paths(code)
            if (target := resolve(path, words, files)) and target != path
        }
    return graph


def rust_path(file: Path) -> tuple[str, ...]:
    parts = file.relative_to(CRATE).with_suffix("").parts
    return parts[:-1] if parts[-1] in ("mod", "lib") else parts


def named_paths(code: str) -> list[list[str]]:
    """Every path in the code that begins with ``crate`` or ``super``, groups taken apart."""
    found = []
    for match in re.finditer(r"\b(?:crate|super)(?:::\w+)*(?:::\{([^;]*?)\})?", code):
        words = re.split(r"::\{", match.group(0))[0].split("::")
        group = match.group(1) or ""
        # Each name of a group, with the path that may precede it.
        names = [name.strip().split(" as ")[0] for name in group.split(",")] if group else [""]
        found += [[*words, *name.split("::")] for name in names]
    return found


def resolve(
    at: tuple[str, ...], words: list[str], files: dict[tuple[str, ...], Path]
) -> tuple[str, ...] | None:
    """The file that defines a named path; ``None`` if that is the crate's or the file's root."""
    path: tuple[str, ...] = () if words[0] == "crate" else at
    for word in words:
        if word == "super":
            path = path[:-1]
        elif word not in ("crate", ""):
            path = (*path, word)
    while path and path not in files:
        path = path[:-1]
    return path or None


@pytest.mark.parametrize("graph", [python_imports(), rust_imports()], ids=["Python", "Rust"])
def test_imports_form_no_circle(graph: Graph) -> None:
    assert sum(map(len, graph.values())) > len(graph), "the imports were not found"
    try:
        TopologicalSorter({name: graph[name] for name in graph.keys() - WIRING}).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def level_of(name: str, levels: list[list[str]], separator: str) -> int:
    """The level of a module, or of the package that it is in."""
    parts = name.removeprefix("flask_fernet.").split(separator)
    for length in range(len(parts), 0, -1):
        for number, level in enumerate(levels):
            if separator.join(parts[:length]) in level:
                return number
    raise AssertionError(f"{name} has no level: give it one")


@pytest.mark.parametrize(
    ("graph", "levels", "separator"),
    [(python_imports(), PYTHON_LEVELS, "."), (rust_imports(), RUST_LEVELS, "::")],
    ids=["Python", "Rust"],
)
def test_imports_point_down(graph: Graph, levels: list[list[str]], separator: str) -> None:
    upward = [
        f"{name} imports {target}"
        for name, targets in graph.items()
        for target in targets - WIRING
        if name not in WIRING
        and name != "test_vectors"
        and level_of(target, levels, separator) > level_of(name, levels, separator)
    ]
    assert upward == []


def test_no_module_names_its_own_package_absolutely() -> None:
    """Every import within the package is relative, so that the graph above is whole."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            assert not any(name.partition(".")[0] == "flask_fernet" for name in names), path


def test_a_circle_is_found() -> None:
    with pytest.raises(CycleError):
        TopologicalSorter({"a": {"b"}, "b": {"c"}, "c": {"a"}}).prepare()


def test_only_the_boundary_names_pyo3() -> None:
    named = {
        file.relative_to(CRATE).parts[0]
        for file in CRATE.rglob("*.rs")
        if "pyo3" in file.read_text()
    }
    assert named <= {"python", "lib.rs"}


def test_every_native_function_turns_its_panics_into_errors() -> None:
    """A panic that is not guarded reaches an app as a ``BaseException`` with the panic's message.
    Functions of one expression, which hand out or make an object, need no guard.
    """
    guarded, unguarded = [], []
    for file in (CRATE / "python").rglob("*.rs"):
        code = file.read_text().partition("#[cfg(test)]")[0]
        for block in re.findall(r"^#\[py(?:methods|function)\].*?^\}", code, re.M | re.S):
            functions = r"^( *)(?:pub\(crate\) |const )*fn (\w+).*?\{\n(.*?)^\1\}"
            for _, name, body in re.findall(functions, block, re.M | re.S):
                if "guarded(" in body:
                    guarded.append(name)
                # The interpreter's collector calls the first, and only visits objects.
                elif name != "__traverse__" and ";" in body.strip().removesuffix(";"):
                    unguarded.append((file.name, name))
    assert not [one for one in unguarded if one[0] != "test_support.rs"]
    assert len(guarded) > 35


def test_no_tag_is_compared_with_an_operator() -> None:
    """An operator ends at the first byte that differs. Key hints are no secret."""
    compared = re.compile(r"\b(?:mac|tag)\b[^;{\n]*[=!]=|[=!]=[^;{\n]*\b(?:mac|tag)\b")
    assert compared.search("if tag == other")
    assert compared.search("a != self.mac")
    for file in [*(CRATE / "token").glob("*.rs"), *(CRATE / "keys").glob("*.rs")]:
        code = file.read_text().partition("#[cfg(test)]")[0]
        assert not compared.search(re.sub(r"//[^\n]*", "", code)), file.name


def test_key_rings_know_no_flask() -> None:
    for file in (PACKAGE / "keys").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not any(name.partition(".")[0] == "flask" for name in names), file
