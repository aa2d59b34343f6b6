from tests.theorems.conftest import toy_ledger

__all__ = ["toy_ledger"]
