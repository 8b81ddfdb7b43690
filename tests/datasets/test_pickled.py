"""The unpickler of arrays, against NumPy's own pickles, and against pickles that ask for more."""

import codecs
import contextlib
import os
import pickle
import subprocess
import tracemalloc

import numpy as np
import pytest
from fresh_process import run_python
from hypothesis import given, settings
from hypothesis import strategies as st

from pyrodgm.datasets.pickled import parse_pickle

ARRAYS = {
    "bytes": np.arange(256, dtype=np.uint8).reshape(16, 16),
    "doubles": np.linspace(-1, 1, 7),
    "big-endian": np.arange(5, dtype=">i4"),
    "columns first": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    "three dimensions": np.arange(24, dtype=np.int64).reshape(2, 3, 4),
    "nothing": np.zeros((0, 3)),
    "truth": np.array([True, False]),
}


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("protocol", range(5))
def test_arrays_come_back(name, protocol):
    array = ARRAYS[name]
    found = parse_pickle(pickle.dumps({"a": [array], "b": (array.T, 3, "text", None)}, protocol=protocol))
    for value, expected in ((found["a"][0], array), (found["b"][0], array.T)):
        assert value.dtype == expected.dtype
        np.testing.assert_array_equal(value, expected)
    assert found["b"][1:] == (3, "text", None)


# As Python 2 wrote them, the bytes as a text of one character each.
PYTHON2 = (
    b"(lp0\ncnumpy.core.multiarray\n_reconstruct\np1\n(cnumpy\nndarray\np2\n(I0\ntp3\nS'b'\np4\ntp5\nRp6\n"
    b"(I1\n(I2\nI2\ntp7\ncnumpy\ndtype\np8\n(S'u1'\np9\nI0\nI1\ntp10\nRp11\n(I3\nS'|'\np12\nNNNI-1\nI-1\nI0\ntp13\n"
    b"bI00\nS'\\x00\\xff\\xe9A'\np14\ntp15\nba."
)


def test_python_2():
    (array,) = parse_pickle(PYTHON2)
    np.testing.assert_array_equal(array, np.array([[0, 255], [233, 65]], dtype=np.uint8))
    np.testing.assert_array_equal(pickle.loads(PYTHON2, encoding="latin1")[0], array)


class Malice:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def test_malicious_pickles_run_nothing(tmp_path):
    path = tmp_path / "executed"
    attacks = [
        (Malice(os.system, f"touch {path}"), r"posix\.system"),
        ([np.zeros(2), Malice(eval, f"open({str(path)!r}, 'w')")], r"eval"),
        (Malice(exec, f"open({str(path)!r}, 'w')"), r"exec"),
        (Malice(np.fromfile, str(path)), "fromfile"),
        (Malice(np.memmap, str(path), "u1", "w+", 0, (3,)), r"numpy\.memmap"),
        (Malice(subprocess.Popen, ["touch", str(path)]), "Popen"),
        (Malice(getattr, "text", "upper"), "getattr"),
        (np.array([Malice(os.system, f"touch {path}")], dtype=object), "posix.system|type 'O8'"),
        (np.array([None, 1], dtype=object), "type 'O8'"),
        (np.zeros(2, dtype=[("a", "f4"), ("b", "i4")]), "type 'V8'"),
        (np.float64(3.0), "scalar"),
        ({1, 2}, "set|EMPTY_SET"),
        (bytearray(b"12"), "bytearray"),
        (Malice(codecs.encode, "text", "rot13"), r"_codecs\.encode of a str as 'rot13'"),
        (Malice(codecs.encode, b"text", "latin1"), r"_codecs\.encode of a bytes"),
    ]
    for attack, name in attacks:
        for protocol in (2, 4):
            with pytest.raises(ValueError, match=f"asks for .*(?:{name})"):
                parse_pickle(pickle.dumps(attack, protocol=protocol))
    assert not path.exists()
    pickle.loads(pickle.dumps(attacks[0][0]))
    assert path.exists()  # the attacks are real


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no pickle of NumPy arrays"),
        (PYTHON2[:100], "no pickle of NumPy arrays"),
        (PYTHON2.replace(b"I2\nI2", b"I2\nI3"), "cannot reshape"),
        (PYTHON2.replace(b"S'|'", b"S'!'"), "byte order '!'"),
        (PYTHON2.replace(b"S'u1'", b"S'u9'"), "type 'u9'"),
        (PYTHON2.replace(b"cnumpy\ndtype", b"cnumpy\nndarray"), "without a type"),
        (b"cnumpy\nndarray\n.", "asks for a type"),
        (b"cnumpy\nndarray\n(I0\ntR.", "no pickle of NumPy arrays"),
        (b"cpyrodgm.datasets.pickled\n_Unpickler\n.", r"pyrodgm\.datasets\.pickled\._Unpickler"),
        (b"\x80\x02\x82\x01.", "asks for the opcode EXT1"),
        (b"(lp0\ng0\na.", "no pickle of NumPy arrays"),
    ],
    ids=range(11),
)
def test_other_pickles_are_refused(content, message):
    with pytest.raises(ValueError, match=message):
        parse_pickle(content)


def test_protocol_5_is_refused_by_name():
    with pytest.raises(ValueError, match=r"asks for numpy\._?core\.numeric\._frombuffer"):
        parse_pickle(pickle.dumps(np.arange(3), protocol=5))


@pytest.mark.parametrize("make", [lambda x: [x, x], lambda x: (x, x), lambda x: {1: x, 2: x}], ids=["[]", "()", "{}"])
def test_few_bytes_do_not_stand_for_many_values(make):
    """2^21 values of which 20 are different; one array in many places is fine."""
    value = make(None)
    for _ in range(20):
        value = make(value)
    content = pickle.dumps(value, protocol=2)
    assert len(content) < 400
    with pytest.raises(ValueError, match=r"the same \w+ is in it more than once"):
        parse_pickle(content)
    array = np.arange(3)
    found = parse_pickle(pickle.dumps(make(array), protocol=2))
    first, second = found.values() if isinstance(found, dict) else found
    assert first is second


def nested_key(levels):
    """A dictionary whose key is a pair of pairs of pairs, each twice the same: hashed in 2^levels steps."""
    twice = b"".join(b"q%ch%c\x86" % (i, i) for i in range(levels))
    return b"\x80\x02})" + twice + b"Ns."


SHARED = b"\x80\x02X" + (1 << 16).to_bytes(4, "little") + b"a" * (1 << 16) + b"q\x00X\x06\x00\x00\x00latin1q\x01"
ENCODE = b"c_codecs\nencode\nh\x00h\x01\x86R"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x02Nr\xff\xff\xff\x7f.", "memo entry 2147483647"),
        (b"Np2000000000\n.", "memo entry 2000000000"),
        (b"Np-1\n.", "memo entry -1"),
        (nested_key(40), "as a key"),
        (b"\x80\x02}(]Nu.", "as a key"),
        (b"(]Nd.", "as a key"),
        (b"\x80\x04\x95" + (1 << 40).to_bytes(8, "little") + b"N.", "a frame of"),
        (b"\x80\x04\x8e" + (1 << 40).to_bytes(8, "little") + b"N.", "expected|bytes"),
        (b"\x80\x02X\xff\xff\xff\x7fa.", "expected|bytes"),
        (b"N2.", "opcode DUP"),
        (b"\x80\x02c__builtin__\nbytes\n)\x81.", "opcode NEWOBJ"),
        (b"(i__builtin__\nbytes\n.", "opcode INST"),
        (b"\x80\x04(\x91.", "opcode FROZENSET"),
        (b"Pname\n.", "opcode PERSID"),
        (SHARED + b"0(" + ENCODE * 500 + b"l.", "opcode POP|again and again"),
        (SHARED + b"(" + ENCODE * 500 + b"l\x86.", "again and again"),
        (b"I" + b"9" * 100_000 + b"\n.", "no pickle"),
        (b"N", "no pickle"),
        (b"", "no pickle"),
        (b"a.", "takes more than there is"),
    ],
    ids=range(20),
)
def test_a_few_bytes_do_not_ask_for_gigabytes_or_hours(content, message):
    tracemalloc.start()
    with pytest.raises(ValueError, match=message):
        parse_pickle(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < len(content) * 4 + (1 << 20)


def test_arrays_that_share_a_text_encode_it_once():
    one = PYTHON2.split(b"(lp0\n")[1][:-2]  # the instructions that make one array
    text = b"S'" + b"a" * 100_000 + b"'\np14\n"
    first = one.replace(b"S'\\x00\\xff\\xe9A'\np14\n", text).replace(b"I2\nI2\n", b"I100\nI1000\n")
    other = first.replace(text, b"g14\n")
    tracemalloc.start()
    arrays = parse_pickle(b"(lp0\n" + first + b"a" + (other + b"a") * 300 + b".")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(arrays) == 301
    assert all(array.shape == (100, 1000) for array in arrays)
    assert peak < 5_000_000


@pytest.mark.slow
@given(
    st.binary(max_size=80)
    | st.lists(
        st.sampled_from(
            [
                b"(",
                b"]",
                b"}",
                b")",
                b"N",
                b"a",
                b"s",
                b"u",
                b"t",
                b"R",
                b"b",
                b".",
                b"q\x00",
                b"h\x00",
                b"cnumpy\nndarray\n",
                b"cnumpy\ndtype\n",
                b"K\x01",
                b"U\x01a",
                b"\x85",
                b"e",
                b"2",
                b"r\xff\xff\xff\xff",
            ]
        ),
        max_size=40,
    ).map(b"".join)
)
@settings(max_examples=500, deadline=1000)
def test_any_bytes_are_arrays_or_a_value_error(content):
    with contextlib.suppress(ValueError):
        parse_pickle(content)


def test_the_pickle_of_the_faces(data_root):
    content = (data_root / "frey_faces" / "freyfaces.pkl").read_bytes()
    (array,) = parse_pickle(content)
    with np.load(data_root / "frey_faces" / "frey_faces.npz", allow_pickle=False) as twin:
        np.testing.assert_array_equal(array.reshape(-1, 28, 20), twin["images"])


@pytest.mark.slow
def test_reading_needs_no_numpy_of_the_writer():
    """NumPy 1 and 2 call the module of an array's constructor differently; both are read."""
    for module in (b"numpy.core.multiarray", b"numpy._core.multiarray"):
        (array,) = parse_pickle(PYTHON2.replace(b"numpy.core.multiarray", module))
        assert array.sum() == 0 + 255 + 233 + 65
    program = "from pyrodgm.datasets.pickled import parse_pickle; import sys; sys.exit('scipy' in sys.modules)"
    run_python("-c", program)
