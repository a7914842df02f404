"""Flags and YAML to typed settings: one parser for every command, every mistake answered in one line."""

import difflib
import inspect
import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

import yaml
from jsonargparse import SUPPRESS, ArgumentParser
from pydantic import TypeAdapter, ValidationError

from triune.errors import InputError
from triune.files import on_one_line
from triune.ranges import in_words
from triune.run.given_flags import check_length, check_metric_flags, value_of
from triune.run.recipes import recipe_of
from triune.run.settings import TrainConfig
from triune.run.yaml_file import check_depth, check_names, check_value, check_yaml, read_settings

T = TypeVar("T")

RENAMED = {"run": "output"}
"""What settings of training were called before version 0.1.0, and are called now; stored settings are read as these."""

_YES_OR_NO = ("true", "false", "yes", "no")
_WIDTH = 100


class Setting(NamedTuple):
    """One setting.

    Args:
        name: dotted, as in ``model.dropout``.
        kind: its type, ranges included.
        text: what is said of it.
        default: what it is where nothing is given.
    """

    name: str
    kind: Any
    text: str
    default: Any


@dataclass(frozen=True)
class Command(Generic[T]):
    """A command as a parser needs to know it.

    Args:
        name: as it is called, such as ``triune train``.
        text: what it does, in a line.
        settings: the dataclass of its settings.
        words: settings that are given without a flag, in their order.
        defaults: a YAML file whose values are the defaults; the dataclass's own where not given.
        has_config: whether ``--config`` reads YAML and ``--print_config`` shows it.
    """

    name: str
    text: str
    settings: type[T]
    words: tuple[str, ...] = ()
    defaults: Path | None = None
    has_config: bool = True

    def parse(self, arguments: Sequence[str]) -> T:
        """The settings that flags and files ask for.

        Raises:
            InputError: a flag that is not known, or a value that is out of its range: one line that names it.
            SystemExit: help or the settings were asked for, and are printed.
        """
        parser = _Parser.of(self)
        known = {setting.name: setting for setting in parser.settings}
        given = _spelt(arguments, {name for name, each in known.items() if each.kind is bool}, bool(self.words))
        given = _gathered(given, {name for name, each in known.items() if _is_texts(each.kind)} - set(self.words))
        given = _as_lists(given, {name for name, each in known.items() if _is_one_or_several(each.kind)})
        if self.words:
            given = _words_first(given)
        if "-h" in given or "--help" in given or "--help_all" in given:
            print(parser.full_help() if "--help_all" in given else parser.short_help())
            raise SystemExit(0)
        for place, argument in enumerate(given):
            value = argument.partition("=")[2] if argument.startswith("--") else argument
            if value or not argument.startswith("--") or argument.endswith("="):
                check_value(value, _flag_of(given, place))
                check_depth(value, _flag_of(given, place))
        if self.has_config:
            given = parser.with_texts(given)
        values = parser.parse_args(given).as_dict()
        for name in ("config", "__default_config__"):
            values.pop(name, None)
        try:
            return TypeAdapter(self.settings).validate_python(values)
        except ValidationError as error:
            raise InputError(f"{_said(error, known)} ({self.name} --help lists the settings)") from error


TRAIN = Command("triune train", "Train, evaluate and report.", TrainConfig)


def parse_train(arguments: Sequence[str], command: Command[TrainConfig] = TRAIN) -> TrainConfig:
    """The settings of a training run.

    ``--resume RUN`` starts from the settings stored in RUN, and a data set that has a recipe from those of the recipe
    (see :mod:`triune.run.recipes`); ``--config`` and other flags still override them.

    Args:
        arguments: the flags.
        command: ``triune train``, or another that trains.

    Raises:
        InputError: a flag or a value that is not known.
    """
    check_length(arguments)
    given, resumed = arguments, value_of("--resume", arguments)
    if resumed is not None:
        stored = Path(resumed) / "config.yaml"
        if not stored.is_file():
            raise InputError(f"{stored} does not exist: --resume takes the folder of an earlier run")
        if value_of("--output", arguments) is not None:
            raise InputError(
                "--output and --resume are both given, but a run goes on in its own folder: leave --output away"
            )
        read_config(stored)
        arguments = ["--config", str(stored), *arguments]
    elif command.defaults is None and (recipe := recipe_of(_data_of(arguments) or "")) is not None:
        arguments = ["--config", str(recipe), *arguments]
    config = command.parse(arguments)
    check_metric_flags(given, config.metric_loss)
    return config


def read_config(path: Path) -> TrainConfig:
    """Read the settings of a ``config.yaml``."""
    if not path.is_file():
        raise InputError(f"{path} does not exist: name a run folder that `triune train` wrote")
    if "data" not in (_mapping(read_settings(path), str(path)) or ()):
        raise InputError(f"{path} does not say what the run was trained on: it is damaged or another file")
    try:
        return TRAIN.parse(["--config", str(path)])
    except InputError as error:
        # What a file says is answered as the flag would be, which here nobody gave.
        raise (error if str(path) in str(error) else InputError(f"{path}: {error}")) from error


def one_line(message: str) -> str:
    """A message of several lines, folded into one."""
    return " ".join(part.strip() for part in str(message).splitlines() if part.strip())


class _Parser(ArgumentParser):
    """jsonargparse's parser, whose mistakes are :class:`InputError`, and whose help has a short and a full form."""

    command: Command[Any]
    settings: list[Setting]
    may_be_none: set[str]
    """Settings without a flag that take several values, or none."""

    @classmethod
    def of(cls, command: Command[Any]) -> "_Parser":
        parser = cls(prog=command.name, allow_abbrev=False)
        if command.defaults is not None:
            parser.default_config_files = [command.defaults]
        parser.command = command
        parser.settings = []
        parser.may_be_none = set()
        if command.has_config:
            parser.add_argument("--config", action="config", help="YAML file of settings; flags override it")
        hints = get_type_hints(command.settings, include_extras=True)
        lacking = {each.name for each in fields(command.settings) if _has_no_default(each)}
        for name in command.words:
            if _is_optional(hints[name]):
                parser.add_argument(name, type=hints[name], nargs="?", default=SUPPRESS)
            elif _is_several(hints[name]):
                kind = get_args(hints[name])[0]
                if name in lacking:
                    parser.add_argument(name, type=kind, nargs="+")
                else:
                    parser.may_be_none.add(name)
                    parser.add_argument(name, type=kind, nargs="*", default=())
            else:
                parser.add_argument(name, type=hints[name])
        parser.add_class_arguments(command.settings, skip=set(command.words))
        parser.settings = list(_settings(command.settings, parser.get_defaults().as_dict()))
        return parser

    def with_texts(self, arguments: Sequence[str]) -> list[str]:
        """The arguments with the text of each file of settings, which is sound, in place of its path.

        Settings of training in a file of an earlier version are called what they are called now.

        Raises:
            InputError: a file cannot be read, or a name in it is not known.
        """
        kept = list(arguments)
        for place, argument in enumerate(kept):
            flag, equals, path = argument.partition("=")
            if flag != "--config":
                continue
            if not equals and place + 1 == len(kept):
                raise InputError("--config needs a YAML file")
            path = path if equals else kept[place + 1]
            text = read_settings(Path(path))
            for before, now in RENAMED.items() if self.command.settings is TrainConfig else ():
                text = re.sub(f"^{before}:", f"{now}:", text, flags=re.MULTILINE)
            values = _mapping(text, path)
            check_names(values, [setting.name for setting in self.settings], path)
            # In braces: jsonargparse takes any other text for a path first.
            kept[place if equals else place + 1] = ("--config=" if equals else "") + (text if values else "{}")
        return kept

    def error(self, message: str, ex: Exception | None = None) -> Any:
        """Raise instead of printing the usage and a long explanation."""
        lists = f" ({self.command.name} --help lists the settings)"
        # Of a setting in a file jsonargparse tells what this method said of it, in words of its own around it.
        message = message.removeprefix('Parser key "config": ').removesuffix(lists)
        told = _told(message, {setting.name: setting for setting in self.settings})
        raise InputError(f"{told}{lists}") from ex

    def short_help(self) -> str:
        """What fits a screen: the settings everyone reaches for, of each what is said up to the first stop."""
        lines = [*self._usage(), ""]
        groups: dict[str, None] = {}
        for setting in self.settings:
            group, dot, _ = setting.name.partition(".")
            if dot:
                groups[group] = None
            else:
                flag = setting.name.upper() if setting.name in self.command.words else _shown(setting)
                lines.append(f"  {flag:<24} {re.split(r'[.;] ', setting.text)[0].rstrip('.')}")
        if self.command.has_config:
            lines.append(f"  {'--config FILE':<24} YAML file of settings; flags override it")
            lines.append(f"  {'--print_config':<24} show every setting as YAML")
        lines.append(f"  {'--help_all':<24} all about each setting{', and these too:' if groups else ''}")
        if groups:
            lines.append(f"  {' '.join(f'--{group}.*' for group in groups)}")
        return "\n".join(lines)

    def full_help(self) -> str:
        """Every setting with all that is said of it and the values it takes."""
        lines = self._usage()
        before: str | None = None
        for setting in self.settings:
            group = setting.name.rpartition(".")[0]
            if group != before:
                lines.append("")
            before = group
            lines.append(f"  {setting.name.upper() if setting.name in self.command.words else _shown(setting)}")
            text = f"{setting.text.rstrip('.')}. It takes {in_words(setting.kind)}."
            lines += textwrap.wrap(text, _WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)
        if self.command.has_config:
            lines += ["", "  --config FILE", "      YAML file of settings; flags override it"]
            lines += ["  --print_config", "      show every setting as YAML, in the form that --config reads"]
        return "\n".join(lines)

    def _usage(self) -> list[str]:
        kinds = {setting.name: setting.kind for setting in self.settings}
        words = [
            f"[{_word(name, kinds[name])}]"
            if _is_optional(kinds[name]) or name in self.may_be_none
            else _word(name, kinds[name])
            for name in self.command.words
        ]
        return [f"usage: {' '.join([self.command.name, *words])} [--SETTING VALUE …]", "", self.command.text]


def _mapping(text: str, source: str) -> dict[Any, Any]:
    """What a text of settings holds; nothing is an empty mapping."""
    check_yaml(text, source)
    try:
        values = yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:  # a number of too many digits, a day that there is none of
        raise InputError(f"{source}: {on_one_line(str(error))}") from error
    if values is not None and not isinstance(values, dict):
        raise InputError(f"{source} holds no settings: write lines of NAME: VALUE")
    return values or {}


def _flag_of(arguments: Sequence[str], place: int) -> str:
    """What messages call an argument: the flag that it is, or is the value of."""
    for each in (arguments[place], arguments[place - 1] if place else ""):
        if each.startswith("--"):
            return each.partition("=")[0]
    return f"argument {place + 1}"


def _settings(of: type[Any], defaults: Mapping[str, Any], above: str = "") -> Iterator[Setting]:
    """Every setting of a tree of dataclasses, those of the tree's root first."""
    hints, said = get_type_hints(of, include_extras=True), _said_of(of)
    names = [each.name for each in fields(of)]
    for name in names:
        if not is_dataclass(hints[name]):
            yield Setting(above + name, hints[name], said.get(name, ""), defaults.get(name))
    for name in names:
        if is_dataclass(hints[name]):
            yield from _settings(hints[name], defaults.get(name) or {}, f"{above}{name}.")


def _said_of(settings: type[Any]) -> dict[str, str]:
    """What the docstring of a dataclass says of each of its fields, in one line each."""
    entries = inspect.getdoc(settings) or ""
    entries = entries.partition("Args:\n")[2].partition("\n\n")[0]
    return {name: one_line(text) for name, text in re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", entries, re.MULTILINE)}


def _is_several(kind: Any) -> bool:
    """Whether a setting takes one value or more."""
    return get_origin(kind) is tuple


def _is_texts(kind: Any) -> bool:
    """Whether it takes one text or path or more."""
    return _is_several(kind) and get_args(kind)[0] in (str, Path)


def _is_one_or_several(kind: Any) -> bool:
    """Whether it takes a value, or a list of so many."""
    return any(_is_several(part) and Ellipsis not in get_args(part) for part in get_args(kind))


def _has_no_default(setting: "Field[Any]") -> bool:
    return setting.default is MISSING and setting.default_factory is MISSING


def _is_optional(kind: Any) -> bool:
    return type(None) in get_args(kind)


def _word(name: str, kind: Any) -> str:
    return name.upper() + (" …" if _is_several(kind) else "")


def _shown(setting: Setting) -> str:
    """A flag with its default, or with the kind of value that it takes where there is none."""
    if setting.kind is bool and setting.default is False:
        return f"--{setting.name}"
    if _is_texts(setting.kind) and not setting.default:
        return f"--{setting.name} {'PATH' if Path in get_args(setting.kind) else 'TEXT'} …"
    if setting.default is None:
        kinds = str(setting.kind)
        value = "PATH" if "Path" in kinds else "NUMBER" if "float" in kinds or "int" in kinds else "TEXT"
    else:
        value = yaml.safe_dump(_plain(setting.default), default_flow_style=True).splitlines()[0]
    return f"--{setting.name} {value}"


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _spelt(arguments: Sequence[str], flags: set[str], words: bool) -> list[str]:
    """``--batch-size`` is ``--batch_size``, and a yes-or-no setting alone means yes: ``--json`` is ``--json=true``.

    Args:
        arguments: as they are given.
        flags: the yes-or-no settings.
        words: whether a word that follows one of them may be a setting of its own.
    """
    spelt = []
    for place, argument in enumerate(arguments):
        if argument.startswith("--"):
            name, equals, value = argument[2:].partition("=")
            name = name.replace("-", "_")
            following = arguments[place + 1] if place + 1 < len(arguments) else ""
            alone = following.lower() not in _YES_OR_NO and (words or not following or following.startswith("-"))
            if name in flags and not equals and alone:
                equals, value = "=", "true"
            argument = f"--{name}{equals}{value}"
        spelt.append(argument)
    return spelt


def _gathered(arguments: Sequence[str], lists: set[str]) -> list[str]:
    """``--like a b`` is ``--like=["a", "b"]``, where a setting takes several texts; up to the next flag.

    Args:
        arguments: as :func:`_spelt` gives them.
        lists: the settings that take several texts.
    """
    gathered: list[str] = []
    into: list[str] | None = None
    values: dict[str, list[str]] = {}
    for argument in arguments:
        name, equals, value = argument[2:].partition("=") if argument.startswith("--") else ("", "", "")
        if name in lists:
            into = values.setdefault(name, [])
            into += [value] if equals else []
        elif argument.startswith("--") or into is None:
            into = None
            gathered.append(argument)
        else:
            into.append(argument)
    for name, each in values.items():
        written = len(each) == 1 and each[0].startswith("[") and each[0].endswith("]")
        gathered.append(f"--{name}={each[0] if written else json.dumps(each)}")
    return gathered


def _as_lists(arguments: Sequence[str], lists: set[str]) -> list[str]:
    """``--images.size 64 96`` is ``--images.size=[64,96]``; one value alone stays as it is.

    Args:
        arguments: as :func:`_spelt` gives them.
        lists: the settings that take a value, or a list of them.
    """
    found: list[list[str]] = []
    for argument in arguments:
        if found and found[-1][0][2:].partition("=")[0] in lists and not argument.startswith("--"):
            found[-1].append(argument)
        else:
            found.append([argument])
    given: list[str] = []
    for first, *others in found:
        name, equals, value = first.partition("=")
        values = [value, *others] if equals else others
        given += [f"{name}=[{','.join(values)}]"] if len(values) > 1 and first.startswith("--") else [first, *others]
    return given


def _words_first(arguments: Sequence[str]) -> list[str]:
    """What is given without a flag before all flags: argparse takes a list that may be empty for empty elsewhere.

    Args:
        arguments: as :func:`_gathered` gives them, so that a flag without ``=`` is followed by its value.
    """
    words: list[str] = []
    flags: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if not argument.startswith("--"):
            words.append(argument)
        else:
            flags.append(argument)
            if "=" not in argument and argument not in ("--help", "--help_all"):
                flags += [value for value in (next(rest, None),) if value is not None]
    return words + flags


def _data_of(arguments: Sequence[str]) -> str | None:
    """The data that flags name, or else the last file of settings that names any; what is wrong with it comes later."""
    named = value_of("--data", arguments)
    for place, argument in enumerate(arguments) if named is None else ():
        flag, equals, path = argument.partition("=")
        if flag == "--config" and (equals or place + 1 < len(arguments)):
            path = path if equals else arguments[place + 1]
            value = _mapping(read_settings(Path(path)), path).get("data")
            named = value if isinstance(value, str) else named
    return named


def _told(message: str, known: Mapping[str, Setting]) -> str:
    """A message of jsonargparse in our own words, where it is about a setting's value or an unknown flag."""
    key = re.search(r'Parser key "([^"]+)"', message)
    value = re.search(r"(?:Got|Given) value: (.*)", message)
    if key and value and key[1] in known:
        return _out_of_range(known[key[1]], value[1].strip())
    unknown = re.search(r"[Uu]nrecognized arguments: (--[^\s=]+)", message)
    if unknown:
        name = unknown[1].removeprefix("--")
        near = [RENAMED[name]] if name in RENAMED else difflib.get_close_matches(name, known, n=1)
        return f"there is no setting --{name}" + (f", did you mean --{near[0]}?" if near else "")
    return one_line(message)


def _said(error: ValidationError, known: Mapping[str, Setting]) -> str:
    """What pydantic found, in one line: each setting, its value and what it takes."""
    told = []
    for problem in error.errors():
        name = ""
        for place in range(len(problem["loc"]), 0, -1):
            name = ".".join(map(str, problem["loc"][:place]))
            if name in known:
                break
        if name in known:
            told.append(_out_of_range(known[name], problem["input"]))
        else:
            told.append(one_line(problem["msg"]).removeprefix("Value error, "))
    return "; ".join(dict.fromkeys(told))


def _out_of_range(setting: Setting, value: Any) -> str:
    return f"--{setting.name} is {value}: it takes {in_words(setting.kind)}"
