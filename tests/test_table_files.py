"""Lookup tables that an editor or a spreadsheet rewrote: read right, or refused in one sentence."""

import csv
import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netadapt.errors import TableError
from netadapt.network import LayerShape
from netadapt.platforms.measurement import DeviceInfo
from netadapt.tables.lookup import LookupTable
from netadapt.tables.rows import Entry, columns

INFO = DeviceInfo("ort:cpu", 'A, B "C"', "x86_64", "onnxruntime 1.20", 1, "all", 8, "NCHWc")
LAYERS = {
    LayerShape("conv", 16, 32, (8, 8), (8, 8), (3, 3), act="a,b"): Entry(1e-5, 2e-5, 3e-5, 12),
    LayerShape("linear", 32, 10, inputs=(16, 16)): Entry(4e-5, 5e-5, 6e-5, 12),
}
TABLE = LookupTable(INFO, LAYERS, warnings=("Hot, cool it.", 'Say "no", then stop.'))


@pytest.fixture
def path(tmp_path) -> Path:
    TABLE.save(tmp_path / "t.csv")
    return tmp_path / "t.csv"


def split(text: str) -> tuple[list[str], list[list[str]]]:
    lines = text.splitlines()
    body = [line for line in lines if not line.startswith("#")]
    return [line for line in lines if line.startswith("#")], list(csv.reader(body))


def joined(comments: list[str], rows: list[list[str]], **options: object) -> str:
    out = io.StringIO()
    csv.writer(out, **options).writerows(rows)  # type: ignore[arg-type]
    return "\n".join(comments) + "\n" + out.getvalue()


def by_spreadsheet(text: str, *, quoting: int = csv.QUOTE_MINIMAL) -> str:
    """Every line is cells, all as many as the widest has, and comments with commas are split."""
    comments, rows = split(text)
    cells = [line.split(",") for line in comments] + rows
    width = max(map(len, cells))
    out = io.StringIO()
    csv.writer(out, quoting=quoting).writerows(  # type: ignore[arg-type]
        [*row, *[""] * (width - len(row))] for row in cells
    )
    return out.getvalue()


def test_a_byte_order_mark_is_no_part_of_the_table(path):
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert LookupTable.load(path) == TABLE


@pytest.mark.parametrize("end", [b"\r\n", b"\r", b"\n\n", b"\n,,,\n"])
def test_line_ends_of_any_system_and_blank_lines_are_read(path, end):
    path.write_bytes(path.read_bytes().replace(b"\n", end) + b"\n  \n\n")
    assert LookupTable.load(path) == TABLE


def test_cells_may_be_quoted(path):
    comments, rows = split(path.read_text())
    path.write_text(joined(comments, rows, quoting=csv.QUOTE_ALL))
    assert LookupTable.load(path) == TABLE


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_what_a_spreadsheet_wrote_is_read(path, mark):
    path.write_bytes(mark + by_spreadsheet(path.read_text()).encode())
    found = LookupTable.load(path)
    assert found.entries == TABLE.entries
    assert found.warnings[0] == TABLE.warnings[0]


@given(st.permutations(range(len(columns()))))
def test_columns_may_stand_in_any_order(tmp_path_factory, order):
    path = tmp_path_factory.mktemp("order") / "t.csv"
    TABLE.save(path)
    comments, rows = split(path.read_text())
    path.write_text(joined(comments, [[row[i] for i in order] + ["more"] for row in rows]))
    assert LookupTable.load(path).entries == LAYERS


def test_the_later_of_two_rows_counts_as_a_build_appends(path):
    last = path.read_text().splitlines()[-1]
    path.write_text(path.read_text() + last.replace("6e-05,12", "7e-05,99") + "\n")
    assert list(LookupTable.load(path).entries.values())[1] == Entry(4e-5, 5e-5, 7e-5, 99)


def changed(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (",p90,", ",median,", "has the column median twice"),
        (",p90,", ",", "lacks p90; it was cut or edited"),
        ("4e-05,", "nan,", "row 2: times that are not finite"),
        ("6e-05,12", "6e-05,0", "row 2: times that are not finite, or of no run"),
        ("4e-05,", "4e-05,1,", "row 2: more cells than columns"),
        ("linear,32", "linear,many", "row 2: .*many"),
        ("linear,32", '"linear,32', "no CSV file"),
        ("linear", "x" * 200_000, "no CSV file: field larger"),
    ],
)
def test_damage_is_told_with_its_row(path, old, new, says):
    changed(path, old, new)
    with pytest.raises(TableError, match=says):
        LookupTable.load(path)


def test_other_separators_are_told(path):
    comments, rows = split(path.read_text())
    path.write_text(joined(comments, rows, delimiter=";"))
    with pytest.raises(TableError, match=r"lacks op.*Cells are separated by commas\."):
        LookupTable.load(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "it is empty"),
        ("# netadapt-table: 2\n".encode("utf-16"), "not text in UTF-8"),
        (b"# netadapt-table: 2\n# device: \xb5\n", "not text in UTF-8"),
        (b"\x00\x01\x02\n", "first line"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ],
)
def test_files_that_are_no_tables_are_told_for_what_they_are(path, content, says):
    path.write_bytes(content)
    with pytest.raises(TableError, match=says):
        LookupTable.load(path)


def test_folders_and_pipes_do_not_hang(tmp_path):
    with pytest.raises(TableError, match="a folder"):
        LookupTable.load(tmp_path)
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(TableError, match="no regular file"):
        LookupTable.load(tmp_path / "pipe.csv")
