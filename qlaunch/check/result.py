"""One check: passed, failed, or not measured; and how themes make them."""

from typing import Literal

import msgspec

from qlaunch.errors import Severity

Status = Literal["passed", "failed", "unknown"]


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one question. The fields are the documented shape of ``check --json``."""

    code: str
    status: Status
    severity: Severity
    message: str
    hint: str = ""

    @property
    def stops(self) -> bool:
        """Whether it makes ``qlaunch check`` end with status 1."""
        return self.status == "failed" and self.severity != "info"


def passed(code: str, message: str) -> Check:
    """All is well."""
    return Check(code=code, status="passed", severity="info", message=message)


def failed(code: str, message: str, hint: str = "", severity: Severity = "error") -> Check:
    """Something is to be done."""
    return Check(code=code, status="failed", severity=severity, message=message, hint=hint)


def unknown(code: str, message: str, hint: str = "") -> Check:
    """It could not be measured."""
    return Check(code=code, status="unknown", severity="info", message=message, hint=hint)
