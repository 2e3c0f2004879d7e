"""The page docs/fidelity.md and what is shown on a terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from benchmarks.fidelity.case import Case
from benchmarks.fidelity.cases import CASES, GROUPS
from benchmarks.fidelity.damage import TRIES
from benchmarks.fidelity.outcome import Outcome
from benchmarks.fidelity.results import MARKS, Results
from benchmarks.fidelity.subjects import SUBJECTS

__all__ = ["TITLES", "page", "show"]

TITLES = {
    "statetree": "statetree",
    "torch.save": "torch.save",
    "dcp": "torch DCP",
    "orbax": "Orbax",
    "flax": "flax msgpack",
    "safetensors": "safetensors",
    "npz": "npz",
    "h5py": "h5py",
    "zarr": "zarr",
}
COLUMNS = ("same", "changed", "refused", "unreadable")
FACTS = {"flip": "a flipped bit", "kill": "killed in mid-save"}

TOP = """\
# Fidelity, measured

`make fidelity` saves {cases} awkward values with statetree and with eight others, loads them, compares every bit and
writes this page. Nothing in the tables is typed by hand.

{summary}

- *same*: every bit, kind and key, and which arrays are one. *changed*: another value came back, without a word.
  *refused*: an error while saving. *unreadable*: saved, and an error only when loading.
- *a flipped bit*: one bit flipped in the stored bytes of random weights, {tries} times in each container, and loaded as
  always.
- *killed in mid-save*: `kill -9` while new weights are saved over old ones, at {tries} moments after the first change
  on disk, in each container.
{statetree}
- Pickles take what statetree refuses, such as a set or an array of objects. With `weights_only=True` they make only
  what is listed beforehand, and the classes have to be there still.
"""
BOTTOM = """\
## How each is used

{uses}

For those that know NumPy only, tensors go through `.numpy()` and `torch.from_numpy`; arrays of JAX through
`numpy.asarray` by the text of their path in the pytree, keys of random numbers through `jax.random.key_data`; dicts in
dicts are joined with `/` by `flax.traverse_util`. A target or a fresh object has the same containers, dtypes and shapes
with other values. DCP, Orbax and flax take containers and keys from it: of these their columns say only that the file
agrees with the target.

What does not count: order of keys but in the row about it; byte order, memory order, OrderedDict against dict; and
containers that stand at two places, which are two after loading for all but pickles.

{versions}.
"""
LONGEST = 70
LEGEND = "`=` same, `≠` changed without a word, `×` refused to save, `⊗` saved, then refused to load"


def page(results: Results) -> str:
    """Return docs/fidelity.md."""
    uses = "\n".join(f"- {TITLES[name]}: {SUBJECTS[name].use}." for name in results.outcomes)
    return "\n".join(
        [
            TOP.format(cases=len(CASES), summary=_summary(results), tries=TRIES, statetree=_statetree(results)),
            f"## The cases\n\n{LEGEND}. On the right some of what was seen.\n",
            *(_group(name, cases, results) + "\n" for name, cases in GROUPS.items()),
            BOTTOM.format(uses=uses, versions=results.versions()),
        ]
    )


def _statetree(results: Results) -> str:
    """Return what statetree refuses and what it changes, in sentences."""
    found = results.outcomes["statetree"]
    refused = [one for one in found.values() if one.mark == "unsaved"]
    clean = sum(one.stored == 0 and one.path is not None for one in refused)
    lines = [f"- statetree refused {len(refused)} values, {clean} of them before a byte was written and with the path."]
    changed = [name for name, one in found.items() if one.mark == "changed"]
    if changed:
        known = "*; *".join(changed)
        told = "`state` leaves settings out, and tells their paths with `report=`"
        lines.append(f"- Known: statetree too changes *{known}*: {told}.")
    return "\n".join(lines)


def _cells(name: str, results: Results) -> list[str]:
    counts = results.counts(name)
    marks = [str(counts[mark]) for mark in MARKS]
    return [*marks, *(_happened(results.damage[fact].get(name, {})) for fact in results.damage)]


def _happened(times: dict[str, int]) -> str:
    """Return what happened how often, all of it if there is one thing only."""
    if len(times) == 1:
        return next(iter(times))
    return ", ".join(f"{what} {count}" for what, count in sorted(times.items(), key=lambda item: -item[1]))


def _rows(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [" | ".join(columns), " | ".join(["---"] * len(columns)), *(" | ".join(row) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines)


def _summary(results: Results) -> str:
    columns = ["", *COLUMNS, *(FACTS[fact] for fact in results.damage)]
    return _rows(columns, [[TITLES[name], *_cells(name, results)] for name in results.outcomes])


def _group(title: str, cases: Sequence[Case], results: Results) -> str:
    def marks(case: Case) -> list[str]:
        return [MARKS[results.outcomes[name][case.name].mark] for name in results.outcomes]

    columns = [f"**{title}**", *(TITLES[name] for name in results.outcomes), "seen"]
    rows = [[case.name, *marks(case), _seen(case, results)] for case in cases]
    return _rows(columns, rows)


def _seen(case: Case, results: Results) -> str:
    told = [(name, _words(case, results.outcomes[name][case.name])) for name in case.tell if name in results.outcomes]
    return "; ".join(f"{TITLES[name]}: {words}" for name, words in told if words).replace("|", "\\|")


def _words(case: Case, one: Outcome) -> str:
    if case.needed and one.stored > 10 * case.needed + (64 << 10):
        return f"{one.stored / 1e6:.1f} MB for {case.needed} bytes"
    return one.how if len(one.how) <= LONGEST else f"{one.how[: LONGEST - 1]}…"


def show(results: Results, out: Console, *, words: bool) -> None:
    """Print the summary and the table, with `words` how each changed or was refused."""
    summary = Table(title=f"{len(CASES)} cases")
    for column in ["", *COLUMNS, *(FACTS[fact] for fact in results.damage)]:
        summary.add_column(column)
    for name in results.outcomes:
        summary.add_row(TITLES[name], *_cells(name, results))
    table = Table()
    for column in ("", *(TITLES[name] for name in results.outcomes)):
        table.add_column(column, no_wrap=not column)
    for title, cases in GROUPS.items():
        table.add_row(f"[bold]{title}")
        for case in cases:
            table.add_row(case.name, *(MARKS[one[case.name].mark] for one in results.outcomes.values()))
        table.add_section()
    out.print(summary, table, LEGEND.replace("`", ""))
    if words:
        for name, found in results.outcomes.items():
            lines = [f"{TITLES[name]}, {row}: {one.mark}, {one.how}" for row, one in found.items() if one.how]
            out.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)
