"""A shell with one person's settings, in which `lockstep` commands run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from lockstep_store.client.cli import main
from tests.fakes.rest import RestServer


class Shell:
    """One person's shell: a configuration of their own, and the command."""

    def __init__(self, server: RestServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.config = folder / "config"
        self.environment = {
            "LOCKSTEP_URL": server.url,
            "LOCKSTEP_CA": str(server.ca_file),
            "LOCKSTEP_CONFIG_DIR": str(self.config),
            "LOCKSTEP_LOCAL_STORAGE": str(folder / "local_storage"),
            "LOCKSTEP_API_KEY": None,
            "LOCKSTEP_PROFILE": None,
            "LOCKSTEP_CLUSTER_FILE": str(folder / "no-cluster.json"),
            "VISUAL": None,
            "EDITOR": None,
        }

    def run(self, *words: str | Path, input: str | bytes = "", code: int = 0) -> Result:
        result = CliRunner().invoke(main, [str(word) for word in words], input=input, env=self.environment)
        assert result.exit_code == code, f"{words} ended with {result.exit_code}:\n{result.output}{result.exception!r}"
        assert "Traceback" not in result.output
        return result

    def json(self, *words: str | Path, **given: Any) -> Any:
        return json.loads(self.run(*words, "--json", **given).stdout)

    def login(self, name: str = "ann", password: str = "secret") -> None:
        self.run("login", name, input=f"{password}\n")
