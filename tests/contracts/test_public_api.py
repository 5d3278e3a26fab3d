"""What others rely on: the exported names, a light import, signatures."""

from __future__ import annotations

import inspect
import subprocess
import sys

import router

HEAVY = ("litellm", "sklearn", "numpy", "diskcache", "onnxruntime", "datasets", "ragas", "pyarrow", "pydantic", "yaml")


def test_all_names_are_sorted_and_there() -> None:
    assert router.__all__ == sorted(router.__all__)
    assert all(getattr(router, name) is not None for name in router.__all__)


def test_everything_public_on_the_page_is_listed() -> None:
    public = {
        name
        for name, value in vars(router).items()
        if not name.startswith("_") and not inspect.ismodule(value) and name not in ("TYPE_CHECKING", "Any")
    }
    assert public <= set(router.__all__)


def test_every_error_is_exported() -> None:
    from router import errors

    tree = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert tree <= set(router.__all__)


def test_complete_has_the_documented_signature() -> None:
    names = list(inspect.signature(router.complete).parameters)
    assert names == [
        "messages", "model", "task", "team", "feature", "workflow", "run_id", "customer", "agent", "environment",
        "tags", "bar", "max_cost_usd", "timeout_s", "stream", "cache", "openai_params",
    ]  # fmt: skip


def test_router_has_the_methods_of_the_module() -> None:
    for name in ("complete", "acomplete", "explain", "embed", "record_outcome", "record_feedback", "reject", "close",
                 "submit", "result", "run_batches"):  # fmt: skip
        assert callable(getattr(router.Router, name))


def test_import_router_loads_nothing_heavy() -> None:
    code = f"import sys, router; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_request_over_the_fake_transport_loads_neither_litellm_nor_scikit_learn(tmp_path: object) -> None:
    code = f"""
import pathlib, sys, router
folder = pathlib.Path({str(tmp_path)!r})
models = "models: {{a: {{call: fake/a}}}}"
(folder / "p.yaml").write_text("version: 1\\n" + models + "\\nrules: [{{candidates: a, strategy: fixed}}]")
with router.Router(folder / "p.yaml", folder / "state") as r:
    r.complete([{{"role": "user", "content": "hello"}}])
print([name for name in ("litellm", "sklearn", "pyarrow", "numpy", "tiktoken") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
