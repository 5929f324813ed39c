"""What can go wrong with an admin call, as exceptions that need no grpc to be caught.

Every one is an AdminError; its text is a sentence for a person, `code` is gRPC's word for a program.
"""

from __future__ import annotations

from dataclasses import dataclass


class AdminError(Exception):
    """The call failed for a reason that has no class of its own."""

    def __init__(self, message: str, code: str = "UNKNOWN") -> None:
        super().__init__(message)
        self.code = code


class Unreachable(AdminError):
    """No daemon answered: it does not run, listens elsewhere, or is too busy."""


class StaleEtag(AdminError):
    """Somebody else changed the policy since its etag was read."""


class NotFound(AdminError):
    """There is no such endpoint, revision or pending update."""


class AccessDenied(AdminError):
    """The daemon answered, and this caller may not do that."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing wrong with what was given: where (`policy.services[0].url`) and what."""

    field: str
    description: str

    def __str__(self) -> str:
        return f"{self.field}: {self.description}" if self.field else self.description


class InvalidArgument(AdminError):
    """The daemon refused what it was given; `violations` is all that is wrong with it, where it said so."""

    def __init__(self, message: str, violations: tuple[Violation, ...] = ()) -> None:
        super().__init__(message, "INVALID_ARGUMENT")
        self.violations = violations


class PolicyRejected(InvalidArgument):
    """The daemon found the policy faulty; what ran goes on running."""
