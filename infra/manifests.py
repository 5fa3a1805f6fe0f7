"""Manifests as plain documents: rendered by kustomize, walked pod by pod, and held against CRD schemas offline."""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

Document = dict[str, Any]


def render(folder: Path) -> list[Document]:
    """What `kubectl kustomize` makes of a folder.

    Raises:
        FileNotFoundError: kubectl is not installed.
        ValueError: kustomize refuses the folder.
    """
    if shutil.which("kubectl") is None:
        raise FileNotFoundError("kubectl is not installed; it renders the manifests")
    command = ["kubectl", "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise ValueError(f"{folder}: {done.stderr.strip()}")
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def ray_clusters(documents: Sequence[Document]) -> Iterator[tuple[str, Document]]:
    """The cluster spec of every RayJob and RayCluster, as (Kind/name, spec)."""
    for document in documents:
        if document["kind"] in ("RayJob", "RayCluster"):
            name = f"{document['kind']}/{document['metadata']['name']}"
            yield name, document["spec"].get("rayClusterSpec", document["spec"])


def pods(documents: Sequence[Document]) -> Iterator[tuple[str, str, Document]]:
    """Every pod template, Ray's and Kubernetes' own, as (namespace, where, template)."""
    for document in documents:
        name = f"{document['kind']}/{document['metadata']['name']}"
        namespace = document["metadata"].get("namespace", "")
        if document["kind"] in ("Deployment", "StatefulSet", "DaemonSet", "Job"):
            yield namespace, name, document["spec"]["template"]
        elif document["kind"] in ("RayJob", "RayCluster"):
            [(_, cluster)] = ray_clusters([document])
            yield namespace, f"{name}/head", cluster["headGroupSpec"]["template"]
            for group in cluster["workerGroupSpecs"]:
                yield namespace, f"{name}/{group['groupName']}", group["template"]
            if "submitterPodTemplate" in document["spec"]:
                yield namespace, f"{name}/submitter", document["spec"]["submitterPodTemplate"]


def containers(template: Document) -> list[Document]:
    """All containers of a pod template, those that run before the others included."""
    return [*template["spec"].get("initContainers", []), *template["spec"]["containers"]]


def as_pod(where: str, template: Document) -> Document:
    """A pod template as a v1 Pod, which validators know."""
    metadata = {"name": where.lower().replace("/", "-"), **template.get("metadata", {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def crd_errors(document: Document, crd: Path) -> list[str]:
    """What an API server with this CRD would refuse in a custom resource; unknown fields are errors too.

    Raises:
        ValueError: the CRD does not define this kind in this version.
    """
    validator = _validators(crd).get((document["apiVersion"], document["kind"]))
    if validator is None:
        raise ValueError(f"{crd} defines no {document['kind']} of {document['apiVersion']}")
    return [
        f"{'/'.join(map(str, error.absolute_path))}: {error.message[:200]}" for error in validator.iter_errors(document)
    ]


@cache
def _validators(crd: Path) -> dict[tuple[str, str], Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    definition = yaml.load(crd.read_text(), Loader=loader)["spec"]
    found = {}
    for version in definition["versions"]:
        schema = _strict(version["schema"]["openAPIV3Schema"])
        # the API server checks metadata by itself, and nobody writes a status
        schema["properties"] |= {"metadata": {"type": "object"}, "status": {"type": "object"}}
        kind = (f"{definition['group']}/{version['name']}", definition["names"]["kind"])
        found[kind] = jsonschema.Draft202012Validator(schema)
    return found


def _strict(schema: Any) -> Any:
    """A structural schema as JSON schema: closed objects, and Kubernetes' own words put into standard ones."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    left_out = ("x-kubernetes-validations", "description")
    strict = {key: _strict(value) for key, value in schema.items() if key not in (*left_out, "properties")}
    properties = {name: _strict(value) for name, value in schema.get("properties", {}).items()}
    if properties:
        strict["properties"] = properties
        # defaults are filled in before anything is checked
        strict["required"] = [n for n in schema.get("required", []) if "default" not in properties.get(n, {})]
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            strict.setdefault("additionalProperties", False)
    if schema.get("x-kubernetes-int-or-string"):
        strict.pop("type", None)
        strict.setdefault("anyOf", [{"type": "integer"}, {"type": "string"}])
    if schema.get("nullable") and isinstance(schema.get("type"), str):
        strict["type"] = [schema["type"], "null"]
    return strict
