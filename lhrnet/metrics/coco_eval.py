"""How good detected people are: COCO's keypoint evaluation.

The figures are pycocotools' own to the last digit. In addition: nothing is printed, arguments are not modified, an
empty result gives zeros instead of a crash, and errors name what is wrong with a detection.
"""

import contextlib
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lhrnet.coco import MAX_DETECTIONS, PERSON, labelled_keypoints
from lhrnet.metrics.oks import oks_matrix
from lhrnet.skeleton import Skeleton
from lhrnet.skeleton.infer import keypoint_category, of_truth

Truth = Mapping[str, Any]
"""A dataset in the form of COCO's person keypoints: images, annotations, categories. Its category says which keypoints
there are, and with it the tolerances; without categories they are COCO's."""

Detection = Mapping[str, Any]
"""One person in COCO's results form: image_id, category_id, keypoints (3 K numbers), score."""


@dataclass(frozen=True)
class Scores:
    """COCO's ten keypoint figures, 0 to 1; -1 if the ground truth has no person of that size."""

    ap: float
    """Average precision over OKS thresholds 0.50, 0.55 ... 0.95: COCO's main figure."""
    ap50: float
    ap75: float
    ap_medium: float
    """Of people with an area of 32² to 96² pixels."""
    ap_large: float
    """Of people above 96² pixels."""
    ar: float
    """Average recall over the same thresholds, with at most 20 detections an image."""
    ar50: float
    ar75: float
    ar_medium: float
    ar_large: float

    def as_dict(self) -> dict[str, float]:
        """The figures by name, in COCO's order."""
        return asdict(self)


def score(truth: Truth, detections: Sequence[Detection], image_ids: Sequence[int] | None = None) -> Scores:
    """Evaluate detected people against the annotated ones.

    Args:
        truth: the ground truth.
        detections: any number per image; the 20 with the highest scores count.
        image_ids: the images to score; None means all of the truth's. Detections on its other images are left out.

    Returns:
        The ten figures; zeros for an empty result.

    Raises:
        ValueError: the truth is not a keypoint dataset, an image id is not in it, or a detection is malformed.
    """
    evaluation = matched(truth, detections, image_ids)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.accumulate()
        evaluation.summarize()
    return Scores(*(float(figure) for figure in evaluation.stats))


def matched(
    truth: Truth, detections: Sequence[Detection], image_ids: Sequence[int] | None = None, *, by_size: bool = True
) -> COCOeval:
    """COCO's evaluation up to the matching of people, for `score`, `matching` and `errors`.

    Args and Raises: as `score`.
        by_size: also among medium and among large people alone.

    Returns:
        The evaluation, with `evalImgs`; annotations and detections are numbered from 1 in the order given.
    """
    images = _image_ids(truth, image_ids)
    check_detections(truth, detections)
    with contextlib.redirect_stdout(io.StringIO()):
        # Numbered from 1: the matching takes an id of 0 for "not matched".
        annotations = [_annotated(annotation, i) for i, annotation in enumerate(truth["annotations"], 1)]
        people = [_person(detection, i) for i, detection in enumerate(detections, 1)]
        evaluation = _Evaluation(_coco(truth, annotations), _coco(truth, people), "keypoints")
        evaluation.skeleton = of_truth(truth)
        evaluation.params.imgIds = images
        evaluation.params.catIds = [PERSON]
        if not by_size:
            evaluation.params.areaRng = evaluation.params.areaRng[:1]
            evaluation.params.areaRngLbl = evaluation.params.areaRngLbl[:1]
        evaluation.evaluate()
    return evaluation


@dataclass(frozen=True)
class ImageOks:
    """OKS of the people found in one image with the annotated ones."""

    image_id: int
    detections: tuple[Detection, ...]
    """The D that count, highest score first."""
    annotations: tuple[Mapping[str, Any], ...]
    """The G annotated people, crowds and unlabelled ones included."""
    oks: NDArray[np.float64]
    """(D,G)."""


def image_oks(truth: Truth, detections: Sequence[Detection], image_ids: Sequence[int] | None = None) -> list[ImageOks]:
    """OKS of each image's detections with its annotated people, for reports.

    Args and Raises: as `score`.

    Returns:
        One entry an image, in the order of image_ids (or the truth's); images without people too.
    """
    images = _image_ids(truth, image_ids)
    check_detections(truth, detections)
    annotated, found = defaultdict(list), defaultdict(list)
    for annotation in truth["annotations"]:
        annotated[annotation["image_id"]].append(annotation)
    for detection in detections:
        found[detection["image_id"]].append(detection)
    result, skeleton = [], of_truth(truth)
    for image_id in images:
        best = _best(found[image_id])
        oks = oks_matrix(_keypoints(best, skeleton), annotated[image_id], skeleton)
        result.append(ImageOks(image_id, tuple(best), tuple(annotated[image_id]), oks))
    return result


class _Evaluation(COCOeval):  # type: ignore[misc]
    """COCO's evaluation with the OKS of an image's people vectorised, which was half of its time, and any sigmas."""

    skeleton: Skeleton

    def computeOks(self, image_id: int, category: int) -> NDArray[np.float64] | list[float]:  # noqa: N802
        annotated, found = self._gts[image_id, category], self._dts[image_id, category]
        if not annotated or not found:
            return []
        return oks_matrix(_keypoints(_best(found), self.skeleton), annotated, self.skeleton)


def _best(detections: Sequence[Detection]) -> list[Detection]:
    return sorted(detections, key=lambda detection: -detection["score"])[:MAX_DETECTIONS]


def _keypoints(detections: Sequence[Detection], skeleton: Skeleton) -> NDArray[np.float64]:
    numbers = [detection["keypoints"] for detection in detections]
    return np.array(numbers, dtype=np.float64).reshape(-1, skeleton.count, 3)


def check_detections(truth: Truth, detections: Sequence[Detection]) -> None:
    """Check that COCO's evaluation can read a result and will count it correctly.

    Raises:
        ValueError: naming the first bad detection and what is wrong with it.
    """
    known = {image["id"] for image in truth["images"]}
    numbers = 3 * of_truth(truth).count
    for i, detection in enumerate(detections):
        if not isinstance(detection, Mapping):
            raise ValueError(f"detection {i} is {detection!r:.60}; it must be an object with image_id and keypoints")
        missing = [key for key in ("image_id", "category_id", "keypoints", "score") if key not in detection]
        if missing:
            raise ValueError(f"detection {i} has no {', '.join(missing)}; COCO's results form needs it")
        name = f"detection {i} (image {detection['image_id']})"
        image_id = detection["image_id"]
        if type(image_id) is bool or not isinstance(image_id, int | np.integer) or image_id not in known:
            raise ValueError(f"{name}: the truth holds no such image; were other images detected than are scored?")
        if detection["category_id"] != PERSON:
            raise ValueError(f"{name} has category {detection['category_id']}; people are category {PERSON}")
        keypoints = detection["keypoints"]
        count = len(keypoints) if isinstance(keypoints, Sequence | np.ndarray) else "no"
        if count != numbers:
            raise ValueError(f"{name} has {count} keypoint numbers; it must have {numbers}")
        if not _finite(keypoints, (numbers,)):
            raise ValueError(f"{name} has a keypoint that is not a finite number")
        if not _finite(detection["score"], ()):
            raise ValueError(f"{name} has score {detection['score']!r}; it must be a finite number")


def _finite(values: Any, shape: tuple[int, ...]) -> bool:
    """Whether these are finite numbers of this shape; text that looks like numbers is none."""
    try:
        array = np.asarray(values)
    except ValueError:  # lists of unlike lengths
        return False
    return array.shape == shape and array.dtype.kind in "iuf" and bool(np.isfinite(array).all())


def _image_ids(truth: Truth, image_ids: Sequence[int] | None) -> list[int]:
    for key in ("images", "annotations"):
        if not isinstance(truth.get(key), Sequence):
            raise ValueError(f"the truth has no {key!r} as a list; it must be a COCO person-keypoints dataset")
    category = keypoint_category(truth)
    if category and category.get("id") != PERSON:
        raise ValueError(f"the truth's {category.get('name')!r} is category {category.get('id')}; number it {PERSON}")
    count = 3 * of_truth(truth).count
    for annotation in truth["annotations"]:
        if not isinstance(annotation, Mapping):
            raise ValueError(f"the truth's annotations hold {annotation!r:.60}; each must be an object")
        given = {"iscrowd": 0, "num_keypoints": 0, **annotation}
        whole = ("image_id", "category_id", "iscrowd", "num_keypoints")
        missing = [key for key in whole if not isinstance(given.get(key), int | np.integer)]
        fields = {"bbox": ((4,), "bbox"), "area": ((), "area"), "keypoints": ((count,), f"{count} keypoint numbers")}
        missing += [said for key, (shape, said) in fields.items() if not _finite(annotation.get(key), shape)]
        if missing:
            name = f"annotation {annotation.get('id')} of image {annotation.get('image_id')}"
            raise ValueError(f"{name} has no {', '.join(missing)}; the truth must be a COCO person-keypoints dataset")
    for image in truth["images"]:
        if not isinstance(image, Mapping) or not isinstance(image.get("id"), int | np.integer):
            raise ValueError(f"the truth's images hold {image!r:.60}; each must be an object with a whole number as id")
    known = {int(image["id"]) for image in truth["images"]}
    if image_ids is None:
        return sorted(known)
    unknown = [i for i in image_ids if i not in known]
    if unknown:
        raise ValueError(f"the truth holds no image {unknown[0]} ({len(unknown)} of the {len(image_ids)} asked for)")
    return list(image_ids)


def _annotated(annotation: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Add optional fields that the evaluation reads."""
    return {"iscrowd": 0, "num_keypoints": labelled_keypoints(annotation), **annotation, "id": number}


def _person(detection: Detection, number: int) -> dict[str, Any]:
    """Add the fields that the evaluation needs of a detection; its area is that of its keypoints' extent."""
    x, y = detection["keypoints"][0::3], detection["keypoints"][1::3]
    return dict(detection, id=number, area=(max(x) - min(x)) * (max(y) - min(y)))


def _coco(truth: Truth, annotations: list[dict[str, Any]]) -> COCO:
    coco = COCO()
    coco.dataset = {"images": truth["images"], "annotations": annotations, "categories": [{"id": PERSON}]}
    coco.createIndex()
    return coco
