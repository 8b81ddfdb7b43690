"""The unpickler of arrays, against NumPy's own pickles, and against pickles that ask for more."""

import codecs
import os
import pickle
import subprocess

import numpy as np
import pytest
from fresh_process import run_python

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
        ({1, 2}, "set"),
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
        (b"\x80\x02\x82\x01.", "no pickle of NumPy arrays"),
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


def test_the_pickle_of_the_faces(data_root):
    content = (data_root / "frey_faces" / "freyfaces.pkl").read_bytes()
    (array,) = parse_pickle(content)
    with np.load(data_root / "frey_faces" / "frey_faces.npz", allow_pickle=False) as twin:
        np.testing.assert_array_equal(array.reshape(-1, 28, 20), twin["images"])


def test_reading_needs_no_numpy_of_the_writer():
    """NumPy 1 and 2 call the module of an array's constructor differently; both are read."""
    for module in (b"numpy.core.multiarray", b"numpy._core.multiarray"):
        (array,) = parse_pickle(PYTHON2.replace(b"numpy.core.multiarray", module))
        assert array.sum() == 0 + 255 + 233 + 65
    program = "from pyrodgm.datasets.pickled import parse_pickle; import sys; sys.exit('scipy' in sys.modules)"
    run_python("-c", program)
