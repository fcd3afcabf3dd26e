"""However a stream is cut into chunks, the same lines come out."""

from hypothesis import given
from hypothesis import strategies as st

from agentsessions.engine.lines import LineSplitter


@given(
    lines=st.lists(st.binary(min_size=1).filter(lambda line: b"\n" not in line)),
    cuts=st.lists(st.integers(min_value=1, max_value=9), min_size=1),
)
def test_lines_come_out_whole_whatever_the_chunks(lines: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    splitter, found, start, turn = LineSplitter(), [], 0, 0
    while start < len(stream):
        end = start + cuts[turn % len(cuts)]
        found += splitter.feed(stream[start:end])
        start, turn = end, turn + 1
    assert found == lines
    assert not splitter.has_rest


def test_a_line_longer_than_any_buffer_comes_out_whole() -> None:
    splitter, chunk = LineSplitter(), b"x" * 65_536
    for _ in range(64):
        assert splitter.feed(chunk) == []
    assert splitter.has_rest
    assert splitter.feed(b"\n{") == [chunk * 64]
    assert splitter.has_rest


def test_empty_lines_are_left_out() -> None:
    assert LineSplitter().feed(b"\n\na\n\nb\n") == [b"a", b"b"]
