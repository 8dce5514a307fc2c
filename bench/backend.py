"""What stands behind the proxies: an nginx that answers at once, and for WebSockets an echo."""

import pathlib
import socket
import subprocess
import tempfile
import time

from peers.nginx import MAIN
from peers.proxy import free_port

SMALL = b"ok\n"
LARGE = bytes(ord("a") + at % 26 for at in range(10 * 1024))
HUNDRED = 100


class Backend:
    """Answers `small`, `large` and `post` below the paths the measurements call, on a hundred addresses."""

    def __init__(self, nginx, cores):
        self.nginx, self.cores = nginx, cores

    def __enter__(self):
        self.held = tempfile.TemporaryDirectory(prefix="portcullis-bench-", ignore_cleanup_errors=True)
        directory = pathlib.Path(self.held.name)
        # nginx's workers, who are another user when it is started by root, read a file below this.
        directory.chmod(0o755)
        (directory / "large").write_bytes(LARGE)
        self.port = free_port()
        lines = ["  access_log off; open_file_cache max=10 inactive=1h; sendfile on;", "  server {"]
        lines += [f"    listen {host}:{port} backlog=4096;" for host, port in self.targets(HUNDRED)]
        for service in (0, 5, 5_000):
            lines += [f"    location = /s{service}/v1/small {{ return 200 'ok\\n'; }}",
                      f"    location = /s{service}/v1/post {{ return 200 '$content_length\\n'; }}",
                      f"    location = /s{service}/v1/large {{ alias {directory}/large; }}"]
        lines += ["  }"]
        text = MAIN.format(workers=1, directory=directory, modules="", events="accept_mutex off;", http="\n".join(lines))
        (directory / "nginx.conf").write_text(text)
        command = [self.nginx, "-p", str(directory), "-c", str(directory / "nginx.conf"), "-e", str(directory / "error.log")]
        self.process = subprocess.Popen(["taskset", "-c", self.cores, *command])
        self._answers()
        return self

    def _answers(self):
        until = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(self.targets(HUNDRED)[-1], timeout=5).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > until:
                    raise
                time.sleep(0.01)

    def targets(self, count=1):
        """So many addresses of it."""
        return tuple((f"127.0.1.{number + 1}", self.port) for number in range(count))

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(timeout=20)
        self.held.cleanup()
