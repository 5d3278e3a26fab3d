"""Imports go one way, in no circle, and each heavy library enters through one file."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LEVELS = [
    ["router.errors", "router.types", "router.decisions", "router._version"],
    [
        "router.answers",
        "router.bounds",
        "router.config",
        "router.embedding",
        "router.entities",
        "router.findings",
        "router.language",
        "router.outcomes",
        "router.plain_files",
        "router.redact",
        "router.stores",
        "router.tokens",
        "router.validation",
        "router.verify",
    ],
    ["router.spend"],
    ["router.policy"],
    ["router.predict", "router.select", "router.cache", "router.flow"],
    ["router.transports"],
    ["router.canaries", "router.pace", "router.sessions", "router.shadows"],
    ["router.climb", "router.warmth"],
    ["router.learned", "router.offers", "router.facts"],
    ["router.route", "router.foreseen", "router.asked_first", "router.asked_after"],
    ["router.decide", "router.hindsight", "router.inventory", "router.replay", "router.estimate"],
    ["router.trial_run"],
    ["router.net_savings"],
    ["router._request", "router._calls", "router._caches", "router._stream", "router._books"],
    ["router.simulate"],
    ["router._purse"],
    ["router._shading"],
    ["router._shadows"],
    ["router._journey"],
    ["router._kit", "router._drive"],
    ["router._reload", "router.deferred"],
    ["router._router", "router.reproduce", "router._warm_up"],
    ["router._api"],
    ["router"],
    ["router.cli"],
]
ONE_DOOR = {
    "litellm": "router/transports/litellm.py",
    "sklearn": "router/predict/fit.py",
    "diskcache": "router/stores/disk.py",
    "xllamacpp": "router/transports/local_server.py",
    "onnxruntime": "router/embedding/minilm.py",
    "tokenizers": "router/embedding/pieces.py",
    "datasets": "evals/sources/hub.py",
    "ragas": "evals/scorers/ragas.py",
    "genai_prices": "router/spend/prices/installed.py",
    "cryptography": "router/policy/signing.py",
    "spacy": "router/entities.py",
}
FOR_EVALS = (
    "router",
    "router.answers",
    "router.bounds",
    "router.outcomes",
    "router.config",
    "router.validation",
    "router.errors",
    "router.types",
    "router.tokens",
    "router.redact",
    "router.verify",
    "router.spend.texts",
    "router.cli.lazy",
    "router.embedding",
)


def sources(package: str) -> dict[str, Path]:
    """Module name -> file, for every module of a package."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted((ROOT / package).rglob("*.py"))
    }


def imports(path: Path) -> set[str]:
    """Every module a file imports, also inside functions; imports for type checkers alone do not run."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    unrun = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if node in unrun:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {_module(node.module, alias.name) for alias in node.names}
    return found


def _module(package: str, name: str) -> str:
    """`from router import flow` means the module `router.flow`; `from router import Router` the page `router`."""
    inner = ROOT.joinpath(*package.split("."), name)
    return f"{package}.{name}" if inner.with_suffix(".py").is_file() or inner.is_dir() else package


def level(module: str) -> int:
    """The row of LEVELS that a module belongs to, by its longest listed prefix."""
    fits = [
        (len(name), row)
        for row, names in enumerate(LEVELS)
        for name in names
        if module == name or (name != "router" and module.startswith(name + "."))
    ]
    assert fits, f"{module} stands in no level; give it one"
    return max(fits)[1]


def test_router_modules_import_only_from_their_own_level_or_below() -> None:
    modules = sources("router")
    wrong = [
        f"{module} (level {level(module)}) imports {target} (level {level(target)})"
        for module, path in modules.items()
        for target in imports(path) & set(modules)
        if level(target) > level(module)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", ["router", "evals"])
def test_no_module_imports_itself_in_a_circle(package: str) -> None:
    modules = sources(package)
    edges = {
        # `from router.policy import X` names the package; what matters is the file that it lands in.
        name: {
            target for target in imports(path) & set(modules) if target != name and not name.startswith(target + ".")
        }
        for name, path in modules.items()
    }
    seen: set[str] = set()

    def walk(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join([*trail[trail.index(name) :], name])
        if name not in seen:
            for target in edges[name]:
                walk(target, (*trail, name))
            seen.add(name)

    for name in modules:
        walk(name, ())


def test_router_never_imports_evals_and_evals_sees_only_the_public_router() -> None:
    assert not [name for name, path in sources("router").items() if any(t.startswith("evals") for t in imports(path))]
    inner = set(sources("router")) - set(FOR_EVALS)
    wrong = {name: imports(path) & inner for name, path in sources("evals").items() if imports(path) & inner}
    assert not wrong


@pytest.mark.parametrize("library", ONE_DOOR)
def test_a_heavy_library_is_imported_in_one_file(library: str) -> None:
    found = [
        str(path.relative_to(ROOT))
        for package in ("router", "evals")
        for path in sources(package).values()
        if any(target == library or target.startswith(library + ".") for target in imports(path))
    ]
    assert found == [ONE_DOOR[library]]
