"""What an operator reads of a node's output."""

from client.node.lines import NodeLines


def heard(*lines: str) -> tuple[NodeLines, list[str]]:
    told: list[str] = []
    node = NodeLines("fed.example.org:443", told.append)
    for line in lines:
        node(line)
    return node, told


def test_connection_and_work_are_told_once() -> None:
    node, told = heard(
        "\x1b[93mWARNING \x1b[0m:   Connection attempt failed, retrying in 1.44 seconds",
        "\x1b[93mWARNING \x1b[0m:   Connection attempt failed, retrying in 2.86 seconds",
        "\x1b[92mINFO \x1b[0m:      SuperNode ID: 17",
        "INFO :      Connection successful after 3.00 seconds and 3 tries.",
        "INFO :      Receiving: train.gan message (ID: 401a)",
    )
    assert told == [
        "fed.example.org:443 cannot be reached; it is tried again until it can",
        "connected to fed.example.org:443",
        "asked: train.gan",
    ]
    assert node.connected
    assert node.cause == ""


def test_the_cause_of_an_end_is_remembered() -> None:
    node, told = heard(
        "SSL/TLS handshake error detected.",
        "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate has expired (_ssl.c:1006)",
        "INFO:     Shutting down",
        "WARNING :   Connection attempt failed, retrying in 0.58 seconds",
    )
    assert "has expired" in node.cause
    assert told == []
    node, _ = heard("[code: 2004] Failed to activate SuperNode.")
    assert "revoked or replaced" in node.cause
    node, _ = heard("httpx.HTTPStatusError: Client error '401 Unauthorized' for url")
    assert "does not know this node" in node.cause


def test_our_own_refusal_is_kept_word_by_word() -> None:
    node, told = heard("bundle refused: it is not approved", "error: port 18470 is taken on this machine")
    assert node.refusal == "port 18470 is taken on this machine"
    assert told == ["bundle refused: it is not approved"]
