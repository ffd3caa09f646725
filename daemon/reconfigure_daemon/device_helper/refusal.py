"""What the helper says no with."""

from __future__ import annotations


class Refused(Exception):
    """A request is not carried out and nothing stays changed; the message says what was found and what is allowed.

    Attributes:
        by_card: whether the driver or the card refused, rather than the helper.
    """

    def __init__(self, message: str, *, by_card: bool = False) -> None:
        super().__init__(message)
        self.by_card = by_card
