"""Preprocessed rows on disk: what is written comes back, block by block."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from fuxictr_qnn.data import ColumnSpec
from fuxictr_qnn.data.building.rows import Coded, Rows, RowsFile

TEXTS = st.lists(st.none() | st.text(max_size=3), min_size=1, max_size=20)


@settings(deadline=None, max_examples=50)
@given(TEXTS, st.data())
def test_a_coded_column_is_the_column(texts, data):
    series = pl.Series(texts, dtype=pl.String)
    coded = Coded.of(series)
    assert coded.values.gather(coded.codes).to_list() == texts
    assert coded.values.n_unique() == len(coded.values)
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(texts), max_size=len(texts))))
    kept = [text for text, keep in zip(texts, mask, strict=True) if keep]
    assert [kept.count(value) for value in coded.values] == coded.counts(mask).tolist()


def test_blocks_come_back_as_they_were(tmp_path):
    columns = [
        ColumnSpec(name="text"),
        ColumnSpec(name="number", dtype="int"),
        ColumnSpec(name="price", dtype="float", type="numeric"),
        ColumnSpec(name="vector", type="embedding", pretrain_dim=2),
    ]
    frames = [
        pl.DataFrame(
            {
                "text": [f"{block}a", None, f"{block}a", "b"],
                "number": [block, 2, None, 2],
                "price": [0.5, -1.0, 2.0, 1e300],
                "vector": [[1.0, 2.0]] * 4,
                "label": [0, 1, 0, 1],
            }
        )
        for block in range(3)
    ]
    file = RowsFile(tmp_path / "train.rows")
    with file.writing() as write:
        for frame in frames:
            write(Rows.of(frame, columns))
    for frame, rows in zip(frames, file.read(), strict=True):
        assert set(rows.coded) == {"text", "number"}
        for name, column in rows.coded.items():
            assert column.values.gather(column.codes).to_list() == frame[name].to_list()
        assert rows.plain.to_dict(as_series=False) == frame.drop("text", "number").to_dict(as_series=False)
    assert not list(tmp_path.iterdir())
