"""One hospital's ClientApp in this process, and a coordinator that may ask it anything."""

from pathlib import Path
from typing import Any

from flwr.app import Message, RecordDict
from tiny import TINY, write_site

from client.app import make_app, site_from_node_config
from client.audit.log import read_audit
from client.site import SiteSettings, load_site, save_site
from common.protocol.records import CONFIG, Instruction, instruction_record
from common.study.config import compose, to_yaml
from simulation.grid import FIRST_NODE, InProcessGrid

STUDY = to_yaml(compose([*TINY, "model=[cgan,wgan_gp]"]), leaving=True)


class Hospital:
    """A site and a coordinator that may ask it anything."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        """Args:
        folder: what it has lies here, its patients too unless ``path`` says where they are.
        settings: of its ``site.yaml``.
        """
        home = folder / "hospital1"
        data = folder / "data"
        if "path" not in settings and not data.exists():
            write_site(data, 10, seed=1)
        self.file = home / "site.yaml"
        given = {
            "name": "hospital1",
            "reader": "brats",
            "organ": "brain",
            "path": data,
            "folder": home,
            "cache_dir": folder / "cache",
            "threads": 1,
            # The tiny study has four patients and steps of a few slices: tests of these limits set their own.
            "min_update_patients": 1,
            "min_update_slices": 1,
            **settings,
        }
        save_site(SiteSettings(**given), self.file)
        self.settings = load_site(self.file)
        self.grid = InProcessGrid(make_app(site_from_node_config), [self.file])

    def ask(self, action: str, content: RecordDict | None = None, **instruction: Any) -> Message:
        given = {"run": "demo", "phase": "hello", "experiment": STUDY, **instruction}
        if content is None:
            content = RecordDict({CONFIG: instruction_record(Instruction(**given))})
        message = Message(content, dst_node_id=FIRST_NODE, message_type=action)
        (reply,) = self.grid.send_and_receive([message])
        return reply

    def entries(self) -> list[dict[str, Any]]:
        entries, problem = read_audit(self.settings.audit_files())
        assert problem is None
        return entries
