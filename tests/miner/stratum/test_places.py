import itertools

import msgspec
import pytest

from miner.stratum.house import Resumable, Subscription
from miner.stratum.places import RESUME_S, Parked, Places
from miner.work.extranonce import ExtranonceAllocator, ExtranonceExhaustedError
from miner.work.layout import Layout
from miner.work.vardiff import Vardiff, VardiffState
from tests.miner.harness import NOW


class Guest:
    """A connection whose session mines as soon as it has a place."""

    def __init__(self, *, mines: bool = True) -> None:
        self.mines = mines
        self.extranonce2_size = 0
        self.dropped = ""
        self.place = ""
        self.extranonce1 = b""
        self.learned: VardiffState | None = None

    def sit(self, places: Places, resume: str | None = None, now: float = NOW) -> Resumable | None:
        subscription = places.subscribe(self, resume, now)
        self.take(subscription)
        self.learned = subscription.learned
        return subscription.resumed

    def take(self, subscription: Subscription) -> None:
        self.place, self.extranonce1 = subscription.session_id, subscription.extranonce1
        self.extranonce2_size = subscription.extranonce2_size

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
        Layout(size, 8),
        ExtranonceAllocator,
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
    assert places.export(NOW, NOW) == []


@pytest.mark.parametrize("layout", [Layout(4, 4), Layout(3, 8), Layout(1, 1)])
def test_a_session_with_other_sizes_of_extranonces_is_not_resumed_but_its_difficulty_is_known(
    layout: Layout,
) -> None:
    places, guest, back = places_of(), Guest(), Guest()
    guest.sit(places)
    session = guest.resumable()
    assert session is not None
    places.leave(guest.place, guest, NOW)
    places.set_layout(layout)
    assert back.sit(places, guest.place) is None
    assert back.place != guest.place
    assert back.learned == session.vardiff
    assert (len(back.extranonce1), back.extranonce2_size) == (
        layout.extranonce1_size,
        layout.extranonce2_size,
    )


def test_a_session_that_comes_back_when_the_layout_does_is_resumed() -> None:
    places, guest, back = places_of(), Guest(), Guest()
    guest.sit(places)
    places.leave(guest.place, guest, NOW)
    places.set_layout(Layout(2, 2))
    Guest().sit(places)
    places.set_layout(Layout(4, 8))
    assert back.sit(places, guest.place) is not None
    assert back.extranonce1 == guest.extranonce1


def test_a_session_that_moves_keeps_its_id_and_gives_its_old_extranonce_back() -> None:
    places, guest = places_of(size=1), Guest()
    guest.sit(places)
    place, before = guest.place, guest.extranonce1
    places.set_layout(Layout(2, 3))
    guest.take(places.move(guest.place, guest))
    assert (guest.place, len(guest.extranonce1), guest.extranonce2_size) == (place, 2, 3)
    places.set_layout(Layout(1, 8))
    others = [Guest() for _ in range(256)]
    for other in others:
        other.sit(places)
    assert before in {other.extranonce1 for other in others}


def test_who_finds_no_room_in_the_new_layout_keeps_the_place_it_had() -> None:
    places, guest = places_of(), Guest()
    guest.sit(places)
    places.set_layout(Layout(1, 1))
    for _ in range(256):
        Guest().sit(places)
    with pytest.raises(ExtranonceExhaustedError):
        places.move(guest.place, guest)
    places.leave(guest.place, guest, NOW)
    places.set_layout(Layout(4, 8))
    assert Guest().sit(places, guest.place) is not None


def test_extranonces_of_sessions_that_may_come_back_are_given_to_others_only_where_there_is_no_room_else() -> (
    None
):
    places = places_of(size=1)
    gone = [Guest() for _ in range(256)]
    for guest in gone[:200]:
        guest.sit(places)
    for guest in gone[:200]:
        places.leave(guest.place, guest, NOW)
    for guest in gone[200:]:
        guest.sit(places, None, NOW)
    assert len({guest.extranonce1 for guest in gone}) == 256
    for guest in gone[200:]:
        places.leave(guest.place, guest, NOW + 1)
    there = [Guest() for _ in range(255)]  # 256 that came and went do not keep anybody out
    for guest in there:
        guest.sit(places, None, NOW + 1)
    assert {guest.extranonce1 for guest in there} == {guest.extranonce1 for guest in gone[:255]}
    assert Guest().sit(places, gone[255].place, NOW + 1) is not None  # the last to have gone
    with pytest.raises(ExtranonceExhaustedError):
        Guest().sit(places, None, NOW + 1)


def test_room_is_not_made_by_forgetting_sessions_of_another_layout() -> None:
    places, guest = places_of(size=2), Guest()
    guest.sit(places)
    places.leave(guest.place, guest, NOW)
    places.set_layout(Layout(1, 8))
    for _ in range(256):
        Guest().sit(places)
    with pytest.raises(ExtranonceExhaustedError):
        Guest().sit(places)
    places.set_layout(Layout(2, 8))
    assert Guest().sit(places, guest.place) is not None


def test_sessions_that_may_come_back_take_bounded_memory() -> None:
    places = places_of(most_parked=10)
    for _ in range(100):
        guest = Guest()
        guest.sit(places)
        places.leave(guest.place, guest, NOW)
    places.expire(NOW)
    assert len(places.export(NOW, NOW)) == 10


def test_where_nothing_is_kept_a_place_is_free_at_once() -> None:
    places = places_of(resume_s=0.0)
    guest = Guest()
    guest.sit(places)
    places.leave(guest.place, guest, NOW)
    assert places.export(NOW, NOW) == []


def test_another_process_goes_on_with_living_and_parked_sessions() -> None:
    places, gone, living = places_of(), Guest(), Guest()
    gone.sit(places)
    places.leave(gone.place, gone, NOW)
    living.sit(places)
    unix = 1_900_000_000.0
    exported = msgspec.json.decode(msgspec.json.encode(places.export(NOW, unix)), type=list[Parked])

    later, uptime = places_of(), 7.0
    assert later.restore(exported, uptime, unix + 1) == 2
    stranger, *back = Guest(), Guest(), Guest()
    stranger.sit(later, None, uptime)
    assert stranger.extranonce1 not in {gone.extranonce1, living.extranonce1}
    for guest, before in zip(back, (gone, living), strict=True):
        assert guest.sit(later, before.place, uptime + RESUME_S - 2) == before.resumable()


def test_another_process_waits_no_longer_for_sessions_than_this_one_would_have() -> None:
    places, guest = places_of(), Guest()
    guest.sit(places)
    places.leave(guest.place, guest, NOW)
    exported = places.export(NOW + 100, 1_900_000_000.0)
    later = places_of()
    later.restore(exported, 7.0, 1_900_000_000.0)
    assert Guest().sit(later, guest.place, 7.0 + RESUME_S - 100) is None


def test_a_clock_set_back_between_two_processes_keeps_nothing_for_longer() -> None:
    places, guest = places_of(), Guest()
    guest.sit(places)
    later = places_of()
    assert later.restore(places.export(NOW, 1_900_000_000.0), 7.0, 1_800_000_000.0) == 1
    assert Guest().sit(later, guest.place, 7.0 + RESUME_S) is None


def test_another_process_knows_the_sessions_of_a_layout_that_it_will_only_have_later() -> None:
    places, guest = places_of(size=2), Guest()
    guest.sit(places)
    later = places_of()
    assert later.restore(places.export(NOW, NOW), NOW, NOW) == 1
    later.set_layout(Layout(2, 8))
    assert Guest().sit(later, guest.place) == guest.resumable()


def test_what_another_process_exported_is_checked_before_it_is_taken_over() -> None:
    places = places_of()
    guest = Guest()
    guest.sit(places)
    [parked] = places.export(NOW, NOW)
    other = msgspec.structs.replace(parked.session, session_id="other")
    odd = [
        msgspec.structs.replace(parked.session, session_id=f"odd {number}", **changes)
        for number, changes in enumerate(
            [{"extranonce1": b""}, {"extranonce1": bytes(9)}, {"extranonce2_size": 0}]
        )
    ]
    exported = [parked, parked, *(Parked(session, parked.until) for session in [other, *odd])]
    assert places_of().restore(exported, NOW, NOW) == 1
    assert places_of().restore(exported, NOW, NOW + RESUME_S) == 0
