"""The judge is judged: by histories whose verdict is plain, and beside a search that tries every order."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest

from tests.linearizability import ABSENT, ANY, Operation, Outcome, _after, _is_explained, _State, check


def operation(kind: str, called: float, returned: float, value: str | None = None, **more: object) -> Operation:
    outcome = more.pop("outcome", Outcome.OK)
    return Operation("c", kind, "p", called, returned, outcome, value, **more)  # type: ignore[arg-type]


def test_a_read_of_what_was_just_written_is_right_and_of_what_was_before_is_not() -> None:
    """An acknowledged write is what the next read gives."""
    history = [operation("write", 0, 1, "a"), operation("write", 2, 3, "b")]
    assert check([*history, operation("read", 4, 5, "b")]) is None
    violation = check([*history, operation("read", 4, 5, "a")])
    assert violation is not None
    assert violation.operation.value == "a"
    assert "not linearizable at p" in str(violation)


def test_two_reads_may_not_see_a_write_and_then_not() -> None:
    """While a write runs, reads may see either state, but never go back."""
    write = operation("write", 0, 10, "a")
    new, old = operation("read", 1, 2, "a"), operation("read", 3, 4, None)
    assert check([write, new]) is None
    assert check([write, replace(old, called=1, returned=2)]) is None
    assert check([write, new, old]) is not None


def test_an_unknown_write_may_take_effect_late_or_never_but_only_once() -> None:
    """A time-out is neither a success nor a failure."""
    lost = operation("write", 0, 0, "lost", outcome=Outcome.UNKNOWN)
    other = operation("write", 5, 6, "other")
    assert check([lost, other, operation("read", 7, 8, "other")]) is None
    assert check([lost, other, operation("read", 7, 8, "lost")]) is None
    back = [operation("read", 7, 8, "lost"), operation("write", 9, 10, "x"), operation("read", 11, 12, "lost")]
    assert check([lost, other, *back]) is not None


def test_a_value_that_nobody_wrote_is_a_violation() -> None:
    """Bytes from nowhere are never explained."""
    assert check([operation("read", 0, 1, "ghost")]) is not None


def test_of_two_writers_on_one_condition_one_wins() -> None:
    """Two successes of `If-None-Match: *` without a delete between them cannot both be."""
    first, second = (operation("write", 0, 5, name, condition=ABSENT) for name in "ab")
    assert check([first, second]) is not None
    assert check([first, replace(second, outcome=Outcome.CONDITION_FALSE)]) is None
    assert check([first, operation("delete", 0, 5), second]) is None


def test_a_refusal_tells_of_the_state_too() -> None:
    """A condition that must have held cannot be refused as false, nor a file that is there be missing."""
    write = operation("write", 0, 1, "a")
    assert check([write, operation("write", 2, 3, "b", condition="a", outcome=Outcome.CONDITION_FALSE)]) is not None
    assert check([write, operation("write", 2, 3, "b", condition=ANY, outcome=Outcome.CONDITION_FALSE)]) is not None
    assert check([write, operation("delete", 2, 3, outcome=Outcome.MISSING)]) is not None
    assert check([operation("delete", 2, 3, outcome=Outcome.MISSING)]) is None


def test_lock_numbers_rise_and_guard_writes() -> None:
    """A number that falls, a write under an old number, and a write past a held lock are each found."""
    first = operation("acquire", 0, 1, lock_number=5, lease=60)
    assert check([first, operation("acquire", 70, 71, lock_number=5, lease=60)]) is not None
    assert check([first, operation("acquire", 2, 3, lock_number=6, lease=60)]) is not None
    second = operation("acquire", 70, 71, lock_number=6, lease=60)
    assert check([first, second]) is None
    assert check([first, second, operation("write", 72, 73, "late", lock_number=5)]) is not None
    assert check([first, operation("write", 2, 3, "unlocked")]) is not None
    assert check([first, operation("write", 2, 3, "mine", lock_number=5)]) is None
    assert check([first, operation("write", 61, 62, "after its end")]) is None


def test_a_release_by_write_frees_the_lock() -> None:
    """A write that releases its lock lets the next one in before the lease has ended."""
    first = operation("acquire", 0, 1, lock_number=5, lease=60)
    write = operation("write", 2, 3, "mine", lock_number=5, releases=True)
    second = operation("acquire", 4, 5, lock_number=6, lease=60)
    assert check([first, write, second]) is None
    assert check([first, replace(write, releases=False), second]) is not None
    assert check([first, operation("renew", 50, 51, lock_number=5, lease=60), second]) is not None


def test_many_unknown_operations_stay_cheap() -> None:
    """Sixty lost writes, and a violation after them that cannot be explained by any order, are judged in a moment."""
    lost = [operation("write", at, 0, f"lost{at}", outcome=Outcome.UNKNOWN) for at in range(60)]
    known = [operation("write", 100 + 2 * at, 101 + 2 * at, f"w{at}") for at in range(100)]
    assert check([*lost, *known, operation("read", 400, 401, "lost7")]) is None
    assert check([*lost, *known, operation("read", 400, 401, "w3")]) is not None


@pytest.mark.timeout(60)
def test_many_unknown_operations_of_every_kind_stay_cheap(seed: int) -> None:
    """A hundred lost writes, deletes and acquires among hundreds of known operations are judged in seconds."""
    rng = random.Random(seed)
    history, value, number = [], None, 0
    for at in range(400):
        if rng.random() < 0.25:
            kind = rng.choice(("write", "delete", "acquire"))
            lost = f"lost{at}" if kind == "write" else None
            history.append(operation(kind, at, at, lost, outcome=Outcome.UNKNOWN))
        action = rng.random()
        if action < 0.5:
            history.append(operation("read", at, at + 1.5, value))
        elif action < 0.6:
            value = None
            history.append(operation("delete", at, at + 0.5))
        elif action < 0.7:
            number += 1
            history.append(operation("acquire", at, at + 0.2, lock_number=number, lease=1.0))
            history.append(operation("release", at + 0.3, at + 0.4, lock_number=number))
        else:
            value = f"v{at}"
            history.append(operation("write", at, at + 0.5, value))
    assert check(history) is None
    assert check([*history, operation("read", 500, 501, "nobody's")]) is not None


def test_an_unknown_kind_is_an_error() -> None:
    """A misspelt operation is no silent success."""
    with pytest.raises(ValueError, match="knows no operation"):
        check([operation("wrote", 0, 1)])


def by_trying_every_order(history: list[Operation]) -> bool:
    """Whether some order of some subset (with every known operation) explains the history; only for a handful."""
    known = [each for each in history if each.outcome not in (Outcome.UNKNOWN, Outcome.FAILED)]
    unknown = [each for each in history if each.outcome is Outcome.UNKNOWN and each.kind != "read"]
    return any(
        _fits(order)
        for count in range(len(unknown) + 1)
        for used in itertools.combinations(unknown, count)
        for order in itertools.permutations([*known, *used])
    )


def _fits(order: tuple[Operation, ...]) -> bool:
    state: _State | None = _State()
    for place, each in enumerate(order):
        if any(later.outcome is not Outcome.UNKNOWN and later.returned < each.called for later in order[place + 1 :]):
            return False
        assert state is not None
        if each.kind == "read" or each.outcome in (Outcome.CONDITION_FALSE, Outcome.MISSING):
            if not _is_explained(each, state):
                return False
            continue
        state = _after(each, state, 0.0)
        if state is None:
            return False
    return True


def made_up(random: random.Random) -> list[Operation]:
    """Six operations on one path, with overlapping times and answers that are often, not always, possible."""
    history = []
    for index in range(6):
        called = float(random.randrange(8))
        returned = called + random.randrange(1, 6) + 0.5
        kind = random.choice(["read", "read", "write", "write", "delete"])
        value = random.choice([None, "v0", "v1", "v2", "v3"]) if kind == "read" else f"v{index}"
        condition = random.choice([None, None, ABSENT, ANY, "v0", "v1"]) if kind == "write" else None
        outcomes = [Outcome.OK, Outcome.OK, Outcome.UNKNOWN]
        if condition is not None:
            outcomes.append(Outcome.CONDITION_FALSE)
        history.append(operation(kind, called, returned, value, condition=condition, outcome=random.choice(outcomes)))
    return history


def test_its_verdict_is_that_of_a_search_through_every_order(seed: int) -> None:
    """Over made-up histories, it never finds a violation where there is none and never misses one."""
    source = random.Random(seed)
    verdicts = [0, 0]
    for _ in range(150):
        history = made_up(source)
        linearizable = by_trying_every_order(history)
        verdicts[linearizable] += 1
        assert (check(history) is None) is linearizable, "\n".join(map(str, history))
    assert min(verdicts) >= 10, "the made-up histories must have both verdicts"
