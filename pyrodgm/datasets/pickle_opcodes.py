"""What a pickle would do, read from its opcodes before any of them is run."""

import io
import pickletools
from collections.abc import Iterator
from typing import Any

from pyrodgm.errors import PyrodgmError

OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}
MARK = "mark"
PLAIN, CONTAINER = "plain", "container"  # kinds of values: containers as keys would be hashed, whatever they hold

PUSHES = {
    **dict.fromkeys(("NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2"), PLAIN),
    **dict.fromkeys(("LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "GLOBAL"), PLAIN),
    **dict.fromkeys(
        ("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"), PLAIN
    ),
    **dict.fromkeys(("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"), PLAIN),
    **dict.fromkeys(("EMPTY_TUPLE", "EMPTY_LIST", "EMPTY_DICT"), CONTAINER),
    "MARK": MARK,
}
# Values that an opcode takes from the stack, and the kind of that which it puts there.
REPLACES = {
    "TUPLE1": (1, CONTAINER),
    "TUPLE2": (2, CONTAINER),
    "TUPLE3": (3, CONTAINER),
    "APPEND": (2, CONTAINER),
    "REDUCE": (2, PLAIN),
    "STACK_GLOBAL": (2, PLAIN),
    "BUILD": (2, PLAIN),
}


class UnsafePickleError(PyrodgmError):
    """A pickle asks for something that is not read."""


def check_opcodes(content: bytes) -> None:
    """Refuse a pickle that asks for more than arrays, in lists, tuples and dictionaries, need.

    Python's unpickler does what it is told before anybody can look: it makes room for a memo of any size, and hashes
    keys of any depth, twice as long for each level. Here every opcode is one that writers of arrays use,
    memo entries are no more than opcodes, keys are no containers, and no size exceeds that of the content.

    Raises:
        UnsafePickleError: it has another opcode.
        ValueError: it asks for more than it needs.
        Exception: it is damaged.
    """
    stack: list[str] = []
    memo: dict[int, str] = {}
    for count, (name, argument, position) in enumerate(_opcodes(content)):
        if name in PUSHES:
            stack.append(PUSHES[name])
        elif name in REPLACES:
            taken, kind = REPLACES[name]
            _take(stack, taken)
            stack.append(kind)
        elif name in ("TUPLE", "LIST", "DICT"):
            items = _since_mark(stack)
            _check_keys(items if name == "DICT" else [], position)
            stack.append(CONTAINER)
        elif name in ("APPENDS", "SETITEMS"):
            items = _since_mark(stack)
            _check_keys(items if name == "SETITEMS" else [], position)
        elif name == "SETITEM":
            _check_keys(_take(stack, 2), position)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            index = len(memo) if argument is None else argument
            if not 0 <= index <= count:
                raise ValueError(f"memo entry {index} at byte {position}, after {count} opcodes")
            memo[index] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "FRAME":
            if argument > len(content) - position:
                raise ValueError(f"a frame of {argument} bytes at byte {position} of {len(content)}")
        elif name not in ("PROTO", "STOP"):
            raise UnsafePickleError(f"the opcode {name} at byte {position}")


def _opcodes(content: bytes) -> Iterator[tuple[str, Any, int]]:
    """Name, argument and position of each opcode, up to the end; texts of Python 2 need not be ASCII."""
    file = io.BytesIO(content)
    name = ""
    while name != "STOP":
        position = file.tell()
        opcode = OPCODES[file.read(1).decode("latin1")]
        name = opcode.name
        if name == "STRING":
            yield name, file.readline(), position
        else:
            yield name, None if opcode.arg is None else opcode.arg.reader(file), position


def _take(stack: list[str], count: int) -> list[str]:
    """The top of the stack, removed."""
    taken = stack[-count:]
    if len(taken) < count or MARK in taken:
        raise ValueError("an opcode takes more than there is")
    del stack[-count:]
    return taken


def _since_mark(stack: list[str]) -> list[str]:
    """What lies above the last mark, removed with it."""
    items = []
    while (item := stack.pop()) != MARK:
        items.append(item)
    return items[::-1]


def _check_keys(items: list[str], position: int) -> None:
    if CONTAINER in items[::2]:
        raise ValueError(f"a list, tuple or dictionary as a key at byte {position}")
