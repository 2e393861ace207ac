"""Every store of blobs keeps the one contract."""

from pathlib import Path

from lockstep.storage.blobs import FolderBlobStore
from lockstep.testing.contracts.blob_store import BlobStoreContract
from lockstep.testing.memory_blobs import MemoryBlobStore


class TestFolderBlobStore(BlobStoreContract):
    def make(self, tmp_path):
        return FolderBlobStore(tmp_path / "home" / "snapshots")

    def damage(self, store, digest, suffix, data):
        Path(store.place(digest, suffix)).write_bytes(data)


class TestMemoryBlobStore(BlobStoreContract):
    def make(self, tmp_path):
        return MemoryBlobStore(tmp_path / "cache")

    def damage(self, store, digest, suffix, data):
        store.content[digest, suffix] = data
