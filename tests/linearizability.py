"""Judges a recorded history: could one copy of every path, changed one operation at a time, have given these answers?

Its job is the verdict; running clients and recording what they saw is left to those who call it. Every path is judged
alone (linearizability is local: a history is linearizable exactly when each object's part of it is).

How a history is written down
    One `Operation` for each call of a client, with the time just before it was sent and the time just after the answer
    came, both on one clock that never steps. Values are any text that is different for every write (a digest does, if
    the contents differ), so that a value tells which write it came from.

    kind       what it needs to have been OK                                     what it changes
    read       `value` is current; None: there was no such file                  nothing
    write      `condition` held; the lock rule held                              `value` is current; see `releases`
    delete     `condition` held; the lock rule held                              there is no file; see `releases`
    acquire    nobody holds the lock, `lock_number` is higher than all before    the lock is held under `lock_number`
    renew      the lock is held under `lock_number`                              held at least `lease` from `called`
    release    `lock_number` was granted (it may have ended: releasing repeats)  nobody holds the lock, if it was that
    break      nothing                                                           nobody holds the lock

    The lock rule: a write without a number (0) needs that nobody holds the lock; a write with one needs that the lock
    is held under just that number. A lock may end by itself once `lease` seconds have passed since the call that
    granted or renewed it; nobody has to notice at once.

    outcome           meaning
    OK                done as told above
    UNKNOWN           a time-out, a lost answer: it may take effect at any time after the call, even after the end, or
                      never. `returned` is not looked at. An unknown read says nothing and is left out
    CONDITION_FALSE   refused because `condition` did not hold: that is checked, as it tells something of the state
    MISSING           refused because there is no such file: checked
    FAILED            refused for another reason, and certain to have had no effect: left out

How it is decided
    The events are gone through in the order of time, with every state that the answers so far leave possible. When an
    operation returns, each state is carried on by those pending operations that let it have happened by now; the states
    that cannot explain it are dropped, and if none is left, that operation is the violation. Operations which change
    nothing are taken as soon as they fit: waiting could not help. Of two equal states the one that has used fewer
    unknown operations is kept alone: whatever the other can still explain, it can too. Of unknown operations that would
    do the same (among them all lost writes whose value no answer mentions) the earliest unused is tried alone. So a
    history with many time-outs stays nearly as cheap as one without.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum

ABSENT = ""  # as a condition: there is no such file
ANY = "*"  # as a condition: there is one, whatever it holds
NAMELESS = "(of a lost write, seen by nobody)"
UNKNOWN_NUMBER = -1  # the lock is held by an acquire whose answer was lost


class Outcome(Enum):
    """What a client knows of its operation after it ended."""

    OK = "ok"
    UNKNOWN = "unknown"
    CONDITION_FALSE = "condition false"
    MISSING = "missing"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of one client; the module says what each field means for each kind.

    `called`, `returned` and `lease` are seconds on one clock. `condition`: None is no condition, ABSENT, ANY, or the
    value that has to be current.
    """

    client: str
    kind: str
    path: str
    called: float
    returned: float
    outcome: Outcome
    value: str | None = None
    condition: str | None = None
    lock_number: int = 0
    lease: float = 0.0
    releases: bool = False
    note: str = ""

    def __str__(self) -> str:
        end = "…" if self.outcome is Outcome.UNKNOWN else f"{self.returned:.4f}"
        parts = [f"{self.called:.4f}-{end} {self.client} {self.kind} {self.path}: {self.outcome.value}"]
        if self.kind in ("read", "write"):
            parts.append(f"value {self.value}")
        if self.condition is not None:
            parts.append(f"if {self.condition or 'absent'}")
        if self.lock_number:
            parts.append(f"lock number {self.lock_number}")
        if self.note:
            parts.append(self.note)
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Violation:
    """The first operation that nothing can explain, with what was around it."""

    path: str
    operation: Operation
    possible: tuple[str, ...]
    before: tuple[Operation, ...]

    def __str__(self) -> str:
        lines = [f"not linearizable at {self.path}: {self.operation}", "states possible before it:"]
        lines += [f"  {state}" for state in self.possible]
        lines += ["the operations called before it returned, the last of them:"]
        lines += [f"  {operation}" for operation in self.before]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class _State:
    """One path at one moment: `holder` 0 is no lock; before `until` the lock cannot have ended by itself."""

    value: str | None = None
    fence: int = 0
    holder: int = 0
    until: float = 0.0


_Config = tuple[_State, int, int]  # the state, the known pending operations taken (bits), the unknown ones taken (bits)

KINDS = frozenset({"read", "write", "delete", "acquire", "renew", "release", "break"})


def check(history: Iterable[Operation], before: int = 25) -> Violation | None:
    """The first violation of the first path that has one (paths in order), or None if every path is linearizable.

    `before`: how many operations around it a violation shows. Raises ValueError for an operation it does not know.
    """
    paths: dict[str, list[Operation]] = defaultdict(list)
    for operation in history:
        if operation.kind not in KINDS:
            raise ValueError(f"the checker knows no operation {operation.kind!r}")
        if operation.outcome is not Outcome.UNKNOWN and operation.returned < operation.called:
            raise ValueError(f"it returned before it was called: {operation}")
        if _tells_something(operation):
            paths[operation.path].append(operation)
    for path in sorted(paths):
        violation = _check_path(path, sorted(paths[path], key=lambda operation: operation.called), before)
        if violation is not None:
            return violation
    return None


def _tells_something(operation: Operation) -> bool:
    if operation.outcome is Outcome.UNKNOWN:
        return operation.kind not in ("read", "renew")
    return operation.outcome is not Outcome.FAILED


def _check_path(path: str, operations: list[Operation], before: int) -> Violation | None:
    # A call at the same moment as a return counts as before it: the two may have overlapped.
    events = [(operation.called, 0, index) for index, operation in enumerate(operations)]
    events += [
        (operation.returned, 1, index)
        for index, operation in enumerate(operations)
        if operation.outcome is not Outcome.UNKNOWN
    ]
    pending = _Pending(_nameless(operations))
    configs: set[_Config] = {(_State(), 0, 0)}
    for moment, is_return, index in sorted(events):
        if not is_return:
            pending.add(index)
            configs = {pending.absorb(config) for config in configs}
            continue
        carried = _carry_on(configs, pending, index, moment)
        if not carried:
            shown = tuple(sorted({str(state) for state, _, _ in configs}))
            around = [operation for operation in operations if operation.called <= moment]
            return Violation(path, operations[index], shown[:10], tuple(around[-before:]))
        pending.drop(index)
        configs = carried
    return None


def _nameless(operations: list[Operation]) -> list[Operation]:
    """The same with one value for all lost writes that no answer mentions: nothing can tell them from one another."""
    mentioned = {operation.condition for operation in operations}
    mentioned |= {operation.value for operation in operations if operation.outcome is not Outcome.UNKNOWN}
    return [
        replace(operation, value=NAMELESS)
        if operation.outcome is Outcome.UNKNOWN and operation.kind == "write" and operation.value not in mentioned
        else operation
        for operation in operations
    ]


class _Pending:
    """The operations that were called and have not returned, by what they can do to a state."""

    def __init__(self, operations: list[Operation]) -> None:
        self.operations = operations
        self.effects = [(each.kind, each.value, each.condition, each.lock_number, each.releases) for each in operations]
        self.watching: list[int] = []  # they change nothing
        self.changing: list[int] = []
        self.unknown: list[int] = []

    def add(self, index: int) -> None:
        self._list_of(index).append(index)

    def drop(self, index: int) -> None:
        self._list_of(index).remove(index)

    def _list_of(self, index: int) -> list[int]:
        operation = self.operations[index]
        if operation.outcome is Outcome.UNKNOWN:
            return self.unknown
        changes = operation.outcome is Outcome.OK and operation.kind != "read"
        return self.changing if changes else self.watching

    def absorb(self, config: _Config) -> _Config:
        """`config` with every pending operation taken that fits and changes nothing."""
        state, taken, unknown = config
        for index in self.watching:
            if not taken >> index & 1 and _is_explained(self.operations[index], state):
                taken |= 1 << index
        return state, taken, unknown

    def steps(self, config: _Config, moment: float) -> list[_Config]:
        """What one more changing operation, taken by `moment`, makes of `config`."""
        state, taken, unknown = config
        found: list[_Config] = []
        for index in self.changing:
            if not taken >> index & 1:
                after = _after(self.operations[index], state, moment)
                if after is not None:
                    found.append(self.absorb((after, taken | 1 << index, unknown)))
        tried: set[tuple[object, ...]] = set()
        for index in self.unknown:
            if unknown >> index & 1 or (effect := self.effects[index]) in tried:
                continue
            tried.add(effect)  # of those with one effect the earliest is as good as any
            after = _after(self.operations[index], state, moment)
            if after is not None and after != state:
                found.append(self.absorb((after, taken, unknown | 1 << index)))
        return found


def _carry_on(configs: set[_Config], pending: _Pending, returning: int, moment: float) -> set[_Config]:
    """Every configuration in which `returning` has happened by `moment`, with its bit taken away; dominated ones not.

    Fewer unknown operations first: a configuration reached with more of them, and otherwise equal, is of no use.
    """
    bit = 1 << returning
    seen = _Minimal()
    done = _Minimal()
    waiting: dict[int, list[_Config]] = defaultdict(list)
    for config in configs:
        waiting[config[2].bit_count()].append(config)
    level = 0
    while waiting:
        if level not in waiting:
            level += 1
            continue
        stack = waiting.pop(level)
        while stack:
            config = stack.pop()
            if not seen.admit(config):
                continue
            state, taken, unknown = config
            if taken & bit:
                done.admit((state, taken & ~bit, unknown))
                continue
            for after in pending.steps(config, moment):
                if after[2] == unknown:
                    stack.append(after)
                else:
                    waiting[level + 1].append(after)
        level += 1
    return done.configs()


class _Minimal:
    """Configurations of which none has the same state as another while having used more unknown operations."""

    def __init__(self) -> None:
        self._used: dict[tuple[_State, int], list[int]] = {}

    def admit(self, config: _Config) -> bool:
        """Whether `config` is of use beside those admitted before; it is kept if so."""
        state, taken, unknown = config
        used = self._used.setdefault((state, taken), [])
        if any(other & unknown == other for other in used):
            return False
        used[:] = [other for other in used if other & unknown != unknown]
        used.append(unknown)
        return True

    def configs(self) -> set[_Config]:
        return {(state, taken, unknown) for (state, taken), used in self._used.items() for unknown in used}


def _is_explained(operation: Operation, state: _State) -> bool:
    """Whether `state` gives the answer that an operation without effect had."""
    if operation.outcome is Outcome.MISSING:
        return state.value is None
    if operation.outcome is Outcome.CONDITION_FALSE:
        return not _condition_holds(operation.condition, state.value)
    return state.value == operation.value


def _condition_holds(condition: str | None, value: str | None) -> bool:
    if condition is None:
        return True
    if condition == ABSENT:
        return value is None
    if condition == ANY:
        return value is not None
    return value == condition


def _after(operation: Operation, state: _State, moment: float) -> _State | None:
    """The state after a changing operation that happened by `moment`; None if it cannot have succeeded here."""
    free = not state.holder or moment >= state.until
    number = operation.lock_number
    kind = operation.kind
    if kind == "break":
        return _State(state.value, state.fence)
    if kind == "acquire":
        return _acquired(operation, state) if free else None
    if kind == "release":
        if state.holder == number:
            return _State(state.value, state.fence)
        return state if state.fence >= number else None
    if kind == "renew":
        if state.holder != number:
            return None
        return _State(state.value, state.fence, number, max(state.until, operation.called + operation.lease))
    allowed = state.holder == number if number else free
    if not allowed or not _condition_holds(operation.condition, state.value):
        return None
    value = operation.value if kind == "write" else None
    if operation.releases and number:
        return _State(value, state.fence)
    if number:
        return _State(value, state.fence, state.holder, state.until)
    return _State(value, state.fence)  # it succeeded without a number: so nobody holds the lock any more


def _acquired(operation: Operation, state: _State) -> _State | None:
    if operation.outcome is Outcome.UNKNOWN:
        return _State(state.value, state.fence, UNKNOWN_NUMBER, -math.inf)
    if operation.lock_number <= state.fence:
        return None
    return _State(state.value, operation.lock_number, operation.lock_number, operation.called + operation.lease)
