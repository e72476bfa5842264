"""The published pickle form of a ranking, written, and read without unpickling.

Unpickling runs whatever the file says. This reader walks the opcodes of the file and builds nothing but a dictionary of
integer arrays: it calls no function named in the file, imports nothing, and holds a few times what the file holds.
Opcodes and names outside the short lists below are refused, whatever they would have done, and so are more opcodes than
two arrays need. It reads what Python 3 makes of `{str: integer array (n,)}` in pickle protocols 0 to 5, under numpy 1
and 2 (in 5, without out-of-band buffers).
"""

from __future__ import annotations

import pickle  # noqa: TID251 - only its writer is used
import pickletools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mest.errors import DamagedError

MOST_SAMPLES = 1 << 24
MOST_BYTES = 16 * MOST_SAMPLES  # two arrays of 64-bit integers; a larger file is no ranking
MOST_OPCODES = 1000  # a ranking takes about a hundred

# The names that a pickled integer array mentions. None of them is ever imported or called.
RECONSTRUCT = frozenset({"numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct"})
FROM_BUFFER = frozenset({"numpy.core.numeric _frombuffer", "numpy._core.numeric _frombuffer"})
NAMES = RECONSTRUCT | FROM_BUFFER | {"numpy ndarray", "numpy dtype", "_codecs encode"}

INTEGERS = frozenset({"INT", "BININT", "BININT1", "BININT2"})
TEXTS = frozenset({"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "STRING", "BINSTRING", "SHORT_BINSTRING"})
BYTES = frozenset({"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"})
CONSTANTS = INTEGERS | TEXTS | BYTES
LITERALS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
TUPLE_LENGTHS = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
ORDERS = {"<", ">", "|"}  # "|" is that of single bytes
KINDS = {f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)}


class _Refused(Exception):
    """Something that no dictionary of integer arrays needs."""


@dataclass(frozen=True)
class _Name:
    """A module and attribute that the file mentions."""

    text: str


@dataclass
class _Dtype:
    """What the file says of an element type."""

    code: str
    order: str = "|"


@dataclass
class _Array:
    """What the file says of an array."""

    shape: tuple[int, ...] = ()
    dtype: _Dtype | None = None
    data: bytes | str = b""  # a text spells one byte with each character

    def build(self) -> npt.NDArray[np.int64]:
        if self.dtype is None or self.dtype.code not in KINDS or self.dtype.order not in ORDERS:
            raise _Refused(f"an array of {self.dtype.code if self.dtype else 'no'} elements")
        if len(self.shape) != 1 or type(self.shape[0]) is not int or not 0 <= self.shape[0] <= MOST_SAMPLES:
            raise _Refused(f"an array that is not (n,) with n up to {MOST_SAMPLES}")
        dtype = np.dtype(self.dtype.code).newbyteorder("<" if self.dtype.order == "<" else ">")
        if len(self.data) != self.shape[0] * dtype.itemsize:
            raise _Refused(f"{len(self.data)} bytes for an array of shape {self.shape}")
        flat = np.frombuffer(self.data.encode("latin-1") if isinstance(self.data, str) else self.data, dtype)
        if flat.size and flat.max() > np.iinfo(np.int64).max:
            raise _Refused("integers above 63 bits")
        return flat.astype(np.int64)


@dataclass
class _Machine:
    """The stack and the memo of a pickle, over values that can do nothing."""

    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def pop(self) -> Any:
        if not self.stack or (self.marks and len(self.stack) <= self.marks[-1]):
            raise _Refused("an empty stack")
        return self.stack.pop()

    def pop_mark(self) -> list[Any]:
        if not self.marks:
            raise _Refused("a missing mark")
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def step(self, opcode: str, argument: Any) -> None:
        """Carry out one opcode; raises _Refused for one that is not needed."""
        stack = self.stack
        if opcode in ("PROTO", "FRAME"):
            pass
        elif opcode in CONSTANTS:
            stack.append(bytes(argument) if isinstance(argument, bytearray) else argument)
        elif opcode in LITERALS:
            stack.append(LITERALS[opcode])
        elif opcode == "MARK":
            self.marks.append(len(stack))
        elif opcode == "EMPTY_DICT":
            stack.append({})
        elif opcode == "DICT":
            stack.append(_pairs(self.pop_mark()))
        elif opcode in TUPLE_LENGTHS:
            items = [self.pop() for _ in range(TUPLE_LENGTHS[opcode])]
            stack.append(tuple(reversed(items)))
        elif opcode == "TUPLE":
            stack.append(tuple(self.pop_mark()))
        elif opcode in ("SETITEM", "SETITEMS"):
            items = self.pop_mark() if opcode == "SETITEMS" else [self.pop(), self.pop()][::-1]
            self._top(dict).update(_pairs(items))
        elif opcode in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self._top(object)
        elif opcode == "MEMOIZE":
            self.memo[len(self.memo)] = self._top(object)
        elif opcode in ("GET", "BINGET", "LONG_BINGET"):
            if argument not in self.memo:
                raise _Refused("a value that was never stored")
            stack.append(self.memo[argument])
        elif opcode == "GLOBAL":
            stack.append(_name(argument))
        elif opcode == "STACK_GLOBAL":
            attribute, module = self._pop_text(), self._pop_text()
            stack.append(_name(f"{module} {attribute}"))
        elif opcode == "REDUCE":
            arguments, function = self.pop(), self.pop()
            stack.append(_reduce(function, arguments))
        elif opcode == "BUILD":
            state = self.pop()
            _set_state(self._top(object), state)
        else:
            raise _Refused(f"the opcode {opcode}")

    def _pop_text(self) -> str:
        value = self.pop()
        if not isinstance(value, str):
            raise _Refused(f"{type(value).__name__} where a name belongs")
        return value

    def _top(self, kind: type) -> Any:
        value = self.pop()
        self.stack.append(value)
        if not isinstance(value, kind):
            raise _Refused(f"{type(value).__name__} where a {kind.__name__} belongs")
        return value


def _name(text: str) -> _Name:
    if text not in NAMES:
        raise _Refused(f"the name {text.replace(' ', '.')[:80]!r}")
    return _Name(text)


def _pairs(items: list[Any]) -> dict[str, Any]:
    keys, values = items[::2], items[1::2]
    if len(keys) != len(values) or not all(isinstance(key, (str, bytes)) for key in keys):
        raise _Refused("a dictionary whose keys are not names")
    names = [key.decode("latin-1") if isinstance(key, bytes) else key for key in keys]
    return dict(zip(names, values, strict=True))


def _reduce(function: Any, arguments: Any) -> Any:
    """What a call that pickled arrays contain would give; no function is called."""
    if not isinstance(function, _Name) or not isinstance(arguments, tuple):
        raise _Refused("a call of something that is not a name")
    if function.text in RECONSTRUCT:
        return _Array()
    if function.text in FROM_BUFFER and len(arguments) == 4:
        data, dtype, shape, _ = arguments
        if not isinstance(data, bytes) or not isinstance(dtype, _Dtype) or not isinstance(shape, tuple):
            raise _Refused("a malformed array")
        return _Array(shape, dtype, data)
    if function.text == "numpy dtype" and arguments and isinstance(arguments[0], str):
        return _Dtype(arguments[0])
    if function.text == "_codecs encode" and len(arguments) == 2 and isinstance(arguments[0], str):
        return arguments[0]  # how protocols 0 to 2 spell bytes; encoded once, when an array is built
    raise _Refused(f"a call of {function.text.replace(' ', '.')}")


def _set_state(value: Any, state: Any) -> None:
    if isinstance(value, _Dtype) and isinstance(state, tuple) and len(state) >= 2 and isinstance(state[1], str):
        value.order = state[1]
    elif isinstance(value, _Array) and isinstance(state, tuple) and len(state) == 5:
        _, shape, dtype, _, data = state
        if not isinstance(shape, tuple) or not isinstance(dtype, _Dtype) or not isinstance(data, (bytes, str)):
            raise _Refused("a malformed array")
        value.shape, value.dtype, value.data = shape, dtype, data
    else:
        raise _Refused("a state for something that has none")


def read_integer_arrays(path: Path, names: frozenset[str]) -> dict[str, npt.NDArray[np.int64]]:
    """The integer arrays called `names` that the pickle at `path` holds, as int64; raises DamagedError for any other.

    The dictionary must hold exactly these names, each an array of integers.
    """
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise DamagedError(f"{path}: {size} bytes; a ranking has at most {MOST_BYTES}, so this is none")
    machine = _Machine()
    try:
        for number, (opcode, argument, _) in enumerate(pickletools.genops(path.read_bytes())):
            if opcode.name == "STOP":
                break
            if number == MOST_OPCODES:
                raise _Refused(f"more than {MOST_OPCODES} opcodes")
            machine.step(opcode.name, argument)
        if len(machine.stack) != 1 or not isinstance(machine.stack[0], dict):
            raise _Refused("something that is not one dictionary")
        values: dict[str, Any] = machine.stack[0]
        if set(values) != names:
            raise _Refused(f"a dictionary of other things than {', '.join(sorted(names))}")
        return {name: _built(name, value) for name, value in values.items()}
    except (_Refused, ValueError, OverflowError, RecursionError) as refused:
        reason = str(refused).splitlines()[0][:160]
        raise DamagedError(
            f"{path}: not a pickled ranking ({reason}); only a dictionary of integer arrays is read, nothing was run"
        ) from None


def _built(name: str, value: Any) -> npt.NDArray[np.int64]:
    if not isinstance(value, _Array):
        raise _Refused(f"a {type(value).__name__} under {name!r}")
    return value.build()


def pickle_integer_arrays(arrays: dict[str, npt.NDArray[np.int64]]) -> bytes:
    """The bytes of the published form: a pickled dictionary of int64 arrays, protocol 3 as in the published file."""
    return pickle.dumps({name: np.ascontiguousarray(array, np.int64) for name, array in arrays.items()}, protocol=3)
