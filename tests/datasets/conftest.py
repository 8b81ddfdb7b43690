import socket
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from fresh_process import PATIENCE

from pyrodgm import datasets


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder; below /cut/ the connection ends half-way, below /stall/ it waits there."""

    stalled = threading.Event()
    done = threading.Event()

    def log_message(self, *args):
        pass

    def do_GET(self):
        fault, _, rest = self.path[1:].partition("/")
        if fault not in ("cut", "stall"):
            return super().do_GET()
        self.path = "/" + rest
        source = self.send_head()
        content = source.read()
        source.close()
        self.wfile.write(content[: len(content) // 2])
        self.wfile.flush()
        if fault == "stall":
            self.stalled.set()
            self.done.wait(PATIENCE)
        self.close_connection = True


@pytest.fixture
def server(tmp_path):
    """Address of a real HTTP server, and the folder that it serves."""
    folder = tmp_path / "public"
    folder.mkdir()
    Handler.stalled.clear()
    Handler.done.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder)) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}/", folder
        Handler.done.set()
        httpd.shutdown()
        thread.join()


@pytest.fixture
def stalled():
    """Set once a request below /stall/ waits."""
    return Handler.stalled


@pytest.fixture
def closed_address():
    """An address of this machine at which nobody listens."""
    with socket.socket() as bound:  # without listening: no other server can take the port
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/"


@pytest.fixture(scope="session")
def mnist(data_root):
    return datasets.load("mnist", data_root)


@pytest.fixture(scope="session")
def static_mnist(data_root):
    return datasets.load("static_mnist", data_root)


@pytest.fixture(scope="session")
def digits():
    return datasets.load("digits")
