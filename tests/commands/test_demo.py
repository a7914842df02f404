from triune.cli import main


def test_a_demo_shows_its_own_settings(capsys):
    assert main(["demo", "--epochs", "3", "--print_config"]) == 0
    shown = capsys.readouterr().out
    assert "epochs: 3\n" in shown
    assert "backbone: resnet10t\n" in shown
