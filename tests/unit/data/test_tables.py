"""CSV files are read as pandas reads them where both take them; what pandas guesses at is refused with its line."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.data.tables import Row, csv_rows
from tracer.errors import UserError


def rows(folder, content, separator=None):
    path = folder / "pairs.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return csv_rows(path, ("file", "title"), separator)


def values(found):
    return [tuple(row.values.values()) for row in found]


@pytest.mark.parametrize("separator", [",", "\t", ";", "|"])
def test_separators_are_recognised(tmp_path, separator):
    content = f'id{separator}title{separator}file\n1{separator}"a, b; c | d\te"{separator}x.png\n'
    assert values(rows(tmp_path, content)) == [("x.png", "a, b; c | d\te")]


def test_a_separator_may_be_named(tmp_path):
    assert values(rows(tmp_path, "file^title\na.png^one\n", "^")) == [("a.png", "one")]


def test_lines_are_the_files_own(tmp_path):
    """Rows may span lines, and blank lines are none."""
    found = rows(tmp_path, '\nfile,title\n\na.png,"one\ntwo\r\nthree"\n\nb.png,four\n')
    assert found == [Row(4, {"file": "a.png", "title": "one\ntwo\r\nthree"}), Row(8, {"file": "b.png", "title": "four"})]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_at_three_marks_alone(tmp_path, end):
    title = "one\x0btwo\x0cthree\x1cfour\x85five\u2028six"
    assert values(rows(tmp_path, f"file,title{end}a.png,{title}{end}b.png,x{end}")) == [("a.png", title), ("b.png", "x")]


def test_quotes_inside_text_are_kept(tmp_path):
    content = 'file,title\na.png,a "big" cat\nb.png,"a ""big"" cat, asleep"\nc.png,""""\n'
    assert values(rows(tmp_path, content)) == [("a.png", 'a "big" cat'), ("b.png", 'a "big" cat, asleep'), ("c.png", '"')]


def test_other_columns_may_be_empty_and_nameless(tmp_path):
    assert values(rows(tmp_path, ",file,title,,\n0,a.png,one,,\n")) == [("a.png", "one")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"file,title\na.png,a cat, asleep\n", "line 2 has 3 fields, more than the header's 2, with commas between them"),
        (b"file;title\na.png;one\nb.png\n", "line 3 has 1 of the header's 2, with semicolons"),
        (b'file,title\na.png,"one\nb.png,two\nc.png,three\n', "line 2 opens a quote that is never closed"),
        (b'file,title\na.png,"one\nb.png,a "big" cat\n', "line 2 opens a quote that closes in line 3 in the middle of a field"),
        (b'file,title\na.png,"one" two\n', "line 2 opens a quote that closes in the middle"),
        (b'file,title\na.png,one\n\nb.png, "two"\n', "line 4 has a space between a separator and a quote"),
        (b'file,title\na.png,shelf of 5"\n', r"""line 2 has a stray quote in 'shelf of 5"'"""),
        (b'file,title\na.png,"one\ntwo"\nb.png,\n', "line 4 has nothing in column 'title'"),
        (b"file,title\n,one\n", "line 2 has nothing in column 'file'"),
        (b"file,title\na.png,%b\n" % (b"word " * 30_000), "line 2 has a field of more than 131072 characters"),
        (b"file,title,title\na.png,one,two\n", "several columns called 'title'"),
        (b"file,titel\na.png,one\n", "no column 'title' .did you mean 'titel'"),
        (b"file,title\r\na.png,one\r\nb.png,caf\xe9\r\n", "line 3 is not in UTF-8"),
        (b"file,title\na.png,o\0e\n", "line 2 holds a zero byte"),
        ("file,title\na.png,one\n".encode("utf-16"), "is in UTF-16"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_faults_are_told_with_their_line(tmp_path, content, message):
    with pytest.raises(UserError, match=rf"pairs\.csv.*{message}"):
        rows(tmp_path, content)


@given(
    table=st.lists(
        st.tuples(*[st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=8)] * 2), max_size=5
    ),
    separator=st.sampled_from(",\t;|"),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
)
def test_what_csv_writes_is_read_back(tmp_path_factory, table, separator, end, quoting):
    file = io.StringIO(newline="")
    table = [(f"a{one}", f"b{two}") for one, two in table]
    csv.writer(file, delimiter=separator, lineterminator=end, quoting=quoting).writerows([("file", "title"), *table])
    assert values(rows(tmp_path_factory.mktemp("csv"), file.getvalue())) == table
