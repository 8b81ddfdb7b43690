"""The other image sets: those at hand against their files, the others on files of their formats written here."""

import gzip
import hashlib
import io
import pickle
import struct
import tarfile
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.io import loadmat, savemat

from pyrodgm import datasets
from pyrodgm.datasets import cifar10, files, frey_faces, histopathology, mnist, omniglot
from pyrodgm.datasets.drawings import parse_drawings


def md5(content):
    return hashlib.md5(content).hexdigest()


@pytest.fixture
def write(tmp_path):
    def write(file, content):
        path = tmp_path / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        packed = file.url is not None and file.url.endswith(".gz")
        content = gzip.compress(content, 1) if packed else content
        path.with_name(path.name + ".gz" * packed).write_bytes(content)
        return content

    return write


@pytest.fixture(scope="session")
def caltech(data_root):
    return datasets.load("caltech101_silhouettes", data_root)


@pytest.fixture(scope="session")
def faces(data_root):
    return datasets.load("frey_faces", data_root)


@pytest.fixture(scope="session")
def omniglot_28x28(data_root):
    return datasets.load("omniglot_28x28", data_root)


@pytest.mark.parametrize(
    ("name", "sizes", "image_shape", "kind"),
    [
        ("caltech", (4100, 2264, 2307), (1, 28, 28), ("binary", "fixed", None)),
        ("faces", (1565, 200, 200), (1, 28, 20), ("grey", "none", 256)),
        ("omniglot_28x28", (23_000, 1345, 8115), (1, 28, 28), ("binary", "dynamic", None)),
    ],
)
def test_shapes_and_kinds(name, sizes, image_shape, kind, request):
    data = request.getfixturevalue(name)
    assert data.image_shape == image_shape
    assert (data.values, data.binarization, data.num_bins) == kind
    for split, size in zip((data.train, data.valid, data.test), sizes, strict=True):
        assert split.images.shape == (size, np.prod(image_shape))
        assert split.images.dtype == torch.float32
        assert split.images.is_contiguous()
        assert (split.labels is None) == (name == "faces")


def test_silhouettes_are_white_and_upright(caltech, data_root):
    """Border pixels are mostly background, and an inverted pyramid would stand on its tip."""
    content = loadmat(data_root / "caltech101_silhouettes" / "caltech101_silhouettes_28_split1.mat")
    for split, part in ((caltech.train, "train"), (caltech.valid, "val"), (caltech.test, "test")):
        images = split.images.view(-1, 28, 28)
        stored = content[f"{part}_data"]
        for row, column in ((0, 0), (3, 17), (27, 5)):  # column by column in the file
            assert torch.equal(images[:, row, column], torch.from_numpy(1.0 - stored[:, 28 * column + row]).float())
        assert split.labels.tolist() == (content[f"{part}_labels"].ravel() - 1).tolist()
    names = [str(name[0]) for name in content["classnames"][0]]
    pyramids = caltech.train.images[caltech.train.labels == names.index("pyramid")].view(-1, 28, 28)
    assert pyramids[:, 20:].mean() > 1.5 * pyramids[:, :8].mean()
    border = torch.ones(28, 28, dtype=torch.bool)
    border[1:-1, 1:-1] = False
    everything = caltech.train.images.view(-1, 28, 28)
    assert everything[:, 13:15, 13:15].mean() > 0.8
    assert everything[:, border].mean() < 0.3
    assert abs(caltech.train.images.mean().item() - (1 - 0.551)) < 5e-4


def test_faces_are_a_partition_of_the_file(faces, data_root):
    with np.load(data_root / "frey_faces" / "frey_faces.npz", allow_pickle=False) as arrays:
        pixels = arrays["images"].reshape(1965, 560)
    drawn = torch.cat([faces.train.images, faces.valid.images, faces.test.images]).mul(255).round().byte().numpy()
    assert sorted(map(bytes, drawn)) == sorted(map(bytes, pixels))
    position = {bytes(row): i for i, row in enumerate(pixels)}
    test = sorted(position[bytes(row)] for row in drawn[-200:])
    assert np.diff(test).max() < 100  # spread over the whole video
    assert np.diff([position[bytes(row)] for row in drawn]).std() > 500  # and in random order


def test_faces_from_pickle_and_npz_are_the_same(faces, data_root, tmp_path):
    (tmp_path / "frey_faces").mkdir()
    (tmp_path / frey_faces.PICKLE.name).symlink_to(data_root / frey_faces.PICKLE.name)
    again = datasets.load("frey_faces", tmp_path)
    assert torch.equal(again.train.images, faces.train.images)
    assert torch.equal(again.test.images, faces.test.images)


def test_grey_levels_are_those_of_the_discretised_logistic(faces):
    from pyrodgm.distributions import DiscretizedLogistic

    levels = torch.arange(256.0)
    pixels = DiscretizedLogistic(torch.tensor(0.4), torch.tensor(-3.0))
    assert pixels.enumerate_support().allclose(levels / 255)
    assert torch.equal(pixels._bin(levels / 255), levels)
    assert torch.equal(pixels._bin((levels + 0.5) / 256), levels)  # the other convention names the same bins
    assert set((faces.train.images * 255).round().unique().tolist()) <= set(levels.tolist())


@pytest.mark.slow
def test_omniglot_is_split_by_drawer(omniglot_28x28, data_root):
    with np.load(data_root / omniglot.NPZ.name, allow_pickle=False) as arrays:
        stored = {key: arrays[key] for key in arrays}
    test = stored["drawer"] > 15
    data = omniglot_28x28
    assert torch.equal(data.test.labels, torch.from_numpy(stored["character_id"][test].astype("int64") - 1))
    grey = torch.from_numpy(stored["images"][test]).view(-1, 784)
    assert (data.test.images[grey == 0] == 0).all()
    assert (data.test.images[grey == 255] == 1).all()
    assert set(data.test.images.unique().tolist()) == {0, 1}
    assert abs(data.test.images.mean().item() - grey.double().mean().item() / 255) < 1e-3
    seen = torch.cat([data.train.labels, data.valid.labels]).bincount()
    assert seen.tolist() == [15] * 1623
    own = sorted(map(bytes, data.train.images.mul(255).round().byte().numpy()))
    everything = {bytes(image) for image in stored["images"][~test].reshape(-1, 784)}
    assert len(own) == 23_000
    assert set(own) <= everything
    assert data.train.labels.unique().numel() > 1600  # shuffled before the split


def test_burda_file(write, tmp_path, monkeypatch):
    generator = np.random.default_rng(0)
    upright = generator.random((1600 + 30, 28, 28)).round(3)
    columns = upright.transpose(0, 2, 1).reshape(-1, 784).T
    character = np.arange(1630) % 7
    alphabet, number = character // 3, character % 3 + 1
    target = np.eye(50)[alphabet].T
    stream = io.BytesIO()
    savemat(
        stream,
        {
            "data": columns[:, :1600],
            "target": target[:, :1600],
            "targetchar": number[None, :1600],
            "testdata": columns[:, 1600:],
            "testtarget": target[:, 1600:],
            "testtargetchar": number[None, 1600:],
        },
    )
    content = stream.getvalue()
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    write(omniglot.BURDA, content)
    with pytest.raises(ValueError, match=rf"git should call it {omniglot.BURDA.git_blob}, found {blob}"):
        datasets.load("omniglot_burda", tmp_path)
    monkeypatch.setattr(omniglot, "BURDA", replace(omniglot.BURDA, git_blob=blob))
    data = datasets.load("omniglot_burda", tmp_path)
    assert (len(data.train), len(data.valid), len(data.test)) == (255, 1345, 30)
    assert data.test.labels.tolist() == character[1600:].tolist()
    place = {float(image[0, 1]): i for i, image in enumerate(upright.astype("float32"))}
    assert len(place) < 1600
    first = upright[:1600].astype("float32").reshape(1600, 784)
    for image, label in zip(data.train.images[:20], data.train.labels[:20], strict=True):
        (row,) = np.flatnonzero((first == image.numpy()).all(1))
        assert label == character[row]
    sure = upright[1600:].reshape(30, 784)
    assert ((data.test.images.numpy() == 1) <= (sure > 0)).all()
    assert (data.binarization, data.image_shape) == ("dynamic", (1, 28, 28))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fashion_mnist", "kmnist"])
def test_the_layout_of_mnist(name, write, tmp_path, monkeypatch):
    generator = np.random.default_rng(1)
    local = {}
    for part, count in (("train", 60_000), ("test", 10_000)):
        for kind, shape in (("images", (count, 28, 28)), ("labels", (count,))):
            values = np.zeros(shape, np.uint8)
            values[::1000] = generator.integers(0, 10, values[::1000].shape)
            header = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
            file = mnist.FILES[name][f"{part}_{kind}"]
            packed = write(file, header + values.tobytes())
            local[f"{part}_{kind}"] = replace(file, url_md5=md5(packed))
    with pytest.raises(
        ValueError, match="as it is published it has the MD5 " + mnist.FILES[name]["train_images"].url_md5
    ):
        datasets.load(name, tmp_path)
    monkeypatch.setitem(mnist.FILES, name, local)
    packed = tmp_path / (local["train_images"].name + ".gz")
    plain = packed.with_suffix("")
    plain.write_bytes(gzip.decompress(packed.read_bytes()))
    away = packed.rename(tmp_path / "away")
    message = rf"{plain} cannot be verified: a checksum is known only for the published {packed.name}"
    with pytest.raises(ValueError, match=message):
        datasets.load(name, tmp_path)
    away.rename(packed)
    data = datasets.load(name, tmp_path)
    assert (data.name, len(data.train), len(data.valid), len(data.test)) == (name, 50_000, 10_000, 10_000)
    assert (data.train.images * 255).round().max() == 9
    assert data.binarization == "dynamic"


def test_the_files_of_a_layout_are_not_mixed_up():
    known = [file for table in mnist.FILES.values() for file in table.values()]
    assert len({file.url_md5 for file in known}) == len({file.name for file in known}) == len(known) == 12


def archive(contents):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def test_cifar10(write, tmp_path, monkeypatch):
    rows = np.random.default_rng(2).integers(0, 256, (6, 4, 3073), dtype=np.uint8)
    rows[..., 0] %= 10
    names = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
    contents = {f"cifar-10-batches-bin/{name}": batch.tobytes() for name, batch in zip(names, rows, strict=True)}
    packed = write(cifar10.FILE, archive({"cifar-10-batches-bin/readme.html": b"x"} | contents))
    monkeypatch.setattr(cifar10, "FILE", replace(cifar10.FILE, url_md5=md5(packed)))
    data = datasets.load("cifar10", tmp_path)
    assert (data.image_shape, data.values, data.num_bins) == ((3, 32, 32), "grey", 256)
    for split, batches in ((data.train, rows[:4]), (data.valid, rows[4:5]), (data.test, rows[5:])):
        own = batches.reshape(-1, 3073)
        assert split.labels.tolist() == own[:, 0].tolist()
        assert torch.equal(split.images.mul(255).round().byte(), torch.from_numpy(own[:, 1:]))
    with pytest.raises(ValueError, match="3072 bytes are no multiple"):
        cifar10.parse_batch(bytes(3072))
    with pytest.raises(ValueError, match=r"content: no tar archive, or a damaged one"):
        cifar10.parse_archive(b"not one")
    with pytest.raises(ValueError, match=r"content: expected data_batch_2.bin, .*, got data_batch_1.bin"):
        cifar10.parse_archive(archive({"data_batch_1.bin": contents["cifar-10-batches-bin/data_batch_1.bin"]}))
    assert files.MOST > 6 * 10_000 * 3073 + 10_000  # what the published archive unpacks to
    with pytest.raises(ValueError, match="labels from 0 to 9, got 200"):
        cifar10.parse_batch(bytes([200]) + bytes(3072))


def patches(**changes):
    generator = np.random.default_rng(3)
    levels = {part: generator.integers(0, 256, (size, 28, 28))[:, :, :] for part, size in histopathology.SIZES.items()}
    return levels, {**{part: list(value / 255) for part, value in levels.items()}, **changes}


@pytest.mark.slow
def test_histopathology_from_the_archive_and_from_the_pickle(write, tmp_path):
    levels, stored = patches()
    content = pickle.dumps({part: np.asarray(value) for part, value in stored.items()}, protocol=4)
    write(histopathology.ARCHIVE, archive({"histopathology.pkl": content}))
    data = datasets.load("histopathology", tmp_path)
    assert (data.image_shape, data.num_bins) == ((1, 28, 28), 256)
    for split, part in ((data.train, "training"), (data.valid, "validation"), (data.test, "test")):
        expected = torch.from_numpy(levels[part].reshape(-1, 784))
        assert torch.equal(split.images.mul(255).round().long(), expected)
    middles = {part: ((value + 0.5) / 256).astype("float32") for part, value in levels.items()}
    write(histopathology.PICKLE, pickle.dumps(middles, protocol=4))
    again = datasets.load("histopathology", tmp_path)
    assert torch.equal(again.test.images, data.test.images)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ([np.zeros((2, 2))], "expected a dictionary with training, validation, test, got list"),
        ({"training": np.zeros((6800, 784)), "validation": np.zeros(3)}, "2000 patches of 28x28 for validation"),
        ({"training": np.full((6800, 784), 3.0)}, r"values in \[0, 1\] for training"),
    ],
    ids=["list", "shape", "range"],
)
def test_another_pickle_of_patches_is_named(write, tmp_path, stored, message):
    write(histopathology.PICKLE, pickle.dumps(stored, protocol=4))
    with pytest.raises(ValueError, match=message):
        datasets.load("histopathology", tmp_path)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (histopathology.ARCHIVE, b"<html>Not found</html>", "file could not be opened successfully"),
        (histopathology.ARCHIVE, archive({"readme": b"x"}), "expected one histopathology.pkl in the archive, got 0"),
        (histopathology.ARCHIVE, archive({"histopathology.pkl": bytes(5000)})[:4000], "unexpected end of data"),
        (histopathology.PICKLE, b"<html>Not found</html>", "no pickle of NumPy arrays"),
        (histopathology.PICKLE, pickle.dumps({"training": [[0.5, 0.5], [0.5]]}, protocol=4), "inhomogeneous shape"),
    ],
    ids=["html", "no member", "truncated", "no pickle", "ragged"],
)
def test_damaged_patches_are_named_with_their_file(write, tmp_path, file, content, message):
    write(file, content)
    path = tmp_path / (file.name + (".gz" if file is histopathology.ARCHIVE else ""))
    with pytest.raises(ValueError, match=f"{path} does not hold the patches: .*{message}"):
        datasets.load("histopathology", tmp_path)


def test_without_a_known_checksum_none_is_told(write, tmp_path):
    content = gzip.compress(archive({"readme": b"x"}))[:-4]
    path = tmp_path / (histopathology.ARCHIVE.name + ".gz")
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{path} is truncated \(.*\): 10,240 bytes could be read\. Once it is"):
        datasets.load("histopathology", tmp_path)


def drawings(ink, first):
    """An archive of drawings, `ink` `[characters, drawers, 105, 105]`, as PNG files of one bit a pixel."""
    from PIL import Image

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("images/Greek/character01/notes.txt", "x")
        for i in reversed(range(len(ink))):
            for j, drawing in enumerate(ink[i]):
                png = io.BytesIO()
                Image.fromarray(~drawing).convert("1").save(png, "png")
                archive.writestr(f"images/Greek/character{i + 1:02}/{first + i:04}_{j + 1:02}.png", png.getvalue())
    return stream.getvalue()


@pytest.mark.slow
def test_drawings_are_averaged_over_squares(write, tmp_path, monkeypatch):
    ink = np.random.default_rng(4).random((24, 20, 105, 105)) < 0.2
    ink[0, 0] = np.indices((105, 105))[0] < 4  # a row of squares, and a quarter of a pixel more
    weights = np.maximum(
        0, np.minimum(1, 1 - abs(np.arange(105) + 0.5 - 3.75 * np.arange(28)[:, None] - 1.875) + 1.375)
    )
    assert np.allclose(weights.sum(1), 3.75)
    assert np.allclose(weights.sum(0), 1)
    exact = 255 * (weights @ ink @ weights.T) / 3.75**2
    packed = [drawings(ink[:14], 1), drawings(ink[14:], 15)]
    monkeypatch.setattr(
        omniglot,
        "DRAWINGS",
        [replace(file, url_md5=md5(zip_)) for file, zip_ in zip(omniglot.DRAWINGS, packed, strict=True)],
    )
    for file, content in zip(omniglot.DRAWINGS, packed, strict=True):
        write(file, content)
    with pytest.raises(ValueError, match=f"should have the MD5 {omniglot.IMAGES_MD5}, found"):
        datasets.load("omniglot_28x28", tmp_path)
    levels = np.rint(exact).astype(np.uint8)
    monkeypatch.setattr(omniglot, "IMAGES_MD5", md5(levels.tobytes()))
    monkeypatch.setattr(omniglot, "VALIDATION", 60)
    data = datasets.load("omniglot_28x28", tmp_path)
    assert (len(data.train), len(data.valid), len(data.test)) == (300, 60, 120)
    assert data.test.labels.tolist() == np.repeat(np.arange(24), 5).tolist()
    own = sorted(map(bytes, levels[:, :15].reshape(-1, 784)))
    drawn = data.train.images.mul(255).round().byte().numpy()
    assert set(map(bytes, drawn)) < set(own)
    assert levels[0, 0, 0, 0] == 255
    assert levels[0, 0, 1, 0] == 17
    assert levels[0, 0, 2, 0] == 0


def test_other_archives_are_named():
    with pytest.raises(ValueError, match="found none"):
        parse_drawings(drawings(np.zeros((0, 0), bool), 1))
    with pytest.raises(ValueError, match=r"expected drawings of 105x105, images.*0001_01.png has \[104, 105\]"):
        parse_drawings(drawings(np.zeros((1, 1, 104, 105), bool), 1))


def test_reduced_drawings_at_hand_have_the_levels_of_the_squares(data_root):
    with np.load(data_root / omniglot.NPZ.name, allow_pickle=False) as arrays:
        images = arrays["images"]
    assert md5(images.tobytes()) == omniglot.IMAGES_MD5
    assert np.unique(images).tolist() == sorted({round(17 * parts / 15) for parts in range(226)})


def test_a_file_without_address_cannot_be_downloaded(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"frey_faces\.npz is not in .*, and has no public address"):
        files.read(frey_faces.NPZ, tmp_path)


def test_a_download_is_held_to_its_name_in_git(server, tmp_path):
    address, folder = server
    content = b"something" * 100
    (folder / "name.mat").write_bytes(content)
    blob = hashlib.sha1(b"blob 900\0" + content).hexdigest()
    file = files.DataFile("folder/name.mat", address + "name.mat", git_blob=blob)
    assert files.read(file, tmp_path / "right") == content
    (folder / "name.mat").write_bytes(content[:-1])
    with pytest.raises(ValueError, match=f"git should call it {blob}, found .* downloaded again from {address}"):
        files.read(file, tmp_path / "wrong")


def test_a_file_whose_content_has_no_known_checksum_must_be_as_published(tmp_path):
    content = b"something" * 100
    packed = gzip.compress(content, mtime=0)
    file = files.DataFile("folder/name", "http://localhost/name.gz", url_md5=md5(packed))
    (tmp_path / "folder").mkdir()
    path = tmp_path / "folder" / "name.gz"
    path.write_bytes(packed)
    assert files.read(file, tmp_path) == content
    path.write_bytes(gzip.compress(content + b"!", mtime=0))
    with pytest.raises(ValueError, match=f"MD5 {md5(packed)}, found"):
        files.read(file, tmp_path)
    assert files.read(replace(file, url_md5=None), tmp_path) == content + b"!"
