"""One server in one folder. It listens on a socket in there, which its owner and root alone reach: no password.

It may listen on an address besides, for who has a password that is made up at its start.
"""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

USER: Final = "postgres"
"""Superuser of the database, and the user that the server runs as where we are root: it refuses to run as root."""
START_SECONDS: Final = 60.0
SETTINGS: Final = {"listen_addresses": "", "max_connections": "300", "shared_buffers": "64MB"}
FORGETFUL: Final = {"fsync": "off", "full_page_writes": "off", "wal_level": "minimal", "max_wal_senders": "0"}
"""For tests: a machine that stops loses all."""


@contextmanager
def create_folder(parent: Path | None = None) -> Iterator[Path]:
    """Make a folder for a server, and remove it at the end."""
    folder = Path(tempfile.mkdtemp(prefix="ags-pg-", dir=parent))  # short: a socket's path has at most 107 bytes
    try:
        if os.geteuid() == 0:
            owner = pwd.getpwnam(USER)
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Server:
    """A server that runs as long as its context."""

    def __init__(
        self, programs: Path, folder: Path, *, is_durable: bool, host: str = "", tls: tuple[bytes, bytes] | None = None
    ) -> None:
        """Describe it.

        Args:
            programs: Folder of `postgres` and `initdb`.
            folder: What it may fill; of the user that it runs as.
            is_durable: Whether it keeps what it acknowledged when the machine stops.
            host: Address to listen on, at a free port; empty for the socket alone.
            tls: Certificate and key to show there.
        """
        self.folder = folder
        self._programs = programs
        self._data = folder / "data"
        self._settings = {**SETTINGS, **({} if is_durable else FORGETFUL)}
        self._host = host
        self._password = secrets.token_urlsafe(16)
        if host:
            self._settings |= {"listen_addresses": host, "port": str(_free_port(host))}
        if tls:
            self._settings |= {
                "ssl": "on",
                "ssl_cert_file": str(folder / "tls.crt"),
                "ssl_key_file": str(folder / "tls.key"),
            }
        self._tls = tls or ()
        self._as_owner: dict[str, Any] = {"user": USER, "group": USER} if os.geteuid() == 0 else {}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if not self._data.exists():
            self._run("initdb", "-D", str(self._data), "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        if self._host:
            with (self._data / "pg_hba.conf").open("a") as rules:
                rules.write("host all all 0.0.0.0/0 scram-sha-256\n")
        for name, content in zip(("tls.crt", "tls.key"), self._tls, strict=False):
            self._write(self.folder / name, content)
        self.start()
        self.execute(f"ALTER ROLE {USER} PASSWORD '{self._password}'")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(signal.SIGQUIT)

    def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            TimeoutError: It does not; its log says why.
        """
        options = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        command = [self._program("postgres"), "-D", str(self._data), "-k", str(self.folder), *options]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True, **self._as_owner
            )
        give_up_at = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > give_up_at:
                raise TimeoutError(
                    f"the PostgreSQL server does not start:\n{(self.folder / 'log').read_text()[-2000:]}"
                )
            time.sleep(0.05)

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """End it: by default connections are cut and transactions undone; with SIGQUIT as if it had crashed."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            self._process = None

    def create_database(self, name: str, template: str = "template0") -> None:
        """Create a database, as a copy of another one."""
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')

    def url(self, database: str) -> str:
        """Return the URL of a database, by way of the socket."""
        return f"postgresql://{USER}@/{database}?host={self.folder}&port={self._port}"

    def remote_url(self, database: str) -> str:
        """Return the URL of a database, by way of the address."""
        return f"postgresql://{USER}:{self._password}@{self._host}:{self._port}/{database}"

    def execute(self, statement: str, database: str = "postgres") -> str:
        """Run a statement; return what it prints."""
        return self._run("psql", "-h", str(self.folder), "-p", self._port, "-U", USER, "-XqAtc", statement, database)

    @property
    def _port(self) -> str:
        return self._settings.get("port", "5432")

    def _answers(self) -> bool:
        words = [self._program("pg_isready"), "-q", "-h", str(self.folder), "-p", self._port]
        return subprocess.run(words, check=False).returncode == 0

    def _run(self, program: str, *words: str) -> str:
        command = [self._program(program), *words]
        done = subprocess.run(command, cwd=self.folder, check=False, text=True, capture_output=True, **self._as_owner)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} failed with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def _write(self, file: Path, content: bytes) -> None:
        """Write what only the server may read."""
        file.touch(mode=0o600)
        file.write_bytes(content)
        if self._as_owner:
            shutil.chown(file, USER, USER)

    def _program(self, name: str) -> str:
        return str(self._programs / name)


def _free_port(host: str) -> int:
    with socket.create_server((host, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
