"""Manifests of pods for a device, which reads JSON: YAML is read here as Kubernetes reads it (sigs.k8s.io/yaml, on go-yaml v2).

That is YAML 1.1 in what matters: `yes` and `on` are true, `0644` is octal. Unlike in Python's own reading of it dates and
`1:30` are strings. A key that stands twice is refused, as by `kubectl --validate=strict`.
"""

import json
import math
import os
import re
import sys

try:
    import yaml
except ImportError:  # Debian's python3-yaml; only who has YAML needs it
    yaml = None

# The device reads no more; MANIFEST_BYTES of init/manifest/mod.rs.
MAX_BYTES = 256 * 1024


def documents(path):
    """The manifests in the file at `path`, as (file name on the device, bytes)."""
    stem, ending = os.path.splitext(os.path.basename(path))
    with open(path, "rb") as file:
        text = file.read()
    if ending not in (".yaml", ".yml"):
        return [(stem + ending, text)]
    if yaml is None:
        raise ValueError("to read YAML, python3-yaml is needed")
    try:
        found = [document for document in yaml.load_all(text, Loader) if document is not None]
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    if not found:
        raise ValueError("no document in it")
    # In the order of the file, which is the order in which they start.
    width = len(str(len(found)))
    names = [f"{stem}.json"] if len(found) == 1 else [f"{stem}-{n + 1:0{width}}.json" for n in range(len(found))]
    return [(name, convert(document, n)) for n, (name, document) in enumerate(zip(names, found))]


def convert(document, n):
    kind = document.get("kind") if isinstance(document, dict) else None
    if kind != "Pod":
        raise ValueError(f"document {n + 1}: expected kind: Pod, found {kind}")
    wrong = next(flaws(document, ""), None)
    if wrong:
        raise ValueError(f"document {n + 1}: {wrong}")
    data = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    if len(data) > MAX_BYTES:
        raise ValueError(f"document {n + 1}: {len(data)} bytes of JSON; the device reads {MAX_BYTES}")
    return data + b"\n"


def flaws(value, path):
    """What JSON has no word for."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                yield f"{path or 'the pod'}: the key {key} is no string: put it in quotes"
            yield from flaws(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from flaws(inner, f"{path}[{i}]")
    elif isinstance(value, bytes):
        yield f"{path}: binary data"
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{path}: no finite number"


def make_loader():
    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers = {}

    def resolve(kind, pattern, first):
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(f"^(?:{pattern})$"), first)

    def cases(*words):
        return "|".join(f"{word}|{word.capitalize()}|{word.upper()}" for word in words)

    resolve("bool", cases("y", "n", "yes", "no", "on", "off", "true", "false"), list("yYnNoOtTfF"))
    resolve("null", f"~|{cases('null')}|", ["~", "n", "N", ""])
    resolve("merge", "<<", ["<"])
    digits = list("-+0123456789")
    resolve("int", "[-+]?(?:0b[01_]+|0o?[0-7_]*|0x[0-9a-fA-F_]+|[1-9][0-9_]*)", digits)
    resolve("float", r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?", digits + ["."])
    resolve("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", ["-", "+", "."])

    def whole(loader, node):
        text = loader.construct_scalar(node).replace("_", "")
        if re.match("^[-+]?0[0-7]+$", text):
            return int(text, 8)
        return int(text, 0)

    def truth(loader, node):
        return loader.construct_scalar(node).lower() in ("y", "yes", "on", "true")

    def mapping(loader, node):
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        twice = next((key for i, key in enumerate(keys) if key in keys[:i]), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice} stands twice", node.start_mark)
        loader.flatten_mapping(node)
        return yaml.constructor.SafeConstructor.construct_mapping(loader, node, deep=True)

    Loader.add_constructor("tag:yaml.org,2002:int", whole)
    Loader.add_constructor("tag:yaml.org,2002:bool", truth)
    Loader.add_constructor("tag:yaml.org,2002:map", mapping)
    return Loader


Loader = make_loader() if yaml else None


def main():
    """Prints the manifests in the files named, one JSON document a line, or says what is wrong."""
    for path in sys.argv[1:]:
        try:
            for _, data in documents(path):
                sys.stdout.write(data.decode())
        except ValueError as error:
            sys.exit(f"{path}: {error}")


if __name__ == "__main__":
    main()
