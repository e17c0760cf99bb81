"""The vault in memory that other rooms test with keeps the same promises as the real ones."""

from pathlib import Path

import pytest

from tests.kit.memory_vault import MemoryVault
from tests.unit.vault.contract import OpenAgain, VaultContract
from tests.unit.vault.stages import STAGES, stage


class TestMemory(VaultContract):
    @pytest.fixture
    def open_again(self) -> OpenAgain:
        vault = MemoryVault()
        return lambda: vault


class TestStages(VaultContract):
    @pytest.fixture(params=STAGES)
    def open_again(self, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OpenAgain:
        return stage(request.param, tmp_path, monkeypatch).process
