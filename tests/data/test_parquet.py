"""Parquet files: what is whole comes out, and what is damaged is one line, also where the compiled reader panics."""

import base64
import errno
import os
import subprocess
import sys
import zlib

import polars as pl
import pytest

from triune.data.parquet import read_frame
from triune.errors import InputError

PANICS = (  # a file in which a length was overwritten: found by fuzzing
    b"c-oaxPfOfD6n`0)bq{+`@P!QI5F~~bt!8I8W>*k8D{EJjHU>)VF>4Z6h#T2Nt-Z9@UOn^^^aDtt9>q`KtseX?f-^%)>(O_3|9*cS"
    b"3={CMi4`2+)-Ki&02;qmA1(Vgz*i!s(rvO<TXkNgLSEl$-^nxr&SQHSZFI4URdWp*r1T6@x_|Yv-vFe@)~2T6a`3SA^A!NrsRz{="
    b"YShZ)_#}(U1nau3-)Q=s=8T-$GaoujsO)6&5U4Izrar>4XaEUa9#kfIULp~;3*?{W0_>WCq1)7?rgKfq7hTow3C`(P1RanJ+o=iG"
    b"oIGvRc^JO?uwERDlH<tup{>ej^|=U@I%i`3wD)ILs~ye@zNzXSUkU_%elGXhoFD$rQ^}Y3g~Ap1hAZejm*U<w@2T3Cej*f)^Wd`("
    b"b@~!g`$3ou_j|?1{V?NvV*`x0L7qjE!fKpcl%ssSXq_dK;wT?mY^Ay4T8-i9Q5IW%+I875Zl!6={50*bxY=fYCvv+H>w0O*Qa?)K"
    b"E?cCgeB3V@Kp_6j6U07%c>"
)

ABORTS = (  # a count of values that is negative: its reader asks for 2 EiB and aborts; found by fuzzing
    b"c-oax&r8EF7)`^N1A9>L3k~$p!&W*SvyIMnf`?4T91iUUDm!-V>IS;Xrp|d3{}4|ey!(%N7fhl9J^CHq_v5{nFNB1==Rpn(*zAae5OUt"
    b"PKP^2%2#Y3m6?%YxfK!1ItU(^~<{olz>=`(AmyXr`x1*?OD{pTYbXr6CHEQJJ=z2JfKqp1=q>)$6?%0Jte!7mStR#p<l!%c@Ixr9g0!%"
    b"AMxoMW&0!E;h@bbVC>X?EjMQT#h{?N>SY$W1-8{`>-jijPz7ldj<t~GSt>z!Wg&*IVWIx=3gZ5b@!BAOC{d(l61e|j}K=6uEvRqpbwQ1"
    b"J7)oVPi@{H;^qOManvMYg!2&bTx;+PtB1Q=TV6={OG`g(+w%O1fGnqrt`bqTl5Q$T$hJt7tm2oSVh%D4Ue6`{8sp&L$SCdR5nQ26yAD#"
    b"PZX+%Ld6#nkLLo(|{%3F7t!Ptw*e0OH-Em(J-mAGBxG1&NYNW@iV>vIRkV>"
)


def test_a_whole_file_is_read_as_it_is(tmp_path):
    frame = pl.DataFrame({"a": [1, None], "b": ["x", "y"]})
    frame.write_parquet(tmp_path / "t[1].parquet")
    assert read_frame(tmp_path / "t[1].parquet").equals(frame)


def test_a_panic_of_the_reader_is_one_line_and_says_nothing_else(tmp_path, capfd):
    path = tmp_path / "t.parquet"
    path.write_bytes(zlib.decompress(base64.b85decode(PANICS)))
    with pytest.raises(InputError, match=r"t\.parquet cannot be read as a table") as refused:
        read_frame(path)
    assert "\n" not in str(refused.value)
    assert capfd.readouterr().err == ""


def test_a_file_that_ends_the_process_that_reads_it_is_one_line(tmp_path, capfd):
    path = tmp_path / "t.parquet"
    path.write_bytes(zlib.decompress(base64.b85decode(ABORTS)))
    with pytest.raises(InputError, match=r"t\.parquet cannot be read as a table .*SIGABRT.* it is damaged") as refused:
        read_frame(path)
    assert "\n" not in str(refused.value)
    assert capfd.readouterr() == ("", "")


def test_a_file_that_is_vouched_for_is_read_once_and_any_file_where_no_process_can_be_started(tmp_path, monkeypatch):
    def refuses(*_, **__):
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    frame = pl.DataFrame({"a": [1, 2]})
    frame.write_parquet(tmp_path / "t.parquet")
    monkeypatch.setattr(subprocess, "run", refuses)
    assert read_frame(tmp_path / "t.parquet").equals(frame)
    monkeypatch.setattr(subprocess, "run", None)
    assert read_frame(tmp_path / "t.parquet", vouched=True).equals(frame)
    monkeypatch.setattr(sys, "executable", None)  # Python within another program
    assert read_frame(tmp_path / "t.parquet").equals(frame)


def test_no_module_of_the_working_folder_reads_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "polars.py").write_text("import pathlib; pathlib.Path('made').touch()")
    pl.DataFrame({"a": [1]}).write_parquet("t.parquet")
    assert len(read_frame("t.parquet")) == 1
    assert not (tmp_path / "made").exists()


def test_what_others_write_to_the_error_stream_meanwhile_is_shown(tmp_path, capfd, monkeypatch):
    def read(*_, **__):
        os.write(2, b"from another thread\n")
        return pl.DataFrame()

    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "t.parquet")
    monkeypatch.setattr(pl, "read_parquet", read)
    read_frame(tmp_path / "t.parquet")
    assert capfd.readouterr().err == "from another thread\n"


@pytest.mark.parametrize("content", [b"", b"PAR1", b"a,b\n1,2\n", b"PAR1" + bytes(100) + b"PAR1"])
def test_what_is_no_parquet_is_named(tmp_path, content):
    path = tmp_path / "t.parquet"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"t\.parquet cannot be read as a table") as refused:
        read_frame(path)
    assert "\n" not in str(refused.value)
    with pytest.raises(InputError, match="does not exist"):
        read_frame(tmp_path / "none.parquet")
