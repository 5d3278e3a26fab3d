"""Where alerts are told: a webhook, Slack, e-mail, the log. Secrets come from environment variables, and stay there."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from router.errors import RouterError
from router.spend.alerts import SOURCES, Message

if TYPE_CHECKING:
    import smtplib  # it and urllib are loaded where something is sent: a policy that names a sink stays light

TIMEOUT_S = 10.0
log = logging.getLogger("router.alerts")


class DeliveryError(RouterError):
    """A sink could not be told; the message will be sent again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sink:
    """One place that wants to hear of alerts."""

    kind: Literal["webhook", "slack", "email", "log"]
    name: str
    on: tuple[str, ...] = SOURCES
    url_env: str | None = None
    """Variable with the URL, which may hold a secret."""
    host: str = ""
    port: int = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    sender: str = ""
    to: tuple[str, ...] = ()
    user_env: str | None = None
    password_env: str | None = None

    def send(self, message: Message) -> None:
        """Tell it.

        Raises:
            DeliveryError: it was not told; says why, without secrets.
        """
        if self.kind == "log":
            log.warning("%s: %s", message.alert.source, message.text)
        elif self.kind == "email":
            self._mail(message)
        else:
            self._post({"text": _slack(message)} if self.kind == "slack" else message.body)

    def _post(self, body: dict[str, Any]) -> None:
        import urllib.error
        import urllib.request

        class NoRedirect(urllib.request.HTTPRedirectHandler):
            """A redirected POST would become a GET, and tell its body to nobody, or to a stranger."""

            def redirect_request(self, *_: Any, **__: Any) -> None:
                """Follow none."""

        url = _of_environment(self.url_env or "")
        if not url.startswith(("https://", "http://")):
            raise DeliveryError(f"{self.url_env} holds no http(s) URL")
        data = json.dumps(body, default=str).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "clearbar"}
        try:
            request = urllib.request.Request(url, data, headers, method="POST")  # noqa: S310  http(s), as seen above
            with urllib.request.build_opener(NoRedirect()).open(request, timeout=TIMEOUT_S) as answer:
                status = answer.status
        except urllib.error.HTTPError as error:
            error.close()
            raise DeliveryError(f"the server at {self.url_env} answered {error.code}") from None
        except (OSError, ValueError) as error:
            # A URL's text may stand in the error's.
            raise DeliveryError(f"the server at {self.url_env} cannot be reached ({type(error).__name__})") from None
        if not 200 <= status < 300:
            raise DeliveryError(f"the server at {self.url_env} answered {status}")

    def _mail(self, message: Message) -> None:
        import smtplib
        from email.message import EmailMessage
        from email.utils import formatdate, make_msgid

        mail = EmailMessage()
        mail["From"], mail["To"] = self.sender, ", ".join(self.to)
        mail["Subject"] = " ".join(f"[clearbar] {message.text}".split())[:150]
        mail["Date"], mail["Message-ID"] = formatdate(message.at_us / 1e6), make_msgid(domain="clearbar")
        mail.set_content(f"{message.text}\n\n{json.dumps(message.body, indent=2, default=str)}\n")
        try:
            with self._server() as server:
                if self.user_env:
                    server.login(_of_environment(self.user_env), _of_environment(self.password_env or ""))
                server.send_message(mail)
        except smtplib.SMTPResponseException as error:
            raise DeliveryError(f"the mail server {self.host} answered {error.smtp_code}") from None
        except (OSError, smtplib.SMTPException) as error:
            raise DeliveryError(f"the mail server {self.host} did not take it ({type(error).__name__})") from None

    def _server(self) -> smtplib.SMTP:
        import smtplib
        import ssl

        context = ssl.create_default_context()
        if self.security == "tls":
            return smtplib.SMTP_SSL(self.host, self.port, timeout=TIMEOUT_S, context=context)
        server = smtplib.SMTP(self.host, self.port, timeout=TIMEOUT_S)
        if self.security == "starttls":
            try:
                server.starttls(context=context)
            except BaseException:
                server.close()
                raise
        return server


def _slack(message: Message) -> str:
    # What Slack would take for its own marks.
    text = message.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"{':white_check_mark:' if message.is_over else ':warning:'} *{message.alert.source}* {text}"


def _of_environment(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise DeliveryError(f"the environment variable {name} is not set")
    return value
