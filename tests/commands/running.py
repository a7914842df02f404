"""A command run in this process, as the tests of galleries ask it."""

from triune.cli import main


def ran(capsys, *arguments):
    """Exit code, standard output and standard error."""
    capsys.readouterr()
    code = main([str(each) for each in arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def refused(capsys, *arguments):
    """The one line of a command that ends with bad input."""
    code, out, err = ran(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    return err
