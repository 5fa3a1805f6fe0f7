"""The line that says how far work is."""

import io

from pipeline.tracking.progress import Progress, duration, track


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_names_done_total_rate_and_time_left() -> None:
    progress = Progress(1000, "train a", done=500, file=io.StringIO())
    progress._begun -= 10  # as if 10 s had passed
    progress.advance(100, note="loss 0.1")
    line = progress.line()
    assert line.startswith("train a: 600/1,000 images, 10")
    assert "/s, 40s left, loss 0.1" in line


def test_without_a_terminal_lines_are_plain_and_few() -> None:
    out = io.StringIO()
    with Progress(100, "read", file=out) as progress:
        for _ in range(100):
            progress.advance()
    assert "\r" not in out.getvalue()
    assert out.getvalue().count("\n") == 1
    assert "100/100" in out.getvalue()


def test_on_a_terminal_one_line_is_written_over() -> None:
    out = Terminal()
    with Progress(2, "read", file=out) as progress:
        progress._shown -= 1
        progress.advance()
        progress.advance()
    assert out.getvalue().count("\n") == 1
    assert out.getvalue().count("\r") == 2


def test_work_of_unknown_length_tells_no_time_left() -> None:
    progress = Progress(None, "read", file=io.StringIO())
    progress._begun -= 10
    progress.advance(10)
    assert "left" not in progress.line()
    assert "10 images" in progress.line()


def test_track_passes_every_item_on() -> None:
    assert list(track([3, 1, 2], 3, "read")) == [3, 1, 2]


def test_durations_read_like_a_clock() -> None:
    assert [duration(s) for s in (4.6, 125, 7500, 100000)] == ["5s", "2m05s", "2h05m", "1d03h"]
