"""Tables that any Markdown reader takes, whatever their cells hold."""

from pipeline.evaluation.markdown import markdown_table


def test_a_table_has_its_head_a_rule_and_a_line_a_row_and_bars_in_cells_are_escaped() -> None:
    table = markdown_table([("setting", ""), ("loss.push", "a|b"), ("train.init_from", "")])
    assert table == "| setting | |\n|---|---|\n| loss.push | a\\|b |\n| train.init_from | |"


def test_a_padded_table_is_aligned_to_the_right() -> None:
    table = markdown_table([("r", "AP"), ("-2", "0.466"), ("0", "")], padded=True)
    assert table == "|   r |    AP |\n|----:|------:|\n|  -2 | 0.466 |\n|   0 |       |"
