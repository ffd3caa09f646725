"""Who holds which card and until when, what each was like before, and how it gets back to that."""

from __future__ import annotations

import logging
from bisect import bisect
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from reconfigure_daemon.device_helper.cards import Card, Cards, obeys
from reconfigure_daemon.device_helper.refusal import Refused
from reconfigure_daemon.device_helper.restore_file import Found, RestoreFile, RestoreFileDamaged

log = logging.getLogger(__name__)


#: A card that could not be put back is tried again after this long.
_TRY_AGAIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Held:
    """A card that somebody holds.

    Attributes:
        holder: who may change it.
        until_s: when it is put back unless the holder renews, on the monotonic clock.
        clock_mhz, power_cap_w: what was set; 0 where it is as it was found.
    """

    holder: str
    until_s: float
    clock_mhz: int = 0
    power_cap_w: float = 0.0


class Custody:
    """Changes cards on behalf of holders; every change is noted on disk before it is made and undone in the end.

    Args:
        cards: what is changed.
        file: where it is noted.
        now_s: the monotonic clock.
    """

    def __init__(self, cards: Cards, file: RestoreFile, now_s: Callable[[], float]) -> None:
        self._cards = cards
        self._file = file
        self._now_s = now_s
        self._found: dict[str, Found] = {}
        self._held: dict[str, Held] = {}
        self._try_again_s = 0.0

    def take_up(self) -> None:
        """Put back what an earlier helper was killed over."""
        try:
            self._found = self._file.read()
        except RestoreFileDamaged as damage:
            log.error("%s, so every card gets free clocks and its default power limit", damage)
            log.error("the damaged file is kept as %s", self._file.set_aside())
            self._found = {card.uuid: Found(self._cards.default_limit_w(card.uuid), True) for card in self._all()}
        if self._found:
            log.warning("an earlier helper left %s changed; they are put back", ", ".join(self._found))
        self.put_back(tuple(self._found))

    def cards(self) -> list[tuple[Card, Held | None]]:
        """Every card, and what is held of it; a lock that the card does not obey any more is none.

        Raises:
            Refused: if NVML does not start.
        """
        return [(card, self._in_force(card)) for card in self._cards.all()]

    def set_clock(self, holder: str, uuids: Sequence[str], most_mhz: int, lease_s: float) -> None:
        """Lock the SM clocks of cards at or below a value, all of them or none; 0 unlocks.

        Raises:
            Refused: with what is allowed; nothing stays changed.
        """
        for uuid in uuids:
            _check_clock(self._cards.one(uuid), most_mhz)
        with self._all_or_none(holder, uuids, lease_s):
            for uuid in uuids:
                self._lock(uuid, most_mhz)

    def set_power_cap(self, holder: str, uuids: Sequence[str], most_w: float, lease_s: float) -> None:
        """Limit the power of cards, all of them or none; 0 is the limit that was found.

        Raises:
            Refused: with what is allowed; nothing stays changed.
        """
        for uuid in uuids:
            card = self._cards.one(uuid)
            _check_power(card, self._found.get(uuid, Found()).power_limit_w or card.power_limit_w, most_w)
        with self._all_or_none(holder, uuids, lease_s):
            for uuid in uuids:
                self._limit(uuid, most_w)

    def renew(self, holder: str, lease_s: float) -> None:
        """Hold on to what is held."""
        until_s = self._now_s() + lease_s
        self._held = {u: replace(h, until_s=until_s) if h.holder == holder else h for u, h in self._held.items()}

    def expire(self) -> None:
        """Put back the cards of holders that did not renew in time, and those that could not be put back before."""
        now_s = self._now_s()
        lapsed = [uuid for uuid, held in self._held.items() if held.until_s <= now_s]
        if lapsed:
            log.warning("%s did not renew: %s are put back", self._held[lapsed[0]].holder, ", ".join(lapsed))
        left = [uuid for uuid in self._found if uuid not in self._held] if now_s >= self._try_again_s else []
        self.put_back([*lapsed, *left])

    def give_up(self, holder: str) -> None:
        """Put back what a holder has changed."""
        self.put_back([uuid for uuid, held in self._held.items() if held.holder == holder])

    def put_back(self, uuids: Collection[str] | None = None) -> None:
        """Return cards to how they were found, all that were changed if none are named.

        One that cannot be stays in the restore file, and is tried again by `expire` and by the next helper.
        """
        for uuid in tuple(self._found) if uuids is None else dict.fromkeys(uuids):
            self._held.pop(uuid, None)
            try:
                self._undo(uuid, self._found.get(uuid, Found()))
            except Refused as refusal:
                self._try_again_s = self._now_s() + _TRY_AGAIN_S
                log.error("%s is not put back yet: %s", uuid, refusal)

    def _undo(self, uuid: str, found: Found) -> None:
        if found.clock_locked:
            self._cards.unlock_clock(uuid)
        if found.power_limit_w is not None:
            self._cards.limit_power(uuid, found.power_limit_w)
        if uuid in self._found:
            self._note({u: f for u, f in self._found.items() if u != uuid})

    @contextmanager
    def _all_or_none(self, holder: str, uuids: Sequence[str], lease_s: float) -> Iterator[None]:
        """Hold the cards while they are changed; if one refuses, all get back what was set before."""
        others = {held.holder for uuid, held in self._held.items() if uuid in uuids and held.holder != holder}
        if others:
            raise Refused(f"{', '.join(sorted(others))} holds one of these cards; end that daemon first")
        before = {uuid: self._held.get(uuid, Held(holder, 0.0)) for uuid in uuids}
        until_s = self._now_s() + lease_s
        self._held |= {uuid: replace(held, until_s=until_s) for uuid, held in before.items()}
        try:
            yield
        except Refused as refusal:
            for uuid, held in before.items():
                self._return_to(uuid, held, refusal)
            raise
        self._release_untouched(uuids)

    def _return_to(self, uuid: str, held: Held, refusal: Refused) -> None:
        """What was set before one of the cards refused; a card that does not even take that is put back altogether."""
        try:
            if self._held[uuid].clock_mhz != held.clock_mhz or refusal.by_card:
                self._lock(uuid, held.clock_mhz)
            if self._held[uuid].power_cap_w != held.power_cap_w or refusal.by_card:
                self._limit(uuid, held.power_cap_w)
            self._release_untouched([uuid])
        except Refused:
            self.put_back([uuid])

    def _release_untouched(self, uuids: Sequence[str]) -> None:
        """Nothing is held of a card that is as it was found."""
        self.put_back([u for u in uuids if not self._held[u].clock_mhz and not self._held[u].power_cap_w])

    def _lock(self, uuid: str, most_mhz: int) -> None:
        found = self._found.get(uuid, Found())
        if most_mhz:
            self._note({**self._found, uuid: replace(found, clock_locked=True)})
            self._cards.lock_clock(uuid, most_mhz)
        elif found.clock_locked:
            self._cards.unlock_clock(uuid)
        self._held[uuid] = replace(self._held[uuid], clock_mhz=most_mhz)

    def _limit(self, uuid: str, most_w: float) -> None:
        found = self._found.get(uuid, Found())
        if most_w and found.power_limit_w is None:
            found = replace(found, power_limit_w=self._cards.one(uuid).power_limit_w)
            self._note({**self._found, uuid: found})
        if found.power_limit_w is not None:
            self._cards.limit_power(uuid, most_w or found.power_limit_w)
        self._held[uuid] = replace(self._held[uuid], power_cap_w=most_w)

    def _note(self, found: dict[str, Found]) -> None:
        if found != self._found:
            self._file.write(found)
            self._found = found

    def _all(self) -> list[Card]:
        try:
            return self._cards.all()
        except Refused as refusal:
            log.error("%s", refusal)
            return []

    def _in_force(self, card: Card) -> Held | None:
        held = self._held.get(card.uuid)
        if held is None or card.fault is not None:
            return None
        clock_mhz = held.clock_mhz if obeys(card, held.clock_mhz) else 0
        limited = (
            held.power_cap_w and card.power_limit_w is not None and abs(card.power_limit_w - held.power_cap_w) <= 1
        )
        return replace(held, clock_mhz=clock_mhz, power_cap_w=held.power_cap_w if limited else 0.0)


def _check_clock(card: Card, most_mhz: int) -> None:
    if not most_mhz or most_mhz in card.clocks_mhz:
        return
    if not card.clocks_mhz:
        raise Refused(f"{card.uuid} does not tell which clocks it supports, so none is set", by_card=True)
    least, most = card.clocks_mhz[0], card.clocks_mhz[-1]
    after = bisect(card.clocks_mhz, most_mhz)
    nearest = " and ".join(map(str, card.clocks_mhz[max(0, after - 1) : after + 1]))
    raise Refused(
        f"{most_mhz} MHz is no clock of {card.uuid}; it has {len(card.clocks_mhz)} from {least} to {most}, nearest are"
        f" {nearest}; 0 unlocks"
    )


def _check_power(card: Card, found_w: float | None, most_w: float) -> None:
    if not most_w:
        return
    if card.power_range_w is None or found_w is None:
        raise Refused(f"{card.uuid} does not tell its power limits, so none is set", by_card=True)
    least_w, most_allowed_w = card.power_range_w[0], min(card.power_range_w[1], found_w)
    if not least_w <= most_w <= most_allowed_w:
        raise Refused(
            f"{most_w:g} W is outside what {card.uuid} may have: {least_w:g} to {most_allowed_w:g} W, never more than"
            " the limit that was found; 0 returns to that"
        )
