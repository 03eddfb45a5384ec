"""Where a call's report can go beside the log: a directory, or an address."""

import http.client
import json
import os
import re
import tempfile
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from worker import errors

Report = dict[str, Any]

REQUEST_TIMEOUT_SECONDS = 10.0

# A receiver that answers so may take the same report later (RFC 9110 and 6585); what else is not a
# success, it will never take.
LATER = {408, 425, 429}

UNUSUAL = re.compile(r"[^\w.-]")


class RefusedError(Exception):
    """This report will never be taken."""


@dataclass(frozen=True, slots=True)
class Directory:
    """One file a call, named by its job id. Nobody sees a half of one."""

    path: Path

    def deliver(self, report: Report) -> None:
        """:raises OSError: if it cannot be written now."""
        name = UNUSUAL.sub("_", report["job_id"])
        part = self.path / f".{name}.part"
        with part.open("w", encoding="utf-8") as file:
            json.dump(report, file, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.path / f"{name}.json")


@dataclass(frozen=True, slots=True)
class Address:
    """A POST a report. A receiver may get one twice, and knows it by its job id."""

    url: str
    token: str | None = field(default=None, repr=False)

    def deliver(self, report: Report) -> None:
        """:raises OSError: if it is not taken now.
        :raises RefusedError: if it never will be.
        """
        request = urllib.request.Request(
            self.url,
            data=json.dumps(report, ensure_ascii=False).encode(),
            headers={"Content-Type": "application/json", "User-Agent": "voicefleet"},
            method="POST",
        )
        if self.token is not None:
            request.add_header("Authorization", f"Bearer {self.token}")
        opener = urllib.request.build_opener(_NoRedirect)
        try:
            with opener.open(request, timeout=REQUEST_TIMEOUT_SECONDS):
                pass
        except HTTPError as error:
            error.close()
            if error.code < 500 and error.code not in LATER:
                raise RefusedError(f"HTTP {error.code}") from None
            raise OSError(f"HTTP {error.code}") from None
        except http.client.HTTPException as error:
            raise OSError(repr(error)) from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A POST that is sent elsewhere would arrive as a GET, without the report."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def require_directory(path: Path | None) -> None:
    """:raises SettingsError: if reports could not be written there."""
    if path is None:
        return
    try:
        with tempfile.TemporaryFile(dir=path):
            return
    except OSError as error:
        fix = "mount a writable directory there, or unset it: each report is in the log as well"
        problem = f"WORKER_REPORT_DIR is {str(path)!r}, which cannot be written: {error.strerror}"
        raise errors.SettingsError([(problem, fix)]) from error
