"""The command line of Flower's own node, without the options that would undo what is guarded here."""

from collections.abc import Sequence
from pathlib import Path

from common.errors import ConfigError


def node_arguments(site: Path, arguments: Sequence[str]) -> list[str]:
    """The whole command line of ``flower-supernode`` for a site.

    Args:
        site: the hospital's ``site.yaml``.
        arguments: what the hospital adds: the coordinator's address, certificates, the node's key, ports.

    Raises:
        ConfigError: for an option that would undo what is guarded here.
    """
    from flwr.supernode.cli.flower_supernode import _parse_args_run_supernode

    options = _parse_args_run_supernode().parse_args(list(arguments))
    if options.runtime_dependency_install:
        raise ConfigError("a study may install nothing here: leave out --allow-runtime-dependency-installation")
    if options.trusted_entities is not None or options.node_config is not None:
        raise ConfigError(
            "leave out --trusted-entities and --node-config: site.yaml and the list of bundles stand for them"
        )
    if options.isolation != "subprocess":
        raise ConfigError("leave out --isolation: studies run in processes of this node")
    path = str(site.resolve())
    if any(character in path for character in "'\"\\") or not path.isprintable():
        raise ConfigError(f"{path}: Flower cannot be given a path with quotes; move site.yaml to another folder")
    return [*arguments, "--node-config", f"site-config='{path}'"]
