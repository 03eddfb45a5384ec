"""The days of a script."""

from datetime import date, timedelta

import pytest

from voicefleet.agents.front_desk import opening
from voicefleet.lab import conversation

MONDAY = date(2030, 1, 7)


@pytest.mark.parametrize("weekday", conversation.WEEKDAYS)
def test_the_next_day_of_a_name_is_one_to_seven_days_ahead(weekday: str) -> None:
    for offset in range(7):
        today = MONDAY + timedelta(days=offset)
        found = conversation.next_day(weekday, today)
        assert 1 <= (found - today).days <= 7
        assert f"{found:%A}".lower() == weekday


def test_a_day_is_words_where_it_is_said_and_a_date_where_a_tool_is_asked() -> None:
    (asked,) = conversation.as_dates({"day": "{tuesday}"}).values()
    day = date.fromisoformat(asked)
    assert (
        conversation.in_words("On {tuesday}, please.") == f"On {opening.spoken_day(day)}, please."
    )
    assert conversation.as_dates({"count": 3, "odd": "{today}"}) == {"count": 3, "odd": "{today}"}


def test_every_day_of_a_month_is_said_as_the_agents_say_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for offset in range(31):
        day = MONDAY.replace(day=1) + timedelta(days=offset)
        monkeypatch.setattr(conversation, "next_day", lambda *_, day=day: day)
        assert conversation.in_words("{monday}") == opening.spoken_day(day)
