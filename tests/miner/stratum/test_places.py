import itertools

import msgspec
import pytest

from miner.stratum.house import Resumable
from miner.stratum.places import RESUME_S, Parked, Places
from miner.work.extranonce import ExtranonceAllocator, ExtranonceExhaustedError
from miner.work.vardiff import Vardiff
from tests.miner.harness import NOW


class Guest:
    """A connection whose session mines as soon as it has a place."""

    def __init__(self, *, mines: bool = True, extranonce2_size: int = 8) -> None:
        self.mines = mines
        self.extranonce2_size = extranonce2_size
        self.dropped = ""
        self.place = ""
        self.extranonce1 = b""

    def sit(self, places: Places, resume: str | None = None, now: float = NOW) -> Resumable | None:
        subscription = places.subscribe(self, resume, now)
        self.place, self.extranonce1 = subscription.session_id, subscription.extranonce1
        assert subscription.extranonce2_size == self.extranonce2_size
        return subscription.resumed

    def resumable(self) -> Resumable | None:
        if not self.mines:
            return None
        return Resumable(
            session_id=self.place,
            extranonce1=self.extranonce1,
            extranonce2_size=self.extranonce2_size,
            level=0,
            vardiff=Vardiff(1.0, 0.0, 10.0, 12.0, NOW).state(),
            version_mask=None,
            name="farm.1",
            agent="test",
        )

    def drop(self, reason: str) -> None:
        self.dropped = reason


TOKENS = itertools.count(1)


def places_of(size: int = 4, **options: float) -> Places:
    return Places(
        ExtranonceAllocator(size),
        lambda: f"token{next(TOKENS)}",
        **options,  # type: ignore[arg-type]  # the numbers of the test
    )


def test_every_session_has_an_extranonce1_of_its_own() -> None:
    places = places_of()
    guests = [Guest() for _ in range(100)]
    for guest in guests:
        assert guest.sit(places) is None
    assert len({guest.extranonce1 for guest in guests}) == len({guest.place for guest in guests}) == 100


def test_who_comes_back_in_time_gets_the_same_place() -> None:
    places, guest, back = places_of(), Guest(), Guest()
    guest.sit(places)
    places.leave(guest.place, guest, NOW)
    assert back.sit(places, guest.place, NOW + RESUME_S - 1) == guest.resumable()
    assert (back.place, back.extranonce1) == (guest.place, guest.extranonce1)


def test_who_comes_back_too_late_gets_a_new_place() -> None:
    places, guest, back = places_of(), Guest(), Guest()
    guest.sit(places)
    places.leave(guest.place, guest, NOW)
    assert back.sit(places, guest.place, NOW + RESUME_S) is None
    assert back.place != guest.place


@pytest.mark.parametrize("token", ["", "nobody", "x" * 10_000])
def test_an_unknown_session_id_gets_a_new_place(token: str) -> None:
    assert Guest().sit(places_of(), token) is None


def test_a_device_that_is_back_before_its_old_connection_is_found_dead_takes_over() -> None:
    places, old, new = places_of(), Guest(), Guest()
    old.sit(places)
    assert new.sit(places, old.place) is not None
    assert old.dropped == "taken_over"
    assert new.extranonce1 == old.extranonce1
    places.leave(old.place, old, NOW)  # its end comes later, and takes nothing away
    third = Guest()
    assert third.sit(places, new.place) is not None
    assert new.dropped == "taken_over"


def test_a_session_that_never_mined_leaves_nothing_behind() -> None:
    places = places_of(size=1)
    for _ in range(1000):
        guest = Guest(mines=False)
        guest.sit(places)
        places.leave(guest.place, guest, NOW)
    assert places.export(NOW) == []


def test_a_session_with_another_size_of_extranonce2_is_not_resumed() -> None:
    places, guest, back = places_of(), Guest(), Guest(extranonce2_size=4)
    guest.sit(places)
    places.leave(guest.place, guest, NOW)
    assert back.sit(places, guest.place) is None


def test_extranonces_of_sessions_that_may_come_back_are_not_given_to_others() -> None:
    places = places_of(size=1)
    for _ in range(256):
        guest = Guest()
        guest.sit(places)
        places.leave(guest.place, guest, NOW)
    with pytest.raises(ExtranonceExhaustedError):
        Guest().sit(places, None, NOW)
    Guest().sit(places, None, NOW + RESUME_S)


def test_sessions_that_may_come_back_take_bounded_memory() -> None:
    places = places_of(most_parked=10)
    for _ in range(100):
        guest = Guest()
        guest.sit(places)
        places.leave(guest.place, guest, NOW)
    places.expire(NOW)
    assert len(places.export(NOW)) == 10


def test_where_nothing_is_kept_a_place_is_free_at_once() -> None:
    places = places_of(resume_s=0.0)
    guest = Guest()
    guest.sit(places)
    places.leave(guest.place, guest, NOW)
    assert places.export(NOW) == []


def test_another_process_goes_on_with_living_and_parked_sessions() -> None:
    places, gone, living = places_of(), Guest(), Guest()
    gone.sit(places)
    places.leave(gone.place, gone, NOW)
    living.sit(places)
    exported = msgspec.json.decode(msgspec.json.encode(places.export(NOW)), type=list[Parked])

    later = places_of()
    assert later.restore(exported, NOW + 1) == 2
    stranger, *back = Guest(), Guest(), Guest()
    stranger.sit(later)
    assert stranger.extranonce1 not in {gone.extranonce1, living.extranonce1}
    for guest, before in zip(back, (gone, living), strict=True):
        assert guest.sit(later, before.place, NOW + 1) == before.resumable()


def test_what_another_process_exported_is_checked_before_it_is_taken_over() -> None:
    places = places_of()
    guest = Guest()
    guest.sit(places)
    [parked] = places.export(NOW)
    other = msgspec.structs.replace(parked.session, session_id="other")
    short = msgspec.structs.replace(parked.session, session_id="short", extranonce1=b"\x01")
    exported = [parked, parked, Parked(other, parked.until), Parked(short, parked.until)]
    assert places_of().restore(exported, NOW) == 1
    assert places_of().restore(exported, NOW + RESUME_S) == 0
