"""Every store of runs keeps the one contract."""

from lockstep.runs.store import FolderRunStore
from lockstep.testing.contracts.run_store import RunStoreContract


class TestFolderRunStore(RunStoreContract):
    def make(self, tmp_path):
        return FolderRunStore(tmp_path / "home")
