from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from router.errors import ArtifactError
from router.predict import Predictor
from router.predict import artifact as artifacts
from router.predict.artifact import Artifact, load, save
from router.predict.evaluate import TrainReport

WHEN = "2026-01-01T00:00:00+00:00"


@pytest.fixture
def small() -> Artifact:
    return Artifact(manifest={"models": ["a", "b"], "promoted": False}, arrays={"x": np.arange(3.0), "y": np.eye(2)})


@pytest.fixture
def saved(small: Artifact, tmp_path: Path) -> Path:
    save(small, tmp_path / "artifact", created=WHEN)
    return tmp_path / "artifact"


def reseal(directory: Path, **changes: object) -> None:
    """Change a manifest and give it a fitting hash again, as someone who knows the format would."""
    manifest = json.loads((directory / "manifest.json").read_text()) | changes
    manifest["arrays_sha256"] = hashlib.sha256((directory / "arrays.npz").read_bytes()).hexdigest()
    manifest["sha256"] = artifacts._manifest_hash(manifest)
    (directory / "manifest.json").write_text(json.dumps(manifest))


def test_what_is_saved_is_loaded(small: Artifact, saved: Path) -> None:
    loaded = load(saved)
    assert loaded.manifest["models"] == ["a", "b"]
    assert loaded.sha256 == small.sha256
    np.testing.assert_array_equal(loaded.arrays["y"], np.eye(2))


def test_the_hash_leaves_out_when_it_was_made(small: Artifact, tmp_path: Path) -> None:
    first = save(small, tmp_path / "one", created=WHEN)
    second = save(small, tmp_path / "two", created="2027-05-05T00:00:00+00:00")
    assert first == second == small.sha256
    assert (tmp_path / "one/arrays.npz").read_bytes() == (tmp_path / "two/arrays.npz").read_bytes()


def flip_a_byte(directory: Path) -> None:
    path = directory / "arrays.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def plant_a_pickle(directory: Path) -> None:
    np.savez(directory / "arrays.npz", x=np.array([{"any": "object"}], dtype=object))
    reseal(directory)


def promote(directory: Path) -> None:
    path = directory / "manifest.json"
    path.write_text(path.read_text().replace('"promoted": false', '"promoted": true'))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip_a_byte, "altered or cut short"),
        (lambda d: (d / "arrays.npz").write_bytes((d / "arrays.npz").read_bytes()[:-10]), "altered or cut short"),
        (lambda d: (d / "arrays.npz").unlink(), "cannot be read"),
        (lambda d: (d / "manifest.json").unlink(), "cannot be read"),
        (lambda d: (d / "manifest.json").write_text("{"), "not readable as JSON"),
        (lambda d: (d / "manifest.json").write_text("[1]"), "artifact format 'list'"),
        (lambda d: (d / "manifest.json").write_text('{"format": 1}'), "artifact format 1, this version reads 2"),
        (lambda d: (d / "manifest.json").write_bytes(b"\xff\xfe"), "not readable as JSON"),
        (promote, "altered"),
        (plant_a_pickle, "something else than plain arrays"),
    ],
    ids=[
        "byte",
        "cut",
        "no arrays",
        "no manifest",
        "half JSON",
        "list",
        "version",
        "binary",
        "promoted by hand",
        "pickle",
    ],
)
def test_a_damaged_artifact_is_refused_in_one_sentence_with_the_remedy(
    saved: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(saved)
    with pytest.raises(ArtifactError) as caught:
        load(saved)
    assert message in str(caught.value)
    assert "clearbar train" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_a_path_that_is_no_directory_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "artifact"
    if kind == "file":
        path.write_text("hello")
    with pytest.raises(ArtifactError, match="clearbar train"):
        load(path)


def test_an_artifact_without_the_needed_arrays_is_refused(saved: Path) -> None:
    with pytest.raises(ArtifactError, match=r"incomplete .* clearbar train"):
        Predictor.load(saved)


def test_saving_replaces_an_older_artifact_and_leaves_nothing_beside_it(small: Artifact, saved: Path) -> None:
    newer = Artifact(manifest={**small.manifest, "seed": 7}, arrays=small.arrays)
    save(newer, saved, created=WHEN)
    assert load(saved).manifest["seed"] == 7
    assert [path.name for path in saved.parent.iterdir() if "artifact" in path.name] == ["artifact"]


def test_saving_refuses_a_directory_with_other_content(small: Artifact, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ArtifactError, match=r"holds other files \(notes\.txt\)"):
        save(small, tmp_path, created=WHEN)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_an_artifact_beside_someones_notes_is_not_replaced(small: Artifact, saved: Path) -> None:
    (saved / "notes.txt").write_text("mine")
    with pytest.raises(ArtifactError, match=r"notes\.txt"):
        save(small, saved, created=WHEN)
    assert (saved / "notes.txt").read_text() == "mine"


def test_saving_over_a_file_is_refused(small: Artifact, tmp_path: Path) -> None:
    path = tmp_path / "artifact"
    path.write_text("hello")
    with pytest.raises(ArtifactError, match="not a directory"):
        save(small, path, created=WHEN)


def test_a_trained_artifact_predicts_the_same_after_a_round_trip(
    trained: tuple[Artifact, TrainReport], tmp_path: Path
) -> None:
    artifact, _ = trained
    save(artifact, tmp_path / "artifact", created=WHEN)
    before, after = Predictor(artifact), Predictor.load(tmp_path / "artifact")
    assert after.version == before.version == artifact.sha256[:12]
    assert after.predict("prove the rivers 3", "proofs") == before.predict("prove the rivers 3", "proofs")
    assert sum(path.stat().st_size for path in (tmp_path / "artifact").iterdir()) < 5_000_000
