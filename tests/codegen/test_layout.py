# SPDX-License-Identifier: Apache-2.0
"""Indentation, blank lines and continued lines of C."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from plinio_deploy.codegen.layout import LITERAL, WIDTH, columns, pieces, tidy


def test_braces_indent_and_blank_lines_vanish_inside_them() -> None:
    text = (
        "int f(void)\n{\n\n      if (x) {\ng();\n\n}\nswitch (y) {\ncase 1:\nbreak;\ndefault:\nbreak;\n}\nreturn 0;\n}"
    )
    assert tidy(text + "\n\n\n\nint z;\n\n").splitlines() == [
        "int f(void)",
        "{",
        "    if (x) {",
        "        g();",
        "    }",
        "    switch (y) {",
        "        case 1:",
        "            break;",
        "        default:",
        "            break;",
        "    }",
        "    return 0;",
        "}",
        "",
        "int z;",
    ]


def test_comments_and_strings_do_not_count_as_braces() -> None:
    text = 'void f(void)\n{\n/* a { comment\n* goes on {\n*/\ng("}{"); /* } */\n}\n'
    assert tidy(text) == 'void f(void)\n{\n    /* a { comment\n     * goes on {\n     */\n    g("}{"); /* } */\n}\n'


def test_preprocessor_lines_stay_at_the_margin_and_extern_c_does_not_indent() -> None:
    text = '#ifdef __cplusplus\nextern "C" {\n#endif\nint f(void);\n#ifdef __cplusplus\n}\n#endif\n'
    assert tidy(text) == text


def test_long_statements_continue_one_step_further_in_where_few_parentheses_are_open() -> None:
    call = f"x = function({'a' * 40}, {'b' * 40}) + other({'c' * 30});"
    lines = tidy(f"void f(void)\n{{\n{call}\n}}\n").splitlines()
    assert lines[2] == f"    x = function({'a' * 40}, {'b' * 40})"
    assert lines[3] == f"        + other({'c' * 30});"


def test_strings_are_not_broken() -> None:
    name = "a_name_that_a_module_deep_in_a_model_may_have_" * 2
    directive = f'".size {name}, . - {name}\\n"'
    assert f"\n    {directive}\n" in tidy(f"__asm__(\n{directive}\n);")
    call = tidy(f'f("a, b", "{"c, " * 40}", d, e, f);')
    assert f'"{"c, " * 40}"' in call
    assert call.count("\n") > 1


@given(st.lists(st.sampled_from(["if (a) {", "}", "x = 1;", "", "/* c */", "f(a,", "b);"]), max_size=30))
def test_tidying_twice_changes_nothing_more_and_keeps_every_token(lines: list[str]) -> None:
    once = tidy("\n".join(lines))
    assert tidy(once) == once
    assert once.split() == " ".join(lines).split()


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=100))
def test_columns_hold_all_values_within_the_width(values: list[int]) -> None:
    text = columns(tuple(values))
    assert all(len(line) <= WIDTH for line in text.splitlines())
    assert [eval(item) for item in text.split(",")] == values  # noqa: S307 - numbers, one of them an expression


@given(st.lists(st.tuples(st.integers(0, 80), st.booleans()), max_size=120))
def test_assembly_is_cut_where_nothing_is_repeated(blocks: list[tuple[int, bool]]) -> None:
    lines: list[str] = []
    for length, repeated in blocks:
        lines += [".rept 3", "x" * length, ".endr"] if repeated else ["y" * length]
    found = pieces(lines)
    assert [line for piece in found for line in piece] == lines
    for piece in found:
        assert piece.count(".endr") == sum(line.startswith(".rept") for line in piece)
        assert sum(len(line) + 1 for line in piece) <= LITERAL + 100
