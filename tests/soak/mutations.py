"""Bytes that were once a sound file: bits flipped, cut short, spliced, lengths overwritten, words put in."""

import struct
from collections.abc import Sequence

from hypothesis import strategies as st

LENGTHS = (0, 1, 2, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
"""Numbers at which lengths overflow or memory ends."""

WORDS = (
    *(b"", b"\0", b"\n", b"\r", b"\r\n", b",", b";", b"\t", b'"', b"'", b"\\", b"\xef\xbb\xbf", b"\xff\xfe", b"\xff"),
    *(b"nan", b"inf", b"-inf", b"1e308", b"-1e308", b"1e999", b"-0", b"007", b"1" * 5000, b"None", b"NA", b"null"),
    *(b"[", b"]", b"{", b"}", b"[" * 2000, b'{"a":' * 2000, b"&a ", b"*a", b"!!python/object:os.system "),
    *(b"---\n", b"? "),
    *("é".encode(), "é".encode(), "\u2028".encode(), "\u00a0".encode(), "\u202e".encode()),
    *("٣".encode(), b"\xed\xa0\x80"),
    *(b"..", b"/", b"/dev/zero", b"~", b"%s", b"<script>", b"\x1b[2J", b"true", b"false", b"-1", b"0", b"1", b"65536"),
)
"""What readers trip over."""


@st.composite
def damaged(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """One of the seeds after one to eight changes."""
    content = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 8))):
        content = _CHANGES[draw(st.sampled_from(sorted(_CHANGES)))](draw, content, seeds)
        if len(content) > 1 << 20:
            del content[1 << 20 :]
    return bytes(content)


def _place(draw: st.DrawFn, content: bytearray) -> int:
    """Anywhere; every second time near the beginning or the end, where formats keep their lengths."""
    last = max(0, len(content) - 1)
    near = st.one_of(st.integers(0, min(64, last)), st.integers(max(0, last - 64), last))
    return draw(st.one_of(near, st.integers(0, last)))


def _flip(draw: st.DrawFn, content: bytearray, seeds: Sequence[bytes]) -> bytearray:
    if content:
        content[_place(draw, content)] ^= 1 << draw(st.integers(0, 7))
    return content


def _overwrite(draw: st.DrawFn, content: bytearray, seeds: Sequence[bytes]) -> bytearray:
    place = _place(draw, content)
    form = draw(st.sampled_from(["<B", "<H", "<I", "<Q", ">H", ">I", ">Q"]))
    number = draw(st.one_of(st.sampled_from(LENGTHS), st.integers(0, 2**64 - 1)))
    data = struct.pack(form, number % (1 << 8 * struct.calcsize(form)))
    content[place : place + len(data)] = data
    return content


def _cut(draw: st.DrawFn, content: bytearray, seeds: Sequence[bytes]) -> bytearray:
    return content[: _place(draw, content)]


def _cut_out(draw: st.DrawFn, content: bytearray, seeds: Sequence[bytes]) -> bytearray:
    place = _place(draw, content)
    del content[place : place + draw(st.integers(1, 200))]
    return content


def _repeat(draw: st.DrawFn, content: bytearray, seeds: Sequence[bytes]) -> bytearray:
    place = _place(draw, content)
    part = content[place : place + draw(st.integers(1, 200))]
    content[place:place] = part * draw(st.sampled_from([1, 2, 10, 300]))
    return content


def _put_in(draw: st.DrawFn, content: bytearray, seeds: Sequence[bytes]) -> bytearray:
    place = _place(draw, content)
    content[place:place] = draw(st.one_of(st.sampled_from(WORDS), st.binary(max_size=20)))
    return content


def _put_for(draw: st.DrawFn, content: bytearray, seeds: Sequence[bytes]) -> bytearray:
    """A word in place of what stands between two marks."""
    marks = [0, *(place for place, byte in enumerate(content[:5000]) if byte in b",;\t\n\r:[]{}\"' "), len(content)]
    which = draw(st.integers(0, len(marks) - 2))
    content[marks[which] + 1 : marks[which + 1]] = draw(st.sampled_from(WORDS))
    return content


def _splice(draw: st.DrawFn, content: bytearray, seeds: Sequence[bytes]) -> bytearray:
    other = bytearray(draw(st.sampled_from(seeds)))
    return content[: _place(draw, content)] + other[_place(draw, other) :]


_CHANGES = {
    "cut": _cut,
    "cut out": _cut_out,
    "flip": _flip,
    "overwrite": _overwrite,
    "put for": _put_for,
    "put in": _put_in,
    "repeat": _repeat,
    "splice": _splice,
}


def texts(seeds: Sequence[bytes], marks: str) -> st.SearchStrategy[bytes]:
    """Damaged seeds, text of the format's marks and words, any text and any bytes.

    Args:
        seeds: sound files.
        marks: the characters that mean something to the format.
    """
    mark = st.sampled_from([*marks]).map(str.encode)
    pieces = st.one_of(mark, st.sampled_from(WORDS), st.text(max_size=8).map(_coded))
    made = st.lists(pieces, max_size=60).map(b"".join)
    return st.one_of(damaged(seeds), damaged(seeds), made, st.text(max_size=200).map(_coded), st.binary(max_size=200))


def _coded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
