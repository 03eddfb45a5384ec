"""The outcomes as one markdown table, what it comes to in words, and its place in a document."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from voicefleet import errors
from voicefleet.lab.compare.outcome import Drill, Figure, Outcome, Subject

BEGIN, END = "<!-- compare -->", "<!-- /compare -->"

Results = Mapping[tuple[str, Subject], Outcome]
"""The outcome of each drill, by its name, for each subject."""

# A difference below this is the machine's, not the worker's.
SAME_WITHIN_RATIO = 0.1
# So is one that fewer of the pairs show, a value of each; and a time taken once, of which one is
# not twice the other.
LEAST_PAIRS_RATIO = 0.8
SINGLE_TIME_FACTOR = 2.0


def markdown(drills: Sequence[Drill], results: Results) -> str:
    """The table, and which rows are better, alike or worse."""
    lines = [f"| drill | {' | '.join(Subject)} |", "| --- | --- | --- |"]
    for drill in drills:
        cells = (_cell(str(results[drill.name, subject])) for subject in Subject)
        lines.append(f"| `{drill.name}` {_cell(drill.title)} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *verdicts(drills, results)])


def verdicts(drills: Sequence[Drill], results: Results) -> list[str]:
    """A sentence for each verdict that some drill has: by calls lost, then by its first figure."""
    found: dict[str, list[str]] = {}
    for drill in drills:
        pair = results[drill.name, Subject.STOCK], results[drill.name, Subject.OURS]
        found.setdefault(verdict(drill, *pair), []).append(f"`{drill.name}`")
    order = ("voicefleet does better", "Both do as well", "Stock does better", "Not ranked")
    return [f"{what}: {', '.join(found[what])}." for what in order if what in found]


def verdict(drill: Drill, stock: Outcome, ours: Outcome) -> str:
    """Fewer calls lost is better; where as many are, the first figure decides, if it tells the two
    apart.
    """
    if not drill.is_ranked or stock.failed or ours.failed:
        return "Not ranked"
    difference = _ratio(stock) - _ratio(ours)
    if difference == 0 and stock.figures and ours.figures:
        theirs, own = stock.figures[0], ours.figures[0]
        if theirs.name == own.name and _tells_apart(theirs, own):
            difference = theirs.median - own.median
    if difference == 0:
        return "Both do as well"
    return "voicefleet does better" if difference > 0 else "Stock does better"


def _tells_apart(theirs: Figure, own: Figure) -> bool:
    least, most = sorted((theirs.median, own.median))
    if most - least <= SAME_WITHIN_RATIO * least:
        return False
    if own.unit == "s" and len(theirs.values) == len(own.values) == 1:
        return most >= SINGLE_TIME_FACTOR * least
    pairs = [(one, other) for one in theirs.values for other in own.values]
    is_less = own.median < theirs.median
    agreeing = sum(one != other and (other < one) == is_less for one, other in pairs)
    return agreeing >= LEAST_PAIRS_RATIO * len(pairs)


def write(path: Path, text: str) -> None:
    """Put the text between the markers of a document.

    :raises UsageError: if the document is not there, or does not have both markers once.
    """
    path.write_text(filled(read(path), text, str(path)), encoding="utf-8")


def read(path: Path) -> str:
    """:raises UsageError: if the document is not there."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise errors.UsageError(
            f"{path} cannot be read: {error.strerror}", fix="give the path of a markdown file"
        ) from error


def filled(document: str, text: str, name: str) -> str:
    """:raises UsageError: if the document does not have both markers once, in their order."""
    parts = re.split(f"{re.escape(BEGIN)}|{re.escape(END)}", document)
    if len(parts) != 3 or document.index(BEGIN) > document.index(END):
        raise errors.UsageError(
            f"{name} has no place for the table", fix=f"write {BEGIN} and {END} where it goes"
        )
    before, _, after = parts
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def _ratio(outcome: Outcome) -> float:
    return (outcome.lost or 0) / outcome.calls if outcome.calls else 0.0


def _cell(text: str) -> str:
    """One line, and no character that ends a cell."""
    return " ".join(text.split()).replace("|", "\\|")
