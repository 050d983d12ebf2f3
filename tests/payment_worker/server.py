"""The throw-away server: databases of it, killing it, and cutting connections to it."""

import os
import signal
import socket
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
from psycopg.rows import dict_row

HOST = os.environ["PGHOST"]
CLUSTER = Path(os.environ["CLUSTER"])
start_command = []


def sql(database, query, *values):
    """The rows of a query, by the superuser in a session of its own: the server may have been killed meanwhile."""
    with psycopg.connect(dbname=database, autocommit=True, row_factory=dict_row) as connection:
        cursor = connection.execute(query, values)
        return cursor.fetchall() if cursor.description else []


def processes():
    """(pid, parent, state) of all."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:  # it has just gone
                continue
            yield int(entry.name), int(parent), state


def kill():
    """kill -9 of the postmaster and all of its children at one instant, as if the power were gone."""
    postmaster = int((CLUSTER / "data" / "postmaster.pid").read_text().split()[0])
    os.kill(postmaster, signal.SIGSTOP)  # it is to notice nothing, nor to start another child
    children = [pid for pid, parent, _ in processes() if parent == postmaster]
    for pid in [*children, postmaster]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    ours = {postmaster, *children}
    while any(pid in ours and state != "Z" for pid, _, state in processes()):
        time.sleep(0.01)
    # Where nobody reaps the dead, such as in a container, they count as alive for the next postmaster.
    for lock in (CLUSTER / "data" / "postmaster.pid", Path(HOST) / ".s.PGSQL.5432.lock"):
        lock.unlink(missing_ok=True)


def start():
    # A server that starts after a crash syncs thousands of files first, against a loss of power. This was none.
    set_fsync("off")
    nowhere = subprocess.DEVNULL
    subprocess.run(start_command, check=True, cwd=CLUSTER, stdin=nowhere, stdout=nowhere, stderr=nowhere, timeout=90)
    set_fsync("on")
    sql("postgres", "SELECT pg_reload_conf()")


def set_fsync(to):
    with open(CLUSTER / "data" / "postgresql.conf", "a") as conf:
        conf.write(f"fsync = {to}\n")


class Cut:
    """A way to the server on which the call of one function loses its request or, once committed, its answer."""

    def __init__(self, name):
        self.host = CLUSTER / name
        self.host.mkdir(mode=0o700)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.host / ".s.PGSQL.5432"))
        self.listener.listen()
        self.function, self.what, self.cuts = None, None, 0
        threading.Thread(target=self.accept, daemon=True).start()

    def next(self, function, what):
        self.function, self.what = f"credit_pools.{function}(".encode(), what

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            server = socket.socket(socket.AF_UNIX)
            server.connect(f"{HOST}/.s.PGSQL.5432")
            cut = threading.Event()
            for way in (self.requests, self.answers):
                threading.Thread(target=way, args=(client, server, cut), daemon=True).start()

    def requests(self, client, server, cut):
        with ending(client, server):
            while data := client.recv(65536):
                if self.function and self.function in data:
                    self.function = None
                    self.cuts += 1
                    if self.what == "request":
                        break
                    cut.set()
                server.sendall(data)

    def answers(self, client, server, cut):
        answer = b""
        with ending(client, server):
            while data := server.recv(65536):
                if not cut.is_set():
                    client.sendall(data)
                else:
                    answer += data
                    if answer.endswith(b"Z\0\0\0\5I"):  # ready for the next query: this one is committed
                        break


@contextmanager
def ending(*sockets):
    """What ends one direction ends the other."""
    with suppress(OSError):
        yield
    for one in sockets:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
