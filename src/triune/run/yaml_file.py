"""A YAML file of settings, read within limits: plain values, no name twice, and no name that there is none of."""

import difflib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import yaml

from triune.errors import InputError
from triune.files import regular_file

MOST_BYTES = 1 << 16
"""No file of settings is larger: 64 KiB."""

MOST_NESTED = 20
"""Lists and mappings within one another in a file of settings, or in the value of a flag."""

MOST_DIGITS = 1000
"""Of a number; the interpreter refuses some more with an error of its own."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_settings(path: Path) -> str:
    """The text of a YAML file of settings that :func:`check_settings` finds nothing wrong with.

    Raises:
        InputError: there is no such file, it is too large, or no UTF-8 text; one line that names it.
        OSError: the machine cannot read it.
    """
    with open(regular_file(path), "rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise InputError(f"{path} is larger than {MOST_BYTES >> 10} KiB, which no file of settings is")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: save it in UTF-8") from error


def check_yaml(text: str, source: str) -> None:
    """Look at the structure of a YAML text before anything is built of it.

    Aliases are refused because a few lines of them stand for billions of values, and tags because they ask for other
    types than those of settings; no loader of this program obeys one.

    Args:
        text: the YAML.
        source: what messages call it.

    Raises:
        InputError: it is no YAML, nested too deeply, or holds aliases, tags, several documents or a name twice.
    """
    documents = 0
    open_names: list[set[str] | None] = []
    awaiting: list[bool] = []  # of each open mapping: whether its next node is a name
    try:
        for event in yaml.parse(text, Loader=_Loader):
            line = event.start_mark.line + 1 if event.start_mark else 1
            if isinstance(event, yaml.AliasEvent):
                raise InputError(f"{source}, line {line}: it refers to another value (*{event.anchor}): write it out")
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise InputError(f"{source}, line {line}: a second document begins: keep one")
            tag = getattr(event, "tag", None)
            if tag is not None:
                raise InputError(f"{source}, line {line}: it asks for the type {tag}: write plain values")
            if isinstance(event, yaml.CollectionEndEvent):
                open_names.pop()
                awaiting.pop()
                continue
            if not isinstance(event, yaml.NodeEvent):
                continue
            if open_names and (names := open_names[-1]) is not None:
                if awaiting[-1]:
                    if not isinstance(event, yaml.ScalarEvent):
                        raise InputError(f"{source}, line {line}: a list or mapping stands for a name")
                    if event.value in names:
                        raise InputError(f"{source}, line {line}: {event.value!r} is there twice: remove one")
                    names.add(event.value)
                awaiting[-1] = not awaiting[-1]
            if isinstance(event, yaml.CollectionStartEvent):
                open_names.append(set() if isinstance(event, yaml.MappingStartEvent) else None)
                awaiting.append(True)
                if len(open_names) > MOST_NESTED:
                    raise InputError(f"{source}, line {line}: it is nested more than {MOST_NESTED} deep")
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f", line {mark.line + 1}"
        reason = getattr(error, "problem", None) or " ".join(str(error).split())
        raise InputError(f"{source}{where}: it is no YAML: {reason}") from error


def check_value(value: str, name: str) -> None:
    """Look whether a text can be the value of a setting, most of which are paths and names.

    Raises:
        InputError: it is empty, or holds what no file or name can be called by.
    """
    if not value:
        raise InputError(f"{name} is empty: give it a value, or leave it away")
    if "\0" in value:
        raise InputError(f"{name} is {value!r}, which holds a zero byte")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{name} is {value!r}, which is no UTF-8 text: rename the file") from error


def _is_huge(text: str) -> bool:
    return len(text) > MOST_DIGITS and text.lstrip("+-").replace("_", "").isdigit()


def check_depth(text: str, source: str) -> None:
    """Look how deep the value of a flag is nested, before anything is built of it.

    Raises:
        InputError: it is nested too deeply, or refers to itself.
    """
    depth = 0
    try:
        for event in yaml.parse(text, Loader=_Loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MOST_NESTED:
                raise InputError(f"{source}: its value is nested more than {MOST_NESTED} deep")
            if depth and isinstance(event, yaml.AliasEvent):
                raise InputError(f"{source}: its value refers to another (*{event.anchor}): write it out")
            if isinstance(event, yaml.ScalarEvent) and event.implicit[0] and _is_huge(event.value):
                raise InputError(f"{source}: its value is a number of {len(event.value)} digits")
    except (yaml.YAMLError, UnicodeError):
        return  # any text may be a value


def check_names(values: dict[Any, Any], known: Collection[str], source: str) -> None:
    """Look whether every name of a file of settings is a setting's.

    Args:
        values: what the file holds.
        known: dotted names of the settings, as in ``model.dropout``.
        source: the file, for messages.

    Raises:
        InputError: it holds a name that is not known; the nearest known one is named.
    """
    groups = {name.rpartition(".")[0] for name in known} - {""}
    for name, value in _leaves(values, groups, ""):
        if name in groups:
            raise InputError(
                f"{source}: {name} is {value!r}, but has settings of its own: write {name}: {{NAME: VALUE}}"
            )
        if name not in known:
            last = name.rpartition(".")[2]
            near = [each for each in known if each.endswith(f".{last}")] or difflib.get_close_matches(name, known, n=1)
            raise InputError(f"{source}: there is no setting {name}" + (f", did you mean {near[0]}?" if near else ""))
        if isinstance(value, str):
            check_value(value, f"{source}: {name}")


def _leaves(values: dict[Any, Any], groups: Collection[str], above: str) -> Iterator[tuple[str, Any]]:
    """Dotted names with their values; ``{model: {}}`` has none."""
    for name, value in values.items():
        dotted = f"{above}{name}"
        if dotted in groups and isinstance(value, dict):
            yield from _leaves(value, groups, dotted + ".")
        else:
            yield dotted, value
