"""Files that hold what people wrote are their owner's alone."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from router.errors import StoreError
from router.stores.private import keep_folder_private, keep_private

pytestmark = pytest.mark.skipif(os.name != "posix", reason="rights of POSIX")
BOTH = pytest.mark.parametrize(("keep", "mode"), [(keep_private, 0o600), (keep_folder_private, 0o700)])
Keep = Callable[[Path], None]


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@BOTH
def test_what_is_made_is_its_owners_alone(tmp_path: Path, keep: Keep, mode: int) -> None:
    keep(tmp_path / "state" / "it")
    assert mode_of(tmp_path / "state" / "it") == mode


@BOTH
def test_what_others_could_open_is_closed_to_them_and_said(
    tmp_path: Path, keep: Keep, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    keep(tmp_path / "it")
    (tmp_path / "it").chmod(mode | 0o044)
    with caplog.at_level(logging.WARNING):
        keep(tmp_path / "it")
        keep(tmp_path / "it")
    assert mode_of(tmp_path / "it") == mode
    assert caplog.text.count("could be opened by others") == 1


@BOTH
@pytest.mark.parametrize("is_dangling", [False, True])
def test_a_link_is_refused_and_followed_by_nobody(tmp_path: Path, keep: Keep, mode: int, is_dangling: bool) -> None:
    elsewhere = tmp_path / "elsewhere"
    if not is_dangling:
        keep(elsewhere)
    (tmp_path / "it").symlink_to(elsewhere)
    with pytest.raises(StoreError):
        keep(tmp_path / "it")
    assert elsewhere.exists() is not is_dangling
