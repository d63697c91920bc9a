"""What the tests of joining a federation share."""

import re
import socket
import ssl
import threading
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from client.enrolment.connection import Connection, save_connection
from common.protocol.enrolment import checksums
from common.protocol.question_keys import public_text
from server.provision.question_key import make_question_key


@dataclass(frozen=True)
class Said:
    """What the command left on the terminal."""

    code: int
    out: str
    err: str


def state(places, site="hospital1"):
    return places.registry.read().sites[site].state


def joined(folder, site):
    """Makes ``folder`` that of a site which knows its coordinator's questions; returns the file with their key."""
    file = folder.with_name(f"{folder.name}-questions.key")
    questions = public_text(make_question_key(file))
    connection = Connection(
        federation="tumours", site=site, address="127.0.0.1:9", enrolled=datetime.now(UTC), questions=questions
    )
    save_connection(connection, folder)
    return file


def repacked(kit, target, change, *, honest=False):
    """A copy of a kit with ``change`` made to its files; ``honest`` makes its checksums fit again."""
    with zipfile.ZipFile(kit) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    if honest:
        del files["SHA256SUMS"]
        files["SHA256SUMS"] = checksums(files)
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target


def failed(said, *parts):
    """The command ended with one readable paragraph that says all of ``parts``."""
    assert said.code == 2
    assert said.err.startswith("error: ")
    assert "Traceback" not in said.err
    for part in parts:
        assert re.search(part, said.err), said.err
    assert said.out == ""


@contextmanager
def tls_server(certificate, port, answer, host="127.0.0.1"):
    """Something at the federation's address that speaks TLS and says ``answer`` to everyone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "server.crt", certificate / "server.key")
    listening = socket.create_server((host, port))

    def talk():
        while True:
            try:
                raw, _ = listening.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(raw, server_side=True) as connection:
                    asked = b""
                    # A body that is left unread would reset the connection, and the answer with it.
                    while not asked.endswith(b"}"):
                        part = connection.recv(65536)
                        if not part:
                            break
                        asked += part
                    connection.sendall(answer)
            except OSError:
                continue

    threading.Thread(target=talk, daemon=True).start()
    try:
        yield
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
