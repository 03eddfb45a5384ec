"""What the front desk proposes, does and refuses, with the real store behind it."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, datetime
from pathlib import Path

import pytest
from livekit.agents import APIConnectionError

from tests.agents import text_call
from tests.agents.scripted_llm import Call, Reply
from tests.agents.text_call import TextCall
from voicefleet.agents import closing
from voicefleet.agents.front_desk import calendar
from voicefleet.agents.front_desk.agent import GREETING, ONE_MOMENT, PROMPT, FrontDesk
from voicefleet.agents.front_desk.calendar import Appointment, Calendar, SqliteCalendar
from voicefleet.agents.front_desk.notes import MOST_WRONG_REFERENCES, Notes

# A Monday.
NOW = datetime(2030, 1, 7, 12, 15)
TUESDAY = "2030-01-08"
TEN, ELEVEN = datetime(2030, 1, 8, 10), datetime(2030, 1, 8, 11)

CONFIRM = Call("confirm_change")


def propose(time: str = "10:00", day: str = TUESDAY, name: str = "Anna Smith") -> Call:
    return Call("propose_appointment", {"day": day, "time": time, "name": name})


@pytest.fixture
def store(tmp_path: Path) -> SqliteCalendar:
    return SqliteCalendar(tmp_path / "calendar.sqlite3")


@asynccontextmanager
async def call_to(store: Calendar, *replies: Reply) -> AsyncIterator[TextCall]:
    notes = Notes(store, now=lambda: NOW)
    async with text_call.answered_by(FrontDesk(notes), *replies, userdata=notes) as call:
        yield call


async def refusal(call: TextCall, text: str) -> str:
    """What the tool that answered `text` said against it."""
    turn = await call.say(text)
    item = turn.expect.next_event(type="function_call_output").event().item
    assert item.is_error
    return item.output


async def booked(store: SqliteCalendar, at: datetime = TEN, name: str = "Anna Smith") -> str:
    """The reference of an appointment that was made in another call."""
    return (await store.book(f"earlier {at}", at, name)).reference


async def test_it_greets_and_knows_what_day_it_is(store: SqliteCalendar) -> None:
    async with call_to(store, "Yes.") as call:
        assert call.spoken == [GREETING]
        await call.say("Hello?")
        told = call.model.requests[0].messages()[0].text_content or ""
        assert told.startswith(PROMPT)
        assert "It is Monday, 12:15." in told
        assert "- Tuesday 2030-01-08" in told


async def test_an_appointment_is_read_back_and_booked_only_after_the_caller_has_answered(
    store: SqliteCalendar,
) -> None:
    async with call_to(store, propose(), CONFIRM, "You are booked.") as call:
        turn = await call.say("Tuesday at ten, please. Anna Smith.")
        turn.expect.contains_function_call(name="propose_appointment")
        assert call.spoken[-1] == (
            "I have Tuesday the eighth of January at ten in the morning, for Anna Smith."
            " Is that right?"
        )
        assert await store.taken(TEN.date()) == frozenset()
        turn = await call.say("Yes.")
        told = turn.expect.next_event(type="function_call_output").event().item.output
        assert await store.taken(TEN.date()) == {TEN}
        (reference,) = re.findall(r"reference (\d{4})", told)
        assert await store.find(reference) == Appointment(reference, TEN, "Anna Smith")
        # The LLM knows it from now on, whatever becomes of the conversation.
        assert reference in (call.model.requests[-1].messages()[0].text_content or "")


async def test_an_llm_that_confirms_for_the_caller_is_refused(store: SqliteCalendar) -> None:
    """Both tools at once: the caller has heard nothing, or only what they have just declined."""
    both = (propose("11:00"), CONFIRM)
    async with call_to(store, both, "Sorry.", propose("10:00"), both, "Sorry.") as call:
        for text in ("At eleven.", "Rather at ten.", "No, at eleven."):
            await call.say(text)
        assert await store.taken(TEN.date()) == frozenset()
        assert call.session.userdata.proposal.change.at == ELEVEN


async def test_a_caller_who_corrects_the_time_has_only_the_corrected_one(
    store: SqliteCalendar,
) -> None:
    async with call_to(store, propose("10:00"), propose("11:00"), CONFIRM, "Done.") as call:
        for text in ("At ten.", "No, at eleven.", "Yes."):
            await call.say(text)
        assert "eleven in the morning" in call.spoken[-2]
        assert await store.taken(TEN.date()) == {ELEVEN}


@pytest.mark.parametrize(
    ("wrong", "advice"),
    [
        (propose(day="2030-01-06"), "is in the past"),
        (propose(day="2030-01-07", time="12:00"), "is in the past"),
        (propose(day="2030-01-12"), "closed on Saturday"),
        (propose(day="2030-04-08"), "too far away"),
        (propose(time="12:00"), "no appointment begins"),
        (propose(time="10:07"), "no appointment begins"),
        (propose(time="17:00"), "no appointment begins"),
        (propose(day="tomorrow"), "is no date"),
        (propose(day="2030-02-30"), "is no date"),
        (propose(time="25:00"), "is no time"),
        (propose(time="ten"), "is no time"),
        (propose(name=" \n "), "that is no name"),
        (propose(name="12345"), "that is no name"),
        (propose(name="x" * 10_000), "that is no name"),
        (Call("propose_appointment", {"day": TUESDAY}), "time"),
        (Call("propose_move", {"day": TUESDAY, "time": "10:00"}), "call find_appointment"),
        (Call("propose_cancellation", {"reference": "1234"}), "call find_appointment"),
        (Call("free_times", {"day": "2020-01-01"}), "is in the past"),
        (CONFIRM, "nothing waits for a yes"),
    ],
)
async def test_what_cannot_be_done_is_refused_with_what_to_do_and_changes_nothing(
    store: SqliteCalendar, wrong: Call, advice: str
) -> None:
    async with call_to(store, wrong, "I am sorry.", CONFIRM, "Sorry.") as call:
        assert advice in await refusal(call, "I want to come.")
        assert "nothing waits for a yes" in await refusal(call, "Yes.")
        assert await store.taken(TEN.date()) == frozenset()


async def test_a_taken_time_is_refused_with_the_times_that_are_free(store: SqliteCalendar) -> None:
    await booked(store, TEN)
    async with call_to(store, propose("10:00"), "It is taken.") as call:
        said = await refusal(call, "At ten.")
        assert "ten in the morning is taken" in said
        assert "half past nine in the morning, half past ten in the morning" in said


async def test_of_two_callers_who_were_both_read_the_same_time_the_second_is_told_it_is_gone(
    store: SqliteCalendar,
) -> None:
    async with (
        call_to(store, propose(), CONFIRM, "Booked.") as first,
        call_to(store, propose(name="Ben Miller"), CONFIRM, "It is gone.") as second,
    ):
        await first.say("At ten.")
        await second.say("At ten.")
        await first.say("Yes.")
        assert "is taken: offer another time" in await refusal(second, "Yes.")
        assert second.session.userdata.proposal is None
    reference = next(iter(first.session.userdata.appointments))
    assert await store.find(reference) == Appointment(reference, TEN, "Anna Smith")


async def test_free_times_leave_out_what_is_taken_and_what_is_past(store: SqliteCalendar) -> None:
    await booked(store, datetime(2030, 1, 7, 13))
    async with call_to(store, Call("free_times", {"day": "2030-01-07"}), "At two.") as call:
        turn = await call.say("Have you got something today?")
        output = turn.expect.next_event(type="function_call_output").event().item.output
        assert output.startswith("half past one in the afternoon, two in the afternoon")


async def test_an_appointment_of_another_call_is_moved_with_its_reference_and_name(
    store: SqliteCalendar,
) -> None:
    reference = await booked(store, TEN)
    spoken_reference = " ".join(reference)
    find = Call("find_appointment", {"reference": spoken_reference, "name": "Ana Smith"})
    move = Call("propose_move", {"day": TUESDAY, "time": "11:00"})
    async with call_to(store, find, "Found.", move, CONFIRM, "Moved.") as call:
        for text in ("I have an appointment.", "Make it eleven."):
            await call.say(text)
        assert "from Tuesday the eighth of January at ten in the morning to" in call.spoken[-1]
        await call.say("Yes.")
    assert await store.find(reference) == Appointment(reference, ELEVEN, "Anna Smith")


async def test_a_move_to_a_taken_time_leaves_the_appointment_where_it_was(
    store: SqliteCalendar,
) -> None:
    reference = await booked(store, TEN)
    find = Call("find_appointment", {"reference": reference, "name": "Anna Smith"})
    move = Call("propose_move", {"day": TUESDAY, "time": "11:00", "reference": reference})
    async with call_to(store, find, "Found.", move, CONFIRM, "It is taken.") as call:
        for text in ("I have an appointment.", "Make it eleven."):
            await call.say(text)
        await booked(store, ELEVEN, "Ben Miller")
        assert "is taken" in await refusal(call, "Yes.")
    assert await store.taken(TEN.date()) == {TEN, ELEVEN}
    assert await store.find(reference) == Appointment(reference, TEN, "Anna Smith")


async def test_an_appointment_is_cancelled_after_a_yes(store: SqliteCalendar) -> None:
    reference = await booked(store)
    find = Call("find_appointment", {"reference": reference, "name": "Anna Smith"})
    cancel = Call("propose_cancellation")
    async with call_to(store, find, "Found.", cancel, CONFIRM, "It is cancelled.") as call:
        await call.say("I have an appointment.")
        await call.say("Please cancel it.")
        assert await store.find(reference) is not None
        await call.say("Yes.")
    assert await store.find(reference) is None


async def test_whoever_guesses_references_is_stopped_even_at_a_right_one(
    store: SqliteCalendar,
) -> None:
    reference = await booked(store)
    guess = Call("find_appointment", {"reference": reference, "name": "Eve Adams"})
    right = Call("find_appointment", {"reference": reference, "name": "Anna Smith"})
    guesses: list[Reply] = [guess, "No."]
    replies = [*guesses * MOST_WRONG_REFERENCES, right, "No."]
    async with call_to(store, *replies) as call:
        for _ in range(MOST_WRONG_REFERENCES):
            assert "no appointment with that reference and that name" in await refusal(call, "Try.")
        assert "too many wrong references" in await refusal(call, "Try again.")
        assert not call.session.userdata.appointments


async def test_an_llm_that_dies_after_the_booking_books_once_and_the_caller_hears_of_it(
    store: SqliteCalendar,
) -> None:
    died = APIConnectionError("the provider is down", retryable=False)
    async with call_to(store, propose(), CONFIRM, died, CONFIRM, "You are booked.") as call:
        for text in ("At ten.", "Yes."):
            await call.say(text)
        assert call.spoken[-1] == closing.SAY_AGAIN
        assert "The caller's appointments: Tuesday" in await refusal(call, "Yes, I said.")
        assert call.spoken[-1] == "You are booked."
    assert await store.taken(TEN.date()) == {TEN}
    assert len(call.session.userdata.appointments) == 1


class SlowCalendar(SqliteCalendar):
    """Books, and then does not answer, the first so many times."""

    def __init__(self, path: Path, hang_count: int) -> None:
        super().__init__(path)
        self.hang_count = hang_count

    async def book(self, request: str, at: datetime, name: str) -> Appointment:
        made = await super().book(request, at, name)
        if self.hang_count:
            self.hang_count -= 1
            await asyncio.Event().wait()
        return made

    async def find(self, reference: str) -> Appointment | None:
        raise OSError(f"volume 7 has gone, and so has {reference}")


async def test_a_calendar_that_hangs_is_given_up_and_asked_again_without_booking_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calendar, "PATIENCE_SECONDS", 0.2)
    slow = SlowCalendar(tmp_path / "slow.sqlite3", hang_count=1)
    async with call_to(slow, propose(), CONFIRM, CONFIRM, "You are booked.") as call:
        await call.say("At ten.")
        turn = await call.say("Yes.")
        outputs = [event.item for event in turn.events if event.type == "function_call_output"]
        assert [output.is_error for output in outputs] == [True, False]
        assert "does not answer" in outputs[0].output
        assert call.spoken[-1] == "You are booked."
    assert await slow.taken(TEN.date()) == {TEN}


async def test_a_booking_that_nobody_answered_for_is_settled_before_another_is_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller who took eleven instead had both, and was told that ten is somebody else's."""
    monkeypatch.setattr(calendar, "PATIENCE_SECONDS", 0.2)
    slow = SlowCalendar(tmp_path / "slow.sqlite3", hang_count=1)
    move = Call("propose_move", {"day": TUESDAY, "time": "11:00"})
    replies: list[Reply] = [
        propose(),
        CONFIRM,
        "Sorry.",
        propose("11:00"),
        "You have ten.",
        move,
        CONFIRM,
    ]
    async with call_to(slow, *replies, "You are booked.") as call:
        for text in ("At ten.", "Yes."):
            await call.say(text)
        assert "is done by now" in await refusal(call, "Then rather at eleven.")
        assert await slow.taken(TEN.date()) == {TEN}
        for text in ("At eleven, please.", "Yes."):
            await call.say(text)
    assert await slow.taken(TEN.date()) == {ELEVEN}


async def test_what_was_read_back_is_forgotten_where_the_caller_asks_for_something_else(
    store: SqliteCalendar,
) -> None:
    """Ten was read back; "No, cancel 1234 instead" was refused, and the next yes booked ten."""
    find = Call("find_appointment", {"reference": "1234", "name": "Anna Smith"})
    for other in (Call("propose_cancellation", {"reference": "1234"}), find):
        async with call_to(store, propose(), other, "Which?", CONFIRM, "Sorry.") as call:
            for text in ("At ten.", "No, cancel my other one."):
                await call.say(text)
            assert "nothing waits for a yes" in await refusal(call, "Yes.")
        assert await store.taken(TEN.date()) == frozenset()


async def test_a_caller_who_waits_for_the_calendar_hears_that_it_takes_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "voicefleet.agents.front_desk.agent.SILENCE_BEFORE_ONE_MOMENT_SECONDS", 0.05
    )
    monkeypatch.setattr(calendar, "PATIENCE_SECONDS", 0.5)
    slow = SlowCalendar(tmp_path / "slow.sqlite3", hang_count=9)
    async with call_to(slow, propose(), CONFIRM, "Please ring later.") as call:
        await call.say("At ten.")
        await call.say("Yes.")
        assert call.spoken[-2:] == [ONE_MOMENT, "Please ring later."]


async def test_a_calendar_that_breaks_is_an_error_without_its_details(tmp_path: Path) -> None:
    find = Call("find_appointment", {"reference": "1234", "name": "Anna Smith"})
    slow = SlowCalendar(tmp_path / "slow.sqlite3", hang_count=0)
    async with call_to(slow, find, "I cannot look it up.") as call:
        assert "volume" not in await refusal(call, "I have an appointment.")


async def test_a_file_that_is_no_calendar_is_one_that_does_not_answer(tmp_path: Path) -> None:
    path = tmp_path / "calendar.sqlite3"
    path.write_bytes(b"not a database, and longer than a header of one hundred bytes" * 4)
    with pytest.raises(calendar.UnavailableError):
        await SqliteCalendar(path).taken(date(2030, 1, 8))
