"""An order, as pure functions from one frozen order to the next. Money is whole cents.

What the LLM proposes is checked here, and what the customer pays is computed here.
"""

from dataclasses import dataclass, replace

from .menu import MENU, RefusedError

MOST_OF_A_LINE = 20
MOST_LINES = 30

SMALL_NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


@dataclass(frozen=True, slots=True)
class Line:
    """`number` is the customer's for as long as the order lasts: it is never given again."""

    number: int
    item: str
    size: str
    quantity: int
    without: tuple[str, ...] = ()

    @property
    def cents(self) -> int:
        return MENU[self.item].cents[self.size] * self.quantity


@dataclass(frozen=True, slots=True)
class Order:
    lines: tuple[Line, ...] = ()
    added_count: int = 0
    is_finished: bool = False


def add(
    order: Order, item: str, size: str | None, quantity: int, without: tuple[str, ...] = ()
) -> Order:
    """:raises RefusedError: if the menu has it not so, or the order is finished."""
    _refuse_if_finished(order)
    if len(order.lines) == MOST_LINES:
        raise RefusedError("the order is as long as it can be: offer to finish it")
    line = Line(
        order.added_count + 1, item, size or MENU[item].usual_size, quantity, _unique(without)
    )
    return replace(order, lines=(*order.lines, _checked(line)), added_count=order.added_count + 1)


def change(
    order: Order,
    number: int,
    *,
    size: str | None = None,
    quantity: int | None = None,
    without: tuple[str, ...] | None = None,
) -> Order:
    """What is None stays as it is.

    :raises RefusedError: if there is no such line, or the menu has it not so.
    """
    _refuse_if_finished(order)
    line = _line(order, number)
    changed = replace(
        line,
        size=line.size if size is None else size,
        quantity=line.quantity if quantity is None else quantity,
        without=line.without if without is None else _unique(without),
    )
    _checked(changed)
    return replace(order, lines=tuple(changed if at is line else at for at in order.lines))


def remove(order: Order, number: int) -> Order:
    """:raises RefusedError: if there is no such line."""
    _refuse_if_finished(order)
    line = _line(order, number)
    return replace(order, lines=tuple(at for at in order.lines if at is not line))


def finish(order: Order) -> Order:
    """:raises RefusedError: if nothing is ordered, or it is finished already."""
    _refuse_if_finished(order)
    if not order.lines:
        raise RefusedError("nothing is ordered: ask what the customer would like")
    return replace(order, is_finished=True)


def total_cents(order: Order) -> int:
    return sum(line.cents for line in order.lines)


def numbered(order: Order) -> str:
    """The order for the LLM: every line with the number to change it by, and the total."""
    lines = [f"line {line.number}: {spoken_line(line)}" for line in order.lines]
    total = spoken_money(total_cents(order))
    return f"The order is now: {'; '.join(lines) or 'empty'}. Total: {total}."


def summary(order: Order) -> str:
    """The order and its total in sentences to say."""
    said = [spoken_line(line) for line in order.lines]
    listed = f"{', '.join(said[:-1])} and {said[-1]}" if len(said) > 1 else said[0]
    return f"That is {listed}. Your total is {spoken_money(total_cents(order))}."


def spoken_line(line: Line) -> str:
    """As "two large colas without ice"."""
    size = f"{line.size} " if len(MENU[line.item].cents) > 1 else ""
    plural = "" if line.quantity == 1 or line.item.endswith("s") else "s"
    without = f" without {' and '.join(line.without)}" if line.without else ""
    return f"{in_words(line.quantity)} {size}{line.item}{plural}{without}"


def spoken_money(cents: int) -> str:
    """As "nine dollars and forty five cents"; whole dollars alone, and cents alone."""
    dollars, cents = divmod(cents, 100)
    parts = [
        f"{in_words(number)} {unit}{'' if number == 1 else 's'}"
        for number, unit in ((dollars, "dollar"), (cents, "cent"))
        if number
    ]
    return " and ".join(parts) or "nothing"


def in_words(number: int) -> str:
    """A number from 0 to 99,999, as people say it."""
    if number >= 1000:
        return _joined(f"{in_words(number // 1000)} thousand", number % 1000)
    if number >= 100:
        return _joined(f"{in_words(number // 100)} hundred", number % 100)
    if number < len(SMALL_NUMBERS):
        return SMALL_NUMBERS[number]
    return _joined(TENS[number // 10], number % 10)


def _joined(words: str, rest: int) -> str:
    return f"{words} {in_words(rest)}" if rest else words


def _line(order: Order, number: int) -> Line:
    found = [line for line in order.lines if line.number == number]
    if not found:
        raise RefusedError(f"there is no line {number}. {numbered(order)}")
    return found[0]


def _checked(line: Line) -> Line:
    item = MENU[line.item]
    if line.size not in item.cents:
        raise RefusedError(f"{line.item} is {' or '.join(item.cents)}, not {line.size}: offer that")
    if not 1 <= line.quantity <= MOST_OF_A_LINE:
        raise RefusedError(
            f"a line has from 1 to {MOST_OF_A_LINE} of a thing, not {line.quantity}: ask again, or"
            " call remove_item for none"
        )
    if unknown := [part for part in line.without if part not in item.without]:
        raise RefusedError(
            f"{line.item} has no {unknown[0]} to leave out, but {', '.join(item.without) or 'none'}"
        )
    return line


def _unique(parts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(parts))


def _refuse_if_finished(order: Order) -> None:
    if order.is_finished:
        raise RefusedError("the order is finished and on its way: say nothing more than goodbye")
