"""Userdata and agents as data, and back: what is data comes back, what is none is named."""

import json
import threading
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pytest
from livekit.agents import Agent
from livekit.agents.llm import ChatContext

from voicefleet.conversation import agents, userdata
from voicefleet.livekit_compat import agents as livekit_agents


@dataclass
class Booking:
    name: str = ""
    day: date | None = None
    seats: list[int] = field(default_factory=list)
    lock: Any = field(default_factory=threading.Lock)


@dataclass(frozen=True)
class Card:
    answers: tuple[int, ...] = ()
    asked: int = 0


class Plain:
    def __init__(self) -> None:
        self.count = 0


@dataclass
class Wrong:
    name: int = 0


class Desk(Agent):
    def __init__(self, data: Booking, title: str, *, history: ChatContext | None = None) -> None:
        super().__init__(instructions=title, chat_ctx=history or ChatContext.empty())
        self.data, self.title = data, title


@pytest.fixture(autouse=True)
def remembered() -> None:
    livekit_agents.remember()


def test_userdata_comes_back_by_its_types_into_what_the_next_process_made() -> None:
    fields, lost = userdata.saved(Booking("Ada", date(2026, 12, 1), [4, 2]))
    assert lost == ["lock"]
    fresh = Booking()
    lock = fresh.lock
    assert userdata.restored(fresh, json.loads(json.dumps(fields))) == (fresh, [])
    assert (fresh.name, fresh.day, fresh.seats) == ("Ada", date(2026, 12, 1), [4, 2])
    assert fresh.lock is lock


def test_a_field_that_no_longer_fits_is_named_and_left_as_it_is() -> None:
    fresh = Booking()
    assert userdata.restored(fresh, {"name": "Ada", "day": "tomorrow"}) == (fresh, ["day"])
    assert (fresh.name, fresh.day) == ("Ada", None)


@pytest.mark.parametrize(("data", "fresh"), [({"count": 3}, {}), (Plain(), Plain())])
def test_a_dict_and_a_plain_object_come_back_too(data: Any, fresh: Any) -> None:
    if isinstance(data, Plain):
        data.count = 3
    fields, lost = userdata.saved(data)
    assert (fields, lost) == ({"count": 3}, [])
    userdata.restored(fresh, fields)
    assert userdata.saved(fresh) == ({"count": 3}, [])


def test_what_has_no_type_is_data_only_if_json_gives_it_back_as_it_was() -> None:
    """A dataclass came back as a dict, and the next tool failed."""
    mixed = {"card": Card(), "when": date(2026, 12, 1), "pair": (1, 2), "seats": [1, {"a": None}]}
    assert userdata.saved(mixed) == ({"seats": [1, {"a": None}]}, ["card", "when", "pair"])


def test_a_value_that_is_not_of_its_type_is_named_and_not_told(
    recwarn: pytest.WarningsRecorder,
) -> None:
    """pydantic warns with the value in its words."""
    wrong = Wrong()
    wrong.name = "Anna"  # type: ignore[assignment]
    assert userdata.saved(wrong) == ({}, ["name"])
    assert list(recwarn) == []


def test_userdata_that_cannot_be_changed_comes_back_as_another() -> None:
    """`interview` has each answer make a new scorecard."""
    card = Card(answers=(4, 5), asked=2)
    fields, _ = userdata.saved(card)
    fresh = Card()
    assert userdata.restored(fresh, json.loads(json.dumps(fields))) == (card, [])
    assert fresh == Card()


def test_an_agent_is_made_again_of_what_it_was_made_of() -> None:
    data, history = Booking("Ada"), ChatContext.empty()
    history.add_message(role="user", content="Hello.")
    told = json.loads(json.dumps(agents.described(Desk(data, "Billing", history=history), data)))
    again_data = Booking("Bob")
    again = agents.made_like(told, again_data, history)
    assert isinstance(again, Desk)
    assert (again.data, again.title) == (again_data, "Billing")
    assert [item.type for item in again.chat_ctx.items] == ["message"]


def test_an_agent_of_what_is_no_data_says_so() -> None:
    told = agents.described(Desk(Booking("another"), "Billing"), Booking("the session's"))
    assert "lost" in told
    assert told["id"]
