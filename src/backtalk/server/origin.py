"""Which web pages may talk to this server, and under which names it may be addressed.

A browser sends any page's requests to any server, this machine's included. Two headers it does not
let the page forge tell whose they are: `Origin` names the page, `Host` the server the page believes
to talk to. A page whose own name was made to point at 127.0.0.1 (DNS rebinding) shows in `Host`.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from backtalk.server.settings import ServerSettings, is_loopback


class OriginCheck:
    """Decides by a request's headers whether the page behind it, if any, may ask."""

    def __init__(self, settings: ServerSettings) -> None:
        self._allowed = frozenset(settings.allowed_origins)
        self._allowed_hosts = {urlsplit(origin).netloc for origin in settings.allowed_origins}
        # A page cannot know the token, so with one every Host is harmless (and a reverse proxy
        # on this machine may pass on the name it is known by).
        self._checks_host = settings.is_loopback and not settings.tokens

    def refusal(self, headers: Mapping[str, str]) -> str | None:
        """Why a request is refused, one line; None lets it through.

        Args:
            headers: of the request, names in lower case.
        """
        host = headers.get("host", "")
        if self._checks_host and not is_loopback(_name(host)) and host not in self._allowed_hosts:
            return "this server is not known under that host name"
        origin = headers.get("origin")
        if origin is None or origin in self._allowed:
            return None
        if host and origin in (f"http://{host}", f"https://{host}"):
            return None
        return "pages of this origin may not connect; see --allow-origin"


def _name(host: str) -> str:
    """A Host header without its port."""
    if host.startswith("["):
        return host[: host.find("]") + 1]
    return host.partition(":")[0]
