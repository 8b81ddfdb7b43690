"""Files: found plain or packed, downloaded where missing, refused unless their content is the known one."""

import functools
import gzip
import hashlib
import os
import re
import signal
import subprocess
import sys
import tracemalloc
from dataclasses import replace

import pytest
from fresh_process import PATIENCE

from pyrodgm import datasets
from pyrodgm.datasets import files, mnist, static_mnist

CONTENT = b"".join(i.to_bytes(4, "big") for i in range(200_000))


def md5(content):
    return hashlib.md5(content).hexdigest()


@functools.cache
def compress(content, level=1):
    """Quickly, and once."""
    return gzip.compress(content, level, mtime=0)


@pytest.fixture
def file(closed_address):
    return files.DataFile("folder/name", closed_address + "name.gz", md5(compress(CONTENT)), md5(CONTENT))


def write(root, name, content):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("level", [1, 9])
def test_plain_and_packed_files_give_the_same_content(file, tmp_path, suffix, level):
    write(tmp_path, file.name + suffix, compress(CONTENT, level) if suffix else CONTENT)
    assert files.read(file, tmp_path) == CONTENT


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suffix", "spoil", "problem"),
    [
        ("", lambda content: content[:-1], "truncated or altered"),
        ("", lambda content: b"", "truncated or altered"),
        ("", lambda content: content[:500] + b"?" + content[501:], "truncated or altered"),
        (".gz", lambda content: compress(content)[:1000], r"truncated \("),
        (".gz", lambda content: compress(content[:-4]), "altered"),
        (".gz", lambda content: compress(content)[:200_000] + bytes(200_000), "truncated|altered"),
        (".gz", lambda content: content[1:], r"altered \(Not a gzipped file"),
        (".gz", lambda content: b"<!DOCTYPE html>", r"altered \(Not a gzipped file"),
        (".gz", lambda content: compress(content[:-1])[:-8] + bytes(8), r"altered \(CRC"),
        (".gz", lambda content: b"", "altered"),
    ],
)
def test_a_spoilt_file_is_named_with_both_checksums(file, tmp_path, suffix, spoil, problem):
    path = write(tmp_path, file.name + suffix, spoil(CONTENT))
    with pytest.raises(ValueError, match=problem) as caught:
        files.read(file, tmp_path)
    found, count = re.search(r"found (\w{32}) in the ([\d,]+) bytes", str(caught.value)).groups()
    assert str(path) in str(caught.value)
    assert file.content_md5 in str(caught.value)
    if not suffix:
        assert found == md5(path.read_bytes())
        assert int(count.replace(",", "")) == path.stat().st_size
    assert path.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrap",
    [
        lambda content: content,
        lambda content: compress(content) + b"\n",
        lambda content: compress(content) + bytes(512),
        lambda content: compress(content) + b"trailing" * 100,
        lambda content: compress(content[:700]) + compress(content[700:]),
        lambda content: compress(content)[:-3],
        lambda content: compress(content)[:-8] + bytes(8),
    ],
)
def test_the_right_content_is_read_whatever_its_wrapping(file, tmp_path, wrap):
    write(tmp_path, file.name + ".gz", wrap(CONTENT))
    assert files.read(file, tmp_path) == CONTENT


def test_a_good_plain_file_is_used_beside_a_broken_packed_one(file, tmp_path):
    packed = write(tmp_path, file.name + ".gz", b"<!DOCTYPE html>")
    plain = write(tmp_path, file.name, CONTENT)
    with pytest.warns(UserWarning, match=r"name is used instead of name\.gz: .*Not a gzipped file"):
        assert files.read(file, tmp_path) == CONTENT
    plain.write_bytes(CONTENT[1:])  # both are broken: the plain one is named with its own checksum
    with pytest.raises(ValueError, match=rf"{plain} is truncated.*found {md5(CONTENT[1:])}"):
        files.read(file, tmp_path)
    assert packed.exists()


@pytest.mark.slow
def test_a_file_that_unpacks_to_gigabytes_is_refused_early(file, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MOST", 10 << 20)
    path = write(tmp_path, file.name + ".gz", gzip.compress(bytes(200 << 20), 1))
    tracemalloc.start()
    with pytest.raises(ValueError, match=rf"{path} is altered \(it unpacks to more than 10,485,760 bytes\)"):
        files.read(file, tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30 << 20


def test_real_files_plain_repacked_truncated_and_altered(data_root, tmp_path):
    file = mnist.FILES["mnist"]["test_labels"]
    content = gzip.decompress((data_root / (file.name + ".gz")).read_bytes())
    path = write(tmp_path, file.name, content)
    assert files.read(file, tmp_path) == content
    path.unlink()
    packed = write(tmp_path, file.name + ".gz", gzip.compress(content, 3))
    assert files.read(file, tmp_path) == content
    packed.write_bytes(packed.read_bytes()[:2000])
    for name in mnist.FILES["mnist"].values():
        if name is not file:
            (tmp_path / (name.name + ".gz")).symlink_to(data_root / (name.name + ".gz"))
    with pytest.raises(ValueError, match=rf"{packed} is truncated .* {file.content_md5}, found \w{{32}}"):
        datasets.load("mnist", tmp_path)


def test_root_is_the_argument_else_the_variable_else_the_cache(file, tmp_path, monkeypatch):
    import pooch

    write(tmp_path, "variable/" + file.name, CONTENT)
    write(tmp_path, "argument/" + file.name, b"another")
    monkeypatch.setenv("PYRODGM_DATA", str(tmp_path / "variable"))
    assert files.read(file) == CONTENT
    with pytest.raises(ValueError, match="argument"):
        files.read(file, tmp_path / "argument")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert files.data_root("~/data") == tmp_path / "data"
    for unset in ("", None):
        monkeypatch.setenv("PYRODGM_DATA", unset) if unset is not None else monkeypatch.delenv("PYRODGM_DATA")
        assert files.data_root() == pooch.os_cache("pyrodgm")


@pytest.mark.slow
def test_mnist_is_downloaded_once(data_root, server, tmp_path, monkeypatch):
    address, folder = server
    for path in (data_root / "mnist").iterdir():
        (folder / path.name).symlink_to(path)
    table = mnist.FILES["mnist"]
    local = {part: replace(file, url=file.url.replace(mnist.ADDRESS, address)) for part, file in table.items()}
    monkeypatch.setitem(mnist.FILES, "mnist", local)
    first = datasets.load("mnist", tmp_path / "root")
    assert sorted(os.listdir(tmp_path / "root" / "mnist")) == sorted(p.name for p in (data_root / "mnist").iterdir())
    for path in folder.iterdir():
        path.unlink()
    again = datasets.load("mnist", tmp_path / "root")
    assert (again.train.images == first.train.images).all()


def test_static_mnist_is_downloaded_as_plain_text(data_root, server, tmp_path):
    address, folder = server
    file = static_mnist.FILES["valid"]
    content = gzip.decompress((data_root / (file.name + ".gz")).read_bytes())
    (folder / file.url.removeprefix(static_mnist.ADDRESS)).write_bytes(content)
    assert files.read(replace(file, url=file.url.replace(static_mnist.ADDRESS, address)), tmp_path) == content
    assert os.listdir(tmp_path / "binarized_mnist") == ["binarized_mnist_valid.amat"]


@pytest.mark.slow
@pytest.mark.parametrize("path", ["", "cut/", "missing/"])
def test_a_failed_download_leaves_nothing(file, server, tmp_path, path):
    address, folder = server
    (folder / "name.gz").write_bytes(compress(CONTENT if path else CONTENT[4:]))
    file = replace(file, url=address + path + "name.gz")
    with pytest.raises(FileNotFoundError, match=r"name\.gz is not in") as caught:
        files.read(file, tmp_path / "root")
    assert str(tmp_path / "root" / "folder") in str(caught.value)
    assert file.url in str(caught.value)
    if not path:
        assert file.url_md5 in str(caught.value)
        assert md5((folder / "name.gz").read_bytes()) in str(caught.value)
    assert os.listdir(tmp_path / "root" / "folder") == []


@pytest.mark.slow
def test_a_killed_download_leaves_no_file_under_the_final_name(file, server, stalled, tmp_path):
    address, folder = server
    (folder / "name.gz").write_bytes(compress(CONTENT))
    halting = replace(file, url=address + "stall/name.gz")
    program = f"from pyrodgm.datasets.files import DataFile, read; read({halting!r}, {str(tmp_path)!r})"
    with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL) as process:
        assert stalled.wait(PATIENCE)
        os.kill(process.pid, signal.SIGKILL)
    assert not (tmp_path / "folder" / "name.gz").exists()
    assert files.read(replace(file, url=address + "name.gz"), tmp_path) == CONTENT


def test_without_a_network_the_error_names_file_folder_and_address(closed_address, tmp_path, monkeypatch):
    table = mnist.FILES["mnist"]
    local = {part: replace(file, url=file.url.replace(mnist.ADDRESS, closed_address)) for part, file in table.items()}
    monkeypatch.setitem(mnist.FILES, "mnist", local)
    with pytest.raises(FileNotFoundError, match="PYRODGM_DATA") as caught:
        datasets.load("mnist", tmp_path)
    for part in ("train-images-idx3-ubyte.gz", str(tmp_path / "mnist"), closed_address):
        assert part in str(caught.value)


@pytest.mark.slow
def test_a_root_that_cannot_be_written_is_named(file, server, tmp_path):
    address, folder = server
    (folder / "name.gz").write_bytes(compress(CONTENT))
    # A plain file in the folder's place refuses everybody, root included; permissions do not.
    (tmp_path / "root").write_bytes(b"")
    with pytest.raises(FileNotFoundError) as caught:
        files.read(replace(file, url=address + "name.gz"), tmp_path / "root")
    for part in ("name.gz", str(tmp_path / "root" / "folder"), address):
        assert part in str(caught.value)
