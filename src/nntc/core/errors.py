"""The one family of errors that a user can cause.

A :class:`UserError` carries every problem found, not the first one. The command line prints one
line a problem and exits with status 2; no traceback is shown.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager

EXIT_STATUS = 2


class UserError(Exception):
    """Something in the user's input, file or environment is wrong.

    Args:
        problems: one message or several; each names the thing, the rule and the actual values.
    """

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems: list[str] = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class ModelError(UserError):
    """A model file cannot be read, or its graph breaks a rule."""


class UnsupportedError(UserError):
    """The model is valid but holds something that this toolchain cannot do; lists all of it."""


class BModelError(UserError):
    """A BModel file breaks the format."""


class InstructionError(UserError):
    """An instruction cannot be encoded, decoded or executed; names the instruction."""


class DeviceError(UserError):
    """A device is absent or refused to run."""


class Problems:
    """Collects messages so that all problems are reported at once."""

    def __init__(self, error: type[UserError] = UserError) -> None:
        self._error = error
        self._messages: list[str] = []

    def add(self, message: str) -> None:
        self._messages.append(message)

    def __len__(self) -> int:
        return len(self._messages)

    def __iter__(self) -> Iterator[str]:
        return iter(self._messages)

    def raise_if_any(self) -> None:
        if self._messages:
            raise self._error(self._messages)

    @contextmanager
    def collect(self) -> Generator[None, None, None]:
        """Turn a UserError raised inside the block into collected messages."""
        try:
            yield
        except UserError as err:
            self._messages.extend(err.problems)
