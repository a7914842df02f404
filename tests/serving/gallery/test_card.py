"""What a gallery stores of the run that made it."""

from pathlib import Path

from serving.gallery.conftest import ColourRun
from triune.serving.gallery.card import card_of


def test_the_card_says_which_network_it_was_and_where_it_lay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    card = card_of(ColourRun(name="run", dim=7))
    assert (card.source, card.fingerprint, card.metric, card.dim) == (str(tmp_path / "run"), "f1", "cosine", 7)
    public = card_of(ColourRun(name="timm:vit_tiny", weights=Path("w.safetensors")))
    assert (public.source, public.weights) == ("timm:vit_tiny", str(tmp_path / "w.safetensors"))
