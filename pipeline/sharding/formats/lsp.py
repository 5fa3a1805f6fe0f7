"""Leeds Sports Pose: joints.mat beside images/im0001.jpg and so on, one labelled person an image, 14 joints.

The original set (Johnson and Everingham, BMVC 2010) holds joints as (3, 14, N) and flags a joint that is *hidden*; all
have a place. The extended set (CVPR 2011) holds (14, 3, N) and flags a joint that is *labelled*; the others have no
place. So the shape tells what the flag means.
"""

import io
from typing import Any

import numpy as np
import scipy.io
from scipy.io.matlab import MatReadError

from lhrnet.skeleton import SKELETONS
from lhrnet.skeleton.infer import category_of
from pipeline.sharding.formats.files import Files
from pipeline.sharding.formats.pixels import upright_size

JOINTS = 14
OFFICIAL, TRAINED = 2000, 1000
"""Images of the original set, and how many of them its authors train on."""
MAT_BYTES = 1 << 26


def read_lsp(files: Files, notes: list[str]) -> dict[str, dict[str, Any]]:
    """The images and joints of a joints.mat, by split; none where the source holds none.

    Args:
        files: the source.
        notes: what was assumed is added here.

    Raises:
        ValueError: joints.mat is damaged or holds no such joints; an image is damaged.
        FileNotFoundError: an image is missing.
    """
    found = [path for path in files.ending(".mat") if path.rsplit("/", 1)[-1] == "joints.mat"]
    if not found:
        return {}
    if len(found) > 1:
        raise ValueError(f"{files.url} holds {' and '.join(found)}; give the folder of one")
    joints_N143, hidden_flag = _joints(files, found[0])
    meaning = "the original set's form, 3x14xN: the flag means hidden" if hidden_flag else (
        "the extended set's form, 14x3xN: the flag means labelled, and joints without it are not"
    )  # fmt: skip
    notes.append(f"{found[0]} has {meaning}")
    folder = found[0].rpartition("/")[0]
    images, annotations = [], []
    for number, joints_143 in enumerate(joints_N143, 1):
        path = _image(files, folder, number)
        width, height = upright_size(files.members[path].read())
        images.append({"id": number, "file_name": path, "width": width, "height": height})
        flags = np.where(joints_143[:, 2] > 0, 1, 2) if hidden_flag else np.where(joints_143[:, 2] > 0, 2, 0)
        points = np.column_stack([joints_143[:, :2], flags]).ravel().tolist()
        annotations.append({"id": number, "image_id": number, "category_id": 1, "keypoints": points})
    tree = {"images": images, "annotations": annotations, "categories": [category_of(SKELETONS["lsp"], 1)]}
    if not hidden_flag or len(images) != OFFICIAL:
        return {"all": tree}
    notes.append(f"its authors' split is taken: the first {TRAINED:,} images to train on, the others as val")
    return {
        "train": {**tree, "images": images[:TRAINED], "annotations": annotations[:TRAINED]},
        "val": {**tree, "images": images[TRAINED:], "annotations": annotations[TRAINED:]},
    }


def _joints(files: Files, path: str) -> tuple["np.ndarray[Any, np.dtype[np.float64]]", bool]:
    """(N, 14, 3) x, y and flag of every joint, and whether the flag means hidden."""
    if files.members[path].size > MAT_BYTES:
        raise ValueError(f"{path} has {files.members[path].size:,} bytes; LSP's have under 10 million")
    content = files.members[path].read()
    try:
        shapes = {name: shape for name, shape, _ in scipy.io.whosmat(io.BytesIO(content))}
        shape = shapes.get("joints", ())
        if len(shape) == 3 and np.prod(shape) * 8 <= MAT_BYTES and (JOINTS, 3) in (shape[:2], shape[1::-1]):
            values = scipy.io.loadmat(io.BytesIO(content), variable_names=["joints"])["joints"]
            joints = np.asarray(values, np.float64)
            hidden_flag = shape[:2] == (3, JOINTS)
            return joints.transpose(2, 1, 0) if hidden_flag else joints.transpose(2, 0, 1), hidden_flag
    except (MatReadError, ValueError, TypeError, KeyError, NotImplementedError, IndexError, OSError) as error:
        raise ValueError(f"{path} in {files.url} is no MATLAB file that can be read: {error}") from error
    raise ValueError(f"{path} in {files.url} holds {shapes!r:.100}; LSP's holds joints of 3x14xN or 14x3xN")


def _image(files: Files, folder: str, number: int) -> str:
    inside = f"{folder}/" if folder else ""
    for name in (f"im{number:04d}", f"im{number:05d}"):
        for path in (f"{inside}images/{name}.jpg", f"{inside}images/{name}.png"):
            if path in files.members:
                return path
    raise FileNotFoundError(
        f"{files.url} has no {inside}images/im{number:05d}.jpg (nor im{number:04d}.jpg) of joints.mat"
    )
