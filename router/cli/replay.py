"""`clearbar replay`: a trained plan over recorded outcomes."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--artifact", required=True, type=click.Path(path_type=Path), help="Directory written by clearbar train.")
@click.option("--outcomes", required=True, type=click.Path(path_type=Path), help="Outcome table; quality is not read.")
@click.option("--points", required=True, type=click.IntRange(1, 10_000), help="Operating points, cheapest to best.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Parquet file for the decisions.")
@click.option("--strategy", type=click.Choice(["single", "cascade"]), default="cascade", show_default=True)
def replay(artifact: Path, outcomes: Path, points: int, out: Path, strategy: str) -> None:
    """Decide every recorded query at every operating point, and write who was called and who answered."""
    from pyarrow import parquet

    from router.outcomes import read_outcomes
    from router.predict import Predictor
    from router.replay import replay as run

    predictor = Predictor.load(artifact)
    table = run(predictor, read_outcomes(outcomes, needs_quality=False), points, strategy)  # type: ignore[arg-type]
    try:
        parquet.write_table(table, out, compression="zstd")
    except OSError as error:
        raise click.ClickException(f"{out}: cannot be written ({error.strerror})") from None
    click.echo(f"{out}: {table.num_rows:,} decisions, {points} points", err=True)
