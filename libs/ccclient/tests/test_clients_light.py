import subprocess
import sys

import pytest

FORBIDDEN = {"ccmessage", "ccstore", "numpy", "sqlalchemy", "jwt", "cryptography", "nats"}


@pytest.mark.parametrize("module", ["ccclient.answers", "ccclient.backend", "ccclient.catalog", "ccclient.store"])
def test_each_module_imports_alone_and_light(module):
    code = f"import sys, {module}\nprint(*{{m.partition('.')[0] for m in sys.modules}})"
    assert not FORBIDDEN & set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())
