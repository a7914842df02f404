"""The sheet of what was found shows queries and hits, also those whose files are gone."""

import os

from triune.serving.gallery.gallery import Gallery
from triune.serving.gallery.sheet import write_found


def test_hits_whose_files_are_gone_are_shown_by_the_gallery_s_own_pictures(tmp_path, table, run):
    gallery = Gallery.create(tmp_path / "G", run, table)
    query = str(table.parent / "dog/01.png")
    found = gallery.search(query, k=3)
    for hit in found[0].hits[1:]:
        os.remove(hit.image)
    page = write_found(tmp_path / "found.html", "Most <alike>", found, gallery).read_text()
    assert page.count("data:image/jpeg;base64,") == 4
    assert "Most &lt;alike&gt;" in page
    assert f"{found[0].hits[1].score:.3f}" in page
