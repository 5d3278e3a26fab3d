"""The loopback provider's endpoints for files and batches."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from loopback_answers import CREATED

Ask = Callable[[dict[str, Any]], tuple[int, dict[str, Any]]]
"""Status and body of the answer to one line of a batch."""


class Batches:
    """OpenAI's files and batches. A batch stays `in_progress` until `state` says how batches end."""

    def __init__(self) -> None:
        self.state = "in_progress"
        self.files: dict[str, bytes] = {}
        self.made: dict[str, dict[str, Any]] = {}
        self.cancelled: list[str] = []

    def post(self, path: str, raw: bytes) -> bytes | None:
        """An upload, a new batch or its end; None: the path is not ours."""
        where = path.partition("?")[0].removeprefix("/v1/").split("/")
        if where == ["files"]:
            name = f"file-{len(self.files)}"
            content = next(part for part in raw.split(b"--" + raw[2 : raw.index(b"\r\n")]) if b"filename=" in part)
            self.files[name] = content.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
            told = {"id": name, "object": "file", "bytes": len(raw), "created_at": CREATED, "filename": "x.jsonl",
                    "purpose": "batch", "status": "processed"}  # fmt: skip
            return json.dumps(told).encode()
        if where == ["batches"]:
            name = f"batch-{len(self.made)}"
            self.made[name] = {**json.loads(raw), "id": name, "object": "batch", "created_at": CREATED}
            return self._told(name)
        if where[0] == "batches" and where[-1] == "cancel":
            self.cancelled.append(where[1])
            return self._told(where[1])
        return None

    def get(self, path: str, ask: Ask) -> bytes | None:
        """How batches stand, or a file."""
        where = path.partition("?")[0].removeprefix("/v1/").split("/")
        if where == ["batches"]:
            listed = [json.loads(self._told(name)) for name in reversed(self.made)]
            return json.dumps({"object": "list", "data": listed, "has_more": False}).encode()
        if where[0] == "batches":
            if self.state == "completed" and "output_file_id" not in self.made[where[1]]:
                self._answer(self.made[where[1]], ask)
            return self._told(where[1])
        return self.files[where[1]] if where[0] == "files" else None

    def _answer(self, batch: dict[str, Any], ask: Ask) -> None:
        lines: dict[bool, list[str]] = {True: [], False: []}
        for line in map(json.loads, self.files[batch["input_file_id"]].splitlines()):
            status, body = ask(line["body"])
            told = {"custom_id": line["custom_id"], "response": {"status_code": status, "body": body}}
            lines[status == 200].append(json.dumps(told, ensure_ascii=False))
        for name, is_good in (("output_file_id", True), ("error_file_id", False)):
            batch[name] = f"file-{len(self.files)}" if lines[is_good] else None
            if lines[is_good]:
                self.files[batch[name]] = "\n".join(lines[is_good]).encode()

    def _told(self, name: str) -> bytes:
        return json.dumps({**self.made[name], "status": self.state}).encode()
