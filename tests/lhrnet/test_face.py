"""What `import lhrnet` promises a Python user."""

import subprocess
import sys

import pytest

import lhrnet

BLOCKED = ("ray", "mlflow", "boto3", "webdataset", "pydantic", "pipeline", "jobs")
BLOCK = f"""
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED}:
            raise ImportError(f"{{name}} is blocked")
sys.meta_path.insert(0, Block())
"""


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", BLOCK + code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_name_is_there_without_the_cluster_s_packages() -> None:
    printed = run("from lhrnet import *; import lhrnet; print(*(type(globals()[n]).__name__ for n in lhrnet.__all__))")
    assert len(printed.split()) == len(lhrnet.__all__)


def test_a_network_finds_people_and_they_are_scored() -> None:
    run("""
import numpy as np, lhrnet
network = lhrnet.create_model(lhrnet.ModelConfig(r=-4, input_size=64))
predictor = lhrnet.Predictor(network, size=64, protocol="flip")
people = predictor(np.zeros((48, 64, 3), np.uint8))
assert all(isinstance(person, lhrnet.Person) for person in people)
assert predictor.protocol is lhrnet.PROTOCOLS["flip"] and predictor.timings.images == 1
truth = {"images": [{"id": 1}], "annotations": [], "categories": [{"id": 1}]}
assert lhrnet.score(truth, [person.to_coco(1) for person in people]).ap == -1
""")


@pytest.mark.parametrize("module", ["lhrnet", "lhrnet.coco", "lhrnet.losses.loss_mask", "pipeline.sharding.task"])
def test_what_needs_no_network_loads_no_torch(module: str) -> None:
    code = f"import sys, {module}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_name_that_is_not_there_is_an_error_that_lists_those_that_are() -> None:
    with pytest.raises(AttributeError, match="Predict'; it offers PROTOCOLS"):
        _ = lhrnet.Predict
    assert set(lhrnet.__all__) <= set(dir(lhrnet))
