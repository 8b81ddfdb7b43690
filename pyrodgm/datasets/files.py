"""Finding, downloading and verifying the files of a data set."""

import gzip
import hashlib
import io
import os
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

from pyrodgm.extras import needs_extra

PART = 1 << 20
MOST = 192 << 20  # bytes that a packed file may unpack to; the largest, the archive of CIFAR-10, has 184 million


@dataclass(frozen=True)
class DataFile:
    """A file of a data set: where it lies, where it comes from, and what is in it.

    Attributes:
        name: path under the root, without `.gz`.
        url: public address, if there is one; with `.gz` at its end, the file is stored with `.gz` too.
        url_md5: MD5 of what the address gives, if it is known.
        content_md5: MD5 of the content once decompressed, the same for plain files and whoever's gzip. Where it is not
            known, the file must be as the address gives it, packed if that is.
        git_blob: where nothing else is known, the name that git gives to the file: a SHA-1 of its size and bytes.
    """

    name: str
    url: str | None
    url_md5: str | None = None
    content_md5: str | None = None
    git_blob: str | None = None


def data_root(root: str | os.PathLike[str] | None = None) -> Path:
    """Folder of the data: the argument, else the environment variable `PYRODGM_DATA`, else the user's cache folder."""
    given = root or os.environ.get("PYRODGM_DATA")
    if given:
        return Path(given).expanduser()
    with needs_extra("data"):
        import pooch

    return Path(pooch.os_cache("pyrodgm"))


def find(file: DataFile, root: str | os.PathLike[str] | None = None) -> Path | None:
    """Where a file lies, packed or plain; None where it is missing."""
    plain = data_root(root) / file.name
    return next((path for path in (plain.with_name(plain.name + ".gz"), plain) if path.exists()), None)


def read(file: DataFile, root: str | os.PathLike[str] | None = None) -> bytes:
    """Content of a file, decompressed and verified; downloaded first where it is missing.

    Raises:
        ValueError: the content is truncated or altered; the message has the expected checksum and the one found, where
            one is known. Or the file is plain, and only the packed one has a known checksum.
        FileNotFoundError: the file is missing and cannot be downloaded; the message has file, folder and address.

    A packed file whose content has the known checksum is taken whatever its wrapping: unpacked already, followed by
    other bytes, without its end. A plain file that is right is used beside a packed one that is not, with a warning.
    """
    plain = data_root(root) / file.name
    packed = plain.with_name(plain.name + ".gz")
    paths = [path for path in (packed, plain) if path.exists()] or [_download(file, plain.parent)]
    try:
        return _verified(file, paths[0])
    except ValueError as error:
        if len(paths) == 1:
            raise
        content = _verified(file, plain)
        warnings.warn(f"{plain} is used instead of {packed.name}: {error}", stacklevel=2)
        return content


def _verified(file: DataFile, path: Path) -> bytes:
    """The content of one file, if it is right."""
    is_packed = path.name != Path(file.name).name
    if not is_packed and _only_packed_is_known(file):
        raise ValueError(
            f"{path} cannot be verified: a checksum is known only for the published {path.name}.gz. "
            f"Put that file beside it; once {path.name} is deleted, it will be downloaded from {file.url}"
        )
    stored = path.read_bytes()
    content, problem = _decompress(stored) if is_packed else (stored, None)
    kind, expected, found = _checksum(file, stored, content)
    right = expected is not None and found == expected
    if right and (problem is None or file.content_md5):  # whatever surrounds the right content
        return content
    if expected is None and problem is None:
        return content
    if file.content_md5 and is_packed and _md5(stored) == file.content_md5:  # unpacked on its way here
        return stored
    checksums = f"{kind} {expected}, found {found} in the " if expected else ""
    seen = f"{checksums}{len(content):,} bytes{' that' if expected else ''} could be read"
    again = f"Once it is deleted, it will be downloaded again from {file.url}" if file.url else "Replace it"
    raise ValueError(f"{path} is {problem or 'truncated or altered'}: {seen}. {again}")


def _only_packed_is_known(file: DataFile) -> bool:
    known = file.content_md5 is None and (file.url_md5 or file.git_blob)
    return bool(known and file.url and file.url.endswith(".gz"))


def _checksum(file: DataFile, stored: bytes, content: bytes) -> tuple[str, str | None, str | None]:
    """What is compared, the checksum expected, and the one found; two None where nothing is known."""
    if file.content_md5:
        return "its content should have the MD5", file.content_md5, _md5(content)
    if file.url_md5:
        return "as it is published it has the MD5", file.url_md5, _md5(stored)
    if file.git_blob:
        blob = hashlib.sha1(b"blob %d\0" % len(stored) + stored, usedforsecurity=False).hexdigest()
        return "git should call it", file.git_blob, blob
    return "", None, None


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _decompress(stored: bytes) -> tuple[bytes, str | None]:
    """What can be decompressed, and why that is not all, or not all that is stored."""
    parts: list[bytes] = []
    size = 0
    with gzip.open(io.BytesIO(stored)) as stream:
        try:
            # Unlike read, read1 returns the bytes before the damaged part before it raises.
            while part := stream.read1(PART):
                parts.append(part)
                size += len(part)
                if size > MOST:
                    return b"".join(parts), f"altered (it unpacks to more than {MOST:,} bytes)"
        except EOFError:
            return b"".join(parts), "truncated (the gzip stream has no end)"
        except (gzip.BadGzipFile, zlib.error) as error:
            return b"".join(parts), f"altered ({error})"
    return b"".join(parts), None


def _download(file: DataFile, folder: Path) -> Path:
    name = Path(file.name).name
    if file.url is None:
        raise FileNotFoundError(
            f"{name} is not in {folder}, and has no public address. "
            f"Put the file into that folder, or set root or PYRODGM_DATA to a folder with {file.name}"
        )
    with needs_extra("data"):
        import pooch

    name += ".gz" if file.url.endswith(".gz") else ""
    known = f"md5:{file.url_md5}" if file.url_md5 else None
    # Streamed, a response that fails would keep its socket open.
    downloader = pooch.HTTPDownloader(stream=False, chunk_size=1 << 20)
    try:
        # pooch writes under another name and renames once the checksum is right: no half file under the final name.
        return Path(pooch.retrieve(file.url, known, fname=name, path=folder, downloader=downloader))
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"{name} is not in {folder}, and could not be downloaded there from {file.url}: {error}. "
            f"Put the file into that folder, or set root or PYRODGM_DATA to a folder with {file.name}"
        ) from error
