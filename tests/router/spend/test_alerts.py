"""Alerts reach real servers once, are tried again, say when they are over, and carry neither text nor secrets."""

from __future__ import annotations

import json
import logging
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import router
from router.cli import cli
from router.spend.alerts import Alert, Alerts, Message
from router.spend.ledger import Ledger
from router.spend.sinks import DeliveryError, Sink
from router.spend.watch import Watch

SECOND = 1_000_000
HOUR = 3_600 * SECOND
HI = [{"role": "user", "content": "xylophone"}]
ONE = Alert(key="k", source="runs", text="run <r> & more", details={"run_id": "r"})


class Hook:
    """An HTTP server on this machine that answers as it is told and keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.answers: list[int] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = hook.answers.pop(0) if hook.answers else 200
                if status == 200:
                    hook.heard.append(json.loads(body))
                self.send_response(status)
                self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/secret-path"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class MailServer(socketserver.ThreadingTCPServer):
    """As much of SMTP (RFC 5321) as a mail needs."""

    allow_reuse_address = True

    def __init__(self, refuses: bool = False) -> None:
        self.mails: list[str] = []
        self.refuses = refuses
        super().__init__(("127.0.0.1", 0), MailHandler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class MailHandler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, MailServer)
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline().decode().strip():
            verb = line.split()[0].upper()
            if verb == "DATA":
                self.wfile.write(b"354 go on\r\n")
                lines = []
                while (text := self.rfile.readline().decode().rstrip("\r\n")) != ".":
                    lines.append(text)
                self.server.mails.append("\n".join(lines))
            if verb == "QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            refused = verb == "RCPT" and self.server.refuses
            self.wfile.write(b"550 nobody here\r\n" if refused else b"250 fine\r\n")


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    made = Hook()
    monkeypatch.setenv("HOOK_URL", made.url)
    yield made
    made.close()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path / "state" / "ledger.sqlite3")
    yield made
    made.close()


def webhook(name: str = "hook", **fields: Any) -> Sink:
    return Sink(kind="webhook", name=name, url_env="HOOK_URL", **fields)


def tell(alerts: Alerts, sink: Sink, now_us: int) -> tuple[int, list[str]]:
    return alerts.deliver({sink.name: sink.send}, now_us)


def test_a_webhook_hears_of_an_alert_once_and_of_its_end(ledger: Ledger, hook: Hook) -> None:
    sink, alerts = webhook(), ledger.alerts
    assert alerts.raise_([ONE], {"hook": ["runs"]}, 0) == [ONE]
    assert alerts.raise_([ONE], {"hook": ["runs"]}, 1) == []
    assert tell(alerts, sink, 2) == (1, []) and tell(alerts, sink, 3) == (0, [])
    alerts.end(["k"], 4 * SECOND)
    alerts.end(["k"], 5 * SECOND)
    assert tell(alerts, sink, 5 * SECOND) == (1, [])
    first, last = hook.heard
    assert first == {"version": 1, "event": "alert", "source": "runs", "key": "k", "text": "run <r> & more",
                     "at": 0.0, "details": {"run_id": "r"}}  # fmt: skip
    assert (last["event"], last["text"], last["at"]) == ("recovered", "over: run <r> & more", 4.0)
    assert alerts.open() == []
    assert alerts.raise_([ONE], {"hook": ["runs"]}, 6 * SECOND) == [ONE]  # it may come again


def test_a_message_that_fails_is_sent_again_later_and_given_up_after_a_day(ledger: Ledger, hook: Hook) -> None:
    sink, alerts = webhook(), ledger.alerts
    alerts.raise_([ONE], {"hook": ["runs"]}, 0)
    hook.answers = [500, 302]
    assert tell(alerts, sink, 0) == (0, ["hook: the server at HOOK_URL answered 500"])
    assert tell(alerts, sink, 29 * SECOND) == (0, [])
    assert tell(alerts, sink, 30 * SECOND) == (0, ["hook: the server at HOOK_URL answered 302"])
    assert tell(alerts, sink, 91 * SECOND) == (1, [])
    alerts.raise_([Alert(key="other", source="runs", text="")], {"hook": ["runs"]}, 0)
    hook.answers = [503] * 100
    at_us, tries = 0, 0
    while tell(alerts, sink, at_us)[1]:
        tries += 1
        at_us += HOUR
    assert tries == 25


def test_a_sink_hears_only_of_what_it_wants_and_one_that_fails_stops_no_other(ledger: Ledger, hook: Hook) -> None:
    wants = {"hook": ["runs"], "budgets only": ["budgets"], "broken": ["runs"]}
    ledger.alerts.raise_([ONE], wants, 0)
    sinks = [webhook(), webhook("budgets only"), Sink(kind="webhook", name="broken", url_env="UNSET_URL")]
    sent, wrong = ledger.alerts.deliver({one.name: one.send for one in sinks}, 1)
    assert (sent, wrong) == (1, ["broken: the environment variable UNSET_URL is not set"])


def test_processes_that_watch_one_ledger_tell_it_once(ledger: Ledger, hook: Hook, tmp_path: Path) -> None:
    others = [Ledger(tmp_path / "state" / "ledger.sqlite3") for _ in range(4)]
    found = [Alert(key=str(number), source="runs", text=str(number)) for number in range(20)]

    def look(one: Ledger) -> None:
        for alert in found:
            one.alerts.raise_([alert], {"hook": ["runs"]}, 0)
            tell(one.alerts, webhook(), 1)

    threads = [threading.Thread(target=look, args=(one,)) for one in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one["key"] for one in hook.heard) == sorted(one.key for one in found)
    for one in others:
        one.close()


def test_slack_gets_one_text_without_marks_of_its_own(hook: Hook) -> None:
    sink = Sink(kind="slack", name="s", url_env="HOOK_URL")
    sink.send(Message(alert=ONE, is_over=False, at_us=0))
    sink.send(Message(alert=ONE, is_over=True, at_us=0))
    assert hook.heard == [
        {"text": ":warning: *runs* run &lt;r&gt; &amp; more"},
        {"text": ":white_check_mark: *runs* over: run &lt;r&gt; &amp; more"},
    ]


def test_a_mail_reaches_its_server_and_a_refusal_is_said() -> None:
    server, strict = MailServer(), MailServer(refuses=True)
    for one in (server, strict):
        sink = Sink(kind="email", name="m", host="127.0.0.1", port=one.server_address[1], security="none",
                    sender="c@example.org", to=("a@example.org", "b@example.org"))  # fmt: skip
        message = Message(alert=Alert(key="k", source="runs", text="two\nlines"), is_over=False, at_us=0)
        if one is strict:
            with pytest.raises(
                DeliveryError, match=r"the mail server 127.0.0.1 did not take it \(SMTPRecipientsRefused"
            ):
                sink.send(message)
        else:
            sink.send(message)
        one.shutdown()
        one.server_close()
    (mail,) = server.mails
    assert "Subject: [clearbar] two lines" in mail and "To: a@example.org, b@example.org" in mail
    assert '"source": "runs"' in mail


def test_no_secret_stands_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    sink = webhook()
    for url in ("http://127.0.0.1:9/hunter2", "file:///hunter2", "http://[hunter2"):
        monkeypatch.setenv("HOOK_URL", url)
        with pytest.raises(DeliveryError) as caught:
            sink.send(Message(alert=ONE, is_over=False, at_us=0))
        assert "hunter2" not in str(caught.value) and "HOOK_URL" in str(caught.value)


def test_the_log_is_a_sink(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "router.alerts"):
        Sink(kind="log", name="log").send(Message(alert=ONE, is_over=False, at_us=0))
    assert caplog.messages == ["runs: run <r> & more"]


POLICY = """
version: 1
models: [{id: m, call: fake/m, price: {input: 1, output: PRICE}, max_output_tokens: 10}]
rules: [{candidates: [m], strategy: fixed}]
breaker: on
budgets: [{name: small, limit_usd: 0.0001, window: day, at: {10%: notify}}]
alerts: [{sink: webhook, url_env: HOOK_URL}]
"""


def serve(tmp_path: Path, price: str, calls: int, run_id: str | None = None) -> None:
    (tmp_path / "p.yaml").write_text(POLICY.replace("PRICE", price), encoding="utf-8")
    with router.Router(tmp_path / "p.yaml", tmp_path / "state", router.FakeTransport({"m": "a b c"})) as one:
        for _ in range(calls):
            try:
                one.complete(HI, workflow="w", run_id=run_id)
            except router.RunStoppedError:
                return


def watch(tmp_path: Path, *more: str) -> Any:
    options = ["--policy", str(tmp_path / "p.yaml"), "--state", str(tmp_path / "state")]
    return CliRunner().invoke(cli, ["spend", "watch", "--once", *options, *more])


def test_a_crossed_budget_a_stopped_run_and_a_changed_price_are_told(tmp_path: Path, hook: Hook) -> None:
    serve(tmp_path, "2", 20, run_id="r")
    done = watch(tmp_path)
    assert done.exit_code == 0, done.output
    assert "budget small (everything) reached 10% of $0.0001: notify" in done.stdout
    assert "run r of workflow w is stopped: 8 calls in a row" in done.stdout
    assert sorted(one["source"] for one in hook.heard) == ["budgets", "runs"]
    assert "xylophone" not in json.dumps(hook.heard)
    assert watch(tmp_path).stdout == ""
    serve(tmp_path, "3", 1)
    assert "model m is billed at another price: output $2 -> $3 a million tokens" in watch(tmp_path).stdout
    assert watch(tmp_path).stdout == "" and len(hook.heard) == 3  # a price is news, and is never over
    CliRunner().invoke(cli, ["budget", "release", "r", "--state", str(tmp_path / "state")])
    assert watch(tmp_path).stdout == ""
    assert (hook.heard[-1]["event"], hook.heard[-1]["source"]) == ("recovered", "runs")
    shown = CliRunner().invoke(cli, ["spend", "alerts", "--state", str(tmp_path / "state")]).stdout
    assert "budgets: budget small" in shown and "runs:" not in shown


def test_a_budget_is_over_with_its_window_and_an_anomaly_when_it_is_quiet(tmp_path: Path, ledger: Ledger) -> None:
    from router.policy import load_policy

    serve(tmp_path, "2", 3)
    policy = load_policy(tmp_path / "p.yaml")
    heard: list[Message] = []

    class Ear(Sink):
        def send(self, message: Message) -> None:
            heard.append(message)

    watcher = Watch(ledger, [Ear(kind="log", name="ear")], policy.budgets.each)
    watcher.once()
    import time

    now_us = time.time_ns() // 1000
    ledger.alerts.raise_(
        [Alert(key="a", source="anomalies", text="x", details={"kind": "sudden"})], {"ear": ["anomalies"]}, now_us
    )
    watcher.once(now_us + 25 * HOUR)
    assert [(one.alert.source, one.is_over) for one in heard] == [
        ("budgets", False), ("anomalies", False), ("budgets", True), ("anomalies", True),
    ]  # fmt: skip


def test_who_has_no_sinks_is_told_how_to_get_one(tmp_path: Path, ledger: Ledger) -> None:
    (tmp_path / "p.yaml").write_text(POLICY.replace("PRICE", "1").partition("alerts")[0])
    assert "add `alerts: [{sink: log}]`" in watch(tmp_path).output


def test_anomalies_says_when_all_is_as_usual(tmp_path: Path, ledger: Ledger) -> None:
    done = CliRunner().invoke(cli, ["spend", "anomalies", "--json", "--state", str(tmp_path / "state")])
    assert (done.exit_code, json.loads(done.stdout)) == (0, [])
