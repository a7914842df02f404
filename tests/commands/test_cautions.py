from report.building import run_results
from triune.commands.cautions import tell_cautions
from triune.report.sections.cautions import cautions


def test_each_caution_of_the_page_is_a_line_on_standard_error(capsys):
    results = run_results()
    tell_cautions(results)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [f"caution: {sentence}" for sentence in cautions(results)]
    assert said.err
