"""Export a trained run: its model as an ONNX file for any runtime, or its embeddings as parquet."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from fuxictr_qnn.cli.options import add_data_options
from fuxictr_qnn.cli.tables import plain_console
from fuxictr_qnn.runs.saved import OUT, SavedRun
from fuxictr_qnn.serving.export_request import open_for_export

HELP = "write a trained model as ONNX, or its embeddings"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `fuxictr export`."""
    parser.add_argument(
        "--run",
        required=True,
        metavar="RUN",
        help="a run folder, or an expid: its newest complete run that kept its weights",
    )
    parser.add_argument(
        "--to", type=Path, metavar="FILE.onnx", help="the model; what a client has to know goes to FILE.json"
    )
    parser.add_argument(
        "--embeddings",
        type=Path,
        metavar="DIR",
        help="token -> vector of each feature, DIR/<feature>.parquet",
    )
    parser.add_argument("--force", action="store_true", help="replace what is there")
    parser.add_argument(
        "--out", type=Path, default=OUT, metavar="DIR", help="where expids are looked for (default: ./runs)"
    )
    add_data_options(parser)
    parser.add_argument("--zoo", type=Path, metavar="DIR", help="the FuxiCTR checkout that the model is from")


def main(args: argparse.Namespace) -> int:
    """Check everything that can be checked without a model, then export."""
    run = open_for_export(args.run, args.out, args.to, args.embeddings, args.force)
    console = plain_console()
    for line in _export(run, args):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    return 0


def _export(run: SavedRun, args: argparse.Namespace) -> Iterator[str]:
    """Export, and tell of it."""
    from fuxictr_qnn.data.places import Places

    if args.to is not None:
        from fuxictr_qnn.serving.export import export_onnx

        done = export_onnx(run, args.to, Places(args.data_root, args.build_dir), args.zoo)
        yield (
            f"{run.name}: checked with onnxruntime on {done.rows:,} rows ({done.origin}), largest difference "
            f"{done.difference:.1e}"
        )
        yield from (f"note: {note}" for note in done.notes)
        yield from (f"wrote {file} ({file.stat().st_size / 1e3:,.0f} kB)" for file in done.files)
    if args.embeddings is not None:
        from fuxictr_qnn.serving.embeddings import export_embeddings

        for table in export_embeddings(run, args.embeddings, args.zoo):
            widths = ", ".join(f"{name} {width}" for name, width in table.widths.items())
            yield f"{table.feature}: {table.rows:,} ids; {widths}"
        yield f"wrote {args.embeddings}"
