from pathlib import Path

import pytest

from lhrnet.skeleton import SKELETONS
from pipeline.config.skeleton_file import skeleton_named, skeleton_yaml


@pytest.mark.parametrize("name", SKELETONS)
def test_a_skeleton_that_is_written_is_read_back_as_it_was(name: str, tmp_path: Path) -> None:
    path = tmp_path / "skeleton.yaml"
    path.write_text(skeleton_yaml(SKELETONS[name]))
    assert skeleton_named(str(path)) == skeleton_named(name) == SKELETONS[name]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: &a x\ncategory: *a", "is an alias"),
        ("[1, 2]", "a skeleton has the keys"),
        (skeleton_yaml(SKELETONS["lsp"]).replace("[right_ankle, left_ankle]", "[right_ankle, left_toe]"), "'left_toe'"),
        (skeleton_yaml(SKELETONS["lsp"]).replace("neck: 0.079", "neck: 0"), "the sigma of neck is 0"),
    ],
)
def test_a_file_that_was_edited_wrongly_says_where(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "skeleton.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"skeleton\.yaml: .*{told}"):
        skeleton_named(str(path))


def test_a_name_that_is_not_built_in_names_those_that_are() -> None:
    with pytest.raises(ValueError, match=r"neither built in \(coco, .*lhrnet data skeleton"):
        skeleton_named("horse")
