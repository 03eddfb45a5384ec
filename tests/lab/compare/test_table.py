"""The table, its verdicts, and its place in a document."""

from pathlib import Path

import pytest

from voicefleet import errors
from voicefleet.lab.compare import table
from voicefleet.lab.compare.outcome import Drill, Figure, Outcome, Subject
from voicefleet.lab.compare.stage import World


async def never(_: World, __: Subject) -> Outcome:
    raise AssertionError("no drill is held here")


def drill(name: str = "stop", *, is_ranked: bool = True) -> Drill:
    return Drill(name, "Told to | stop", never, is_ranked=is_ranked)


def seconds(*values: float, name: str = "") -> tuple[Figure, ...]:
    return (Figure(name, values, "s"),)


def test_the_table_has_a_row_for_each_drill_and_a_column_for_each_subject() -> None:
    results = {
        ("stop", Subject.STOCK): Outcome(2, 2, seen="exit 1"),
        ("stop", Subject.OURS): Outcome(failed="the server\ndid not start"),
    }
    assert table.markdown([drill()], results).splitlines() == [
        "| drill | stock | voicefleet |",
        "| --- | --- | --- |",
        "| `stop` Told to \\| stop | **2 of 2 lost**; exit 1 | failed: the server did not start |",
        "",
        "Not ranked: `stop`.",
    ]


@pytest.mark.parametrize(
    ("stock", "ours", "verdict"),
    [
        (Outcome(2, 2), Outcome(0, 2), "voicefleet does better"),
        (Outcome(0, 2), Outcome(1, 2), "Stock does better"),
        (Outcome(0, 2), Outcome(0, 2), "Both do as well"),
        (Outcome(0, 2, seconds(9.0)), Outcome(1, 2, seconds(1.0)), "Stock does better"),
        (Outcome(0, 2, seconds(9.0)), Outcome(0, 2, seconds(1.0)), "voicefleet does better"),
        (Outcome(figures=seconds(1.0)), Outcome(figures=seconds(2.0)), "Stock does better"),
        (Outcome(figures=seconds(1.0)), Outcome(figures=seconds(1.09)), "Both do as well"),
        # Once is chance; so are ranges that lie over each other.
        (Outcome(figures=seconds(5.3)), Outcome(figures=seconds(3.3)), "Both do as well"),
        (Outcome(figures=seconds(1, 1.3, 1.7)), Outcome(figures=seconds(0.9, 1.1, 1.6)), "Both"),
        (Outcome(figures=seconds(6, 6.1, 8.8)), Outcome(figures=seconds(4.6, 4.8, 5.9)), "voice"),
        (Outcome(figures=seconds(0.0)), Outcome(figures=seconds(0.0)), "Both do as well"),
        (Outcome(figures=seconds(5.0)), Outcome(figures=seconds(0.0)), "voicefleet does better"),
        (Outcome(0, 1, seconds(1.0, name="a")), Outcome(0, 1, seconds(9.0, name="b")), "Both"),
        (Outcome(failed="no"), Outcome(0, 2), "Not ranked"),
        (Outcome(0, 2), Outcome(failed="no"), "Not ranked"),
    ],
)
def test_calls_lost_decide_and_then_a_difference_of_more_than_a_tenth(
    stock: Outcome, ours: Outcome, verdict: str
) -> None:
    assert table.verdict(drill(), stock, ours).startswith(verdict)


def test_a_median_decides_and_not_one_slow_call() -> None:
    stock, ours = Outcome(figures=seconds(1.0, 1.0, 9.0)), Outcome(figures=seconds(1.0, 1.05, 1.0))
    assert table.verdict(drill(), stock, ours) == "Both do as well"


def test_a_drill_that_shows_a_choice_is_not_ranked() -> None:
    chosen = drill(is_ranked=False)
    assert table.verdict(chosen, Outcome(2, 2), Outcome(0, 2)) == "Not ranked"


def test_where_stock_is_as_good_or_better_the_table_says_so() -> None:
    drills = [drill("one"), drill("two"), drill("three")]
    results = {
        ("one", Subject.STOCK): Outcome(0, 2),
        ("one", Subject.OURS): Outcome(0, 2),
        ("two", Subject.STOCK): Outcome(figures=seconds(1.0)),
        ("two", Subject.OURS): Outcome(figures=seconds(2.0)),
        ("three", Subject.STOCK): Outcome(0, 1),
        ("three", Subject.OURS): Outcome(0, 1),
    }
    assert table.verdicts(drills, results) == [
        "Both do as well: `one`, `three`.",
        "Stock does better: `two`.",
    ]


def test_the_table_replaces_what_is_between_the_markers_and_nothing_else(tmp_path: Path) -> None:
    document = tmp_path / "README.md"
    document.write_text(f"# Title\n\n{table.BEGIN}\nold\n{table.END}\n\nThe end.\n")
    table.write(document, "new")
    table.write(document, "newer")
    assert document.read_text() == (f"# Title\n\n{table.BEGIN}\nnewer\n{table.END}\n\nThe end.\n")


@pytest.mark.parametrize(
    "document",
    ["", table.BEGIN, f"{table.END}\n{table.BEGIN}", f"{table.BEGIN}{table.END}{table.BEGIN}"],
)
def test_a_document_without_a_place_for_the_table_is_left_as_it_is(
    tmp_path: Path, document: str
) -> None:
    path = tmp_path / "README.md"
    path.write_text(document)
    with pytest.raises(errors.UsageError, match="no place for the table"):
        table.write(path, "new")
    assert path.read_text() == document


def test_a_document_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(errors.UsageError, match="cannot be read"):
        table.read(tmp_path / "nowhere.md")
