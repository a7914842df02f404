"""`triune gallery`: what a gallery holds; rows removed, near-duplicates found, a former version restored."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic.dataclasses import dataclass

from triune.commands.common import command, print_json, progress, require_new
from triune.ranges import Count, NonNegative

if TYPE_CHECKING:
    from triune.serving.gallery.gallery import Gallery


@dataclass(frozen=True)
class GalleryConfig:
    """Which gallery `triune gallery` looks at, and what it does with it.

    Args:
        gallery: a folder or URL that `triune index` wrote.
        where: speak of the rows that meet a condition only, such as "label = 'cup' and price < 20". Duplicates
            are looked for among them. It removes none.
        remove: images to remove. They are paths, folders (all below them), or patterns.
        remove_where: remove the rows that meet a condition.
        duplicates: list groups of images whose distance is at most this.
        html: also write these groups as a page of images.
        restore: go back to a version. What came after it stays, as versions of its own.
        json: print JSON.
    """

    gallery: str
    where: str | None = None
    remove: tuple[str, ...] = ()
    remove_where: str | None = None
    duplicates: NonNegative | None = None
    html: Path | None = None
    restore: Count | None = None
    json: bool = False


def run(arguments: list[str]) -> int:
    """Show what a gallery holds, or change it."""
    asked = command("gallery", GalleryConfig, words=("gallery",)).parse(arguments)
    from triune.errors import InputError
    from triune.plurals import plural
    from triune.serving.gallery.gallery import Gallery

    if asked.html is not None and asked.duplicates is None:
        raise InputError("--html shows what --duplicates finds: give a distance with it")
    if asked.where is not None and (asked.remove or asked.remove_where is not None):
        raise InputError(
            "--where only chooses what is shown: remove the rows that meet a condition with --remove_where, without it"
        )
    require_new(asked.html)
    gallery = Gallery.open(asked.gallery)
    if asked.restore is not None:
        gallery.restore(asked.restore)
    if asked.remove or asked.remove_where is not None:
        count = gallery.remove(asked.remove, where=asked.remove_where)
        print(f"{plural(count, 'row')} removed, {gallery.count:,} left", file=sys.stderr)
    if asked.duplicates is not None:
        _tell_duplicates(gallery, asked)
        return 0
    about = _about(gallery, asked.where)
    if asked.json:
        print_json(about)
    else:
        _print(about)
    return 0


def _tell_duplicates(gallery: "Gallery", asked: GalleryConfig) -> None:
    from triune.plurals import plural
    from triune.serving.gallery.sheet import write_found
    from triune.serving.gallery.written import as_text

    assert asked.duplicates is not None
    found = gallery.near_duplicates(asked.duplicates, where=asked.where, progress=progress("compared"))
    if asked.json:
        print_json([each.to_dict() for each in found])
    elif found:
        print(as_text(found))
    rows, among = sum(1 + len(each.hits) for each in found), gallery.count
    which = ""
    if asked.where is not None:
        among, which = len(gallery.rows(asked.where)), f" that meet {asked.where!r}"
    told = (
        f"{rows:,} of {among:,} images{which} are in {plural(len(found), 'group')} within a distance of "
        f"{asked.duplicates}"
    )
    print(told, file=sys.stderr)
    if asked.html is not None:
        page = write_found(asked.html, "Near-duplicates", found, gallery, [f"in {gallery.name}: {told}"])
        print(f"written {page}", file=sys.stderr)


def _about(gallery: "Gallery", where: str | None) -> dict[str, Any]:
    from triune.errors import InputError

    rows, unlisted = gallery.rows(where), None
    try:
        versions = [
            {"version": each.number, "time": each.time.isoformat(timespec="seconds"), "images": each.count}
            for each in gallery.versions()
        ]
    except InputError as error:  # the place keeps none, or the record of a former one is damaged
        versions, unlisted = [], str(error)
    return {
        "gallery": gallery.name,
        "images": gallery.count,
        "matching": None if where is None else len(rows),
        "embedding": gallery.dim,
        "metric": gallery.metric,
        "made_by": gallery.card.source,
        "fingerprint": gallery.fingerprint,
        "version": gallery.version,
        "columns": {
            column.name: {
                "type": str(column.dtype),
                "values": column.drop_nulls().n_unique(),
                "empty": column.null_count(),
            }
            for column in rows.drop("row")
        },
        "versions": versions,
        "no_versions": unlisted,
    }


def _print(about: dict[str, Any]) -> None:
    which = "" if about["matching"] is None else f", {about['matching']:,} of which meet the condition"
    print(f"{about['gallery']}: {about['images']:,} images{which}; version {about['version']}")
    print(f"  embeddings of {about['embedding']}, {about['metric']}, by {about['made_by']}")
    width = max(map(len, about["columns"]))
    for name, said in about["columns"].items():
        empty = f", {said['empty']:,} empty" if said["empty"] else ""
        print(f"  {name.ljust(width)}  {said['type']}, {said['values']:,} values{empty}")
    former = about["versions"]
    if not former:
        print(f"  no versions to go back to: {about['no_versions']}")
    else:
        print(f"  {len(former)} versions to go back to, from {former[0]['version']} of {former[0]['time']}")
