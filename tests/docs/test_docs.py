"""The documents tell the truth: their commands are run, and what they say is printed is what is printed.

`python -m tests.docs.console --rewrite docs/first-experiment.md docs/compare-orderings.md` puts into them what has
become of it.
"""

import re
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.docs import console
from tests.docs.console import Command, File, fits, results, rewritten, steps, untrue

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
CELL_S = 300

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The folder that is left by the first experiment, and what its document says wrongly."""
    folder = tmp_path_factory.mktemp("first")
    return folder, untrue((DOCS / "first-experiment.md").read_text(), folder, DOCS)


def test_the_first_experiment(first):
    _, complaints = first
    assert complaints == [], "\n\n".join(complaints)


def test_comparing_orderings(tmp_path):
    complaints = untrue((DOCS / "compare-orderings.md").read_text(), tmp_path, DOCS)
    assert complaints == [], "\n\n".join(complaints)


def test_the_notebook(first, monkeypatch):
    """It runs to its end on what the first experiment left, and comes to the same."""
    folder, _ = first
    (folder / "docs").mkdir()
    shutil.copy(DOCS / "first-experiment.ipynb", folder / "docs")
    notebook = nbformat.read(folder / "docs" / "first-experiment.ipynb", as_version=4)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(folder / ".ipython"))
    resources = {"metadata": {"path": str(folder / "docs")}}
    NotebookClient(notebook, timeout=CELL_S, kernel_name="python3", resources=resources).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    printed = ["".join(map(_text, cell.outputs)) for cell in cells]
    assert re.search(r"us-east-1,eu-west-1,ap-northeast-1 .*unordered +59\.0", "".join(printed).replace("\n", " "))
    charts = [output.data["image/svg+xml"] for cell in cells for output in cell.outputs if _is_chart(output)]
    assert len(charts) == 2 and "latency at the others, ms" in charts[1]
    for title in ("unordered", "fifo", "lamport_all_ack"):
        assert all(title in chart for chart in charts)


def _is_chart(output):
    return "image/svg+xml" in output.get("data", {})


def _text(output):
    return output.get("text", "") or output.get("data", {}).get("text/plain", "")


def test_the_notebook_is_kept_without_what_it_printed():
    notebook = nbformat.read(DOCS / "first-experiment.ipynb", as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code and all(cell.outputs == [] and cell.execution_count is None for cell in code)


# The README's simulated commands


def test_what_the_readme_shows_of_the_simulator(tmp_path):
    """What it shows of the account and of nothing else, and that the others it names are played without a fault."""
    readme = (ROOT / "README.md").read_text()
    blocks = [content for kind, content in console.FENCE.findall(readme) if not kind]
    (at,) = [place for place, content in enumerate(blocks) if content.startswith("python -m experiments sim bank")]
    commands = [line.partition("#")[0].strip() for line in blocks[at].splitlines()]
    account, *others = results([Command(text, (), 0, 0) for text in commands], tmp_path)
    assert account.code == 0 and [other.code for other in others] == [0], others
    shown = blocks[at + 1].splitlines()
    assert fits(["...", *with_gaps(shown), "..."], account.lines), "\n".join(account.lines)


def with_gaps(lines):
    """An excerpt: what is left out stands in for any lines, and so does an empty line."""
    return ["..." if line.strip() in ("...", "") else line for line in lines]


def test_the_documents_that_the_readme_names_are_there():
    for page in (ROOT / "README.md", *DOCS.glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} names {target}"


# And this finds what is not true

DOCUMENT = """
Words, and `code`.

```sh
$ this is not run
```

```yaml
# a/plan.yml
name: plan
```

```console
$ cat a/plan.yml
# a/plan.yml
name: plan
$ printf 'one\\ntook 3.1 s\\nthree\\nfour  \\n' && \\
    false
one
took ... s
...
four
$ echo $?
1
```
"""


def test_steps_of_a_document():
    file, first, second, third = steps(DOCUMENT)
    assert file == File("a/plan.yml", "# a/plan.yml\nname: plan\n")
    assert (first.text, first.printed) == ("cat a/plan.yml", ("# a/plan.yml", "name: plan"))
    assert second.text.endswith("&& \\\n    false") and second.printed == ("one", "took ... s", "...", "four")
    assert (third.text, third.printed) == ("echo $?", ("1",))


def test_a_true_document_is_left_as_it_is(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    assert untrue(DOCUMENT, tmp_path / "one") == []
    assert rewritten(DOCUMENT, tmp_path / "two") == DOCUMENT


@pytest.mark.parametrize(
    ("true", "false"),
    [
        ("four\n$", "five\n$"),
        ("one\ntook", "one\nand took"),
        ("name: plan\n$", "name: plan\nand more\n$"),
        ("\n...\nfour\n", "\nfour\n"),
        ("echo $?\n1", "echo $?\n0"),
        ("echo $?\n1", "echo\n"),  # a command failed and nobody says so
    ],
)
def test_what_is_not_so_is_found(true, false, tmp_path):
    assert true in DOCUMENT
    assert len(untrue(DOCUMENT.replace(true, false), tmp_path)) >= 1


def test_a_picture_is_what_the_commands_draw(tmp_path):
    document = "```console\n$ mkdir -p new && printf drawn > new/a.svg\n```\n![words](new/a.svg)\n"
    folder = tmp_path / "folder"
    (tmp_path / "new").mkdir()
    for drawn, complaints in (("drawn", 0), ("drawn otherwise", 1)):
        (tmp_path / "new" / "a.svg").write_text(drawn)
        folder.mkdir()
        assert len(untrue(document, folder, tmp_path)) == complaints
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("true", "false"), [("four\n$", "five\n$"), ("name: plan\n$", "name: plans\n$"), ("$?\n1", "$?\n0\n0")]
)
def test_what_is_not_so_is_put_right(true, false, tmp_path):
    assert true in DOCUMENT
    assert rewritten(DOCUMENT.replace(true, false), tmp_path) == DOCUMENT
