"""`lockstep replay` and `lockstep sessions` on a small kind that learns by gradients, as the command line does them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from safetensors.numpy import load_file

import lockstep as ls
from lockstep.app.runs_admin import check_run, import_run, tag_run
from lockstep.app.timing import seconds_of_training
from lockstep.bootstrap import place
from lockstep.cli.main import run as command_line
from lockstep.core.errors import InputError, Interrupted, RefusedError, UnknownNameError
from lockstep.learning.gradients.record import SessionRecord
from lockstep.reports import gather
from lockstep.reports.headline import read_run
from lockstep.runs import registry
from lockstep.runs.cancel import Cancel
from lockstep.runs.folder import RunFolder
from lockstep.runs.results import TrainResult
from lockstep.testing import gradient_kind, toy_kind
from lockstep.testing.contracts.training_kind import StopAfter

SPEC: dict[str, Any] = {"kind": "toy-gradients", "epochs": 4}  # 12 steps: 40 samples in batches of 16


@pytest.fixture(autouse=True, scope="module")
def kind() -> Iterator[None]:
    registry.register("toy-gradients", gradient_kind.PATH)
    yield
    registry.unregister("toy-gradients")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one session, tagged `first`, recorded whole."""
    home = tmp_path_factory.mktemp("home")
    ls.train(SPEC, home=home, tag="first")
    return home


@pytest.fixture
def home(trained: Path, tmp_path: Path) -> Path:
    """A copy, to damage and to add to."""
    return Path(shutil.copytree(trained, tmp_path / "home"))


class Said:
    """What one command said."""

    def __init__(self, capsys: pytest.CaptureFixture[str], home: Path) -> None:
        self._capsys, self._home = capsys, home
        self.out = ""

    def __call__(self, *words: str, code: int = 0) -> str:
        self._capsys.readouterr()
        found = command_line([*words, "--home", str(self._home)])
        self.out, err = self._capsys.readouterr()
        assert found == code, self.out + err
        return self.out if code == 0 else self.out + err

    def json(self, *words: str, code: int = 0) -> Any:
        self(*words, "--json", code=code)
        return json.loads(self.out.splitlines()[-1])


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], home: Path) -> Said:
    return Said(capsys, home)


def folder_of(home: Path, run: str = "first") -> RunFolder:
    return place(home).store.find(run)


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_stored_gradients_give_the_final_weights_and_the_time_is_compared_with_training(said: Said) -> None:
    """R9.31: equal to the last bit, exit 0; every fifth state and the last are checked: steps 4, 9 and 11."""
    found = said.json("replay", "first", "--gradients", "--check-every", "5")
    assert (found["outcome"], found["steps"], found["checked"]) == ("equal", 12, 3)
    assert found["final_weights_compared"]
    assert found["training_seconds"] > 0.0
    text = said("replay", "first", "--gradients")
    assert "the final weights are equal to the last bit" in text
    assert "12 steps of stored gradients applied, 1 state checked" in text
    assert "training took" in text


def test_without_a_mode_gradients_are_taken_where_there_are_all_of_them_and_it_is_said(said: Said, home: Path) -> None:
    assert said("replay", "first").startswith("gradients: the record holds the gradient of every step\n")
    for level in ("norms", "none"):
        ls.train({**SPEC, "recording": {"level": level}}, home=home, tag=level)
        assert said("replay", level).startswith(f'recompute: the record holds too little to apply (level = "{level}"')
    refused = said("replay", "norms", "--gradients", code=1)
    assert "Recompute it instead" in refused


def test_computing_again_gives_every_line_of_the_journal(said: Said) -> None:
    """R9.51: same seed and inputs, the same session."""
    found = said.json("replay", "first", "--recompute")
    assert (found["outcome"], found["steps"], found["checked"]) == ("equal", 12, 12)
    assert "12 steps computed again, every line compared" in said("replay", "first", "--recompute")


def test_a_bit_that_flips_while_steps_are_computed_again_is_named_with_its_tensor(
    said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(gradient_kind.DRIFT, "weight:7")
    found = said.json("replay", "first", "--recompute", code=1)
    assert found["outcome"] == "not equal"
    assert found["difference"].startswith("step 7, gradients: trunk.0.weight differs (")


def test_a_range_begins_at_the_stored_state_before_it(said: Said) -> None:
    """Snapshots every 4 steps: steps 6 to 9 are applied from the one before step 4, and both ends are checked."""
    found = said.json("replay", "first", "--gradients", "--from", "6", "--to", "9")
    assert (found["first_step"], found["steps"], found["checked"]) == (4, 6, 2)
    assert found["outcome"] == "equal"
    assert not found["final_weights_compared"]
    assert found["notes"] == ["began at the state stored before step 4"]
    again = said.json("replay", "first", "--recompute", "--from", "6", "--to", "9")
    assert (again["first_step"], again["steps"]) == (0, 10), "the only checkpoint before step 6 is that of the start"
    assert "steps from 0 to 11" in said("replay", "first", "--from", "9", "--to", "12", code=2)
    assert "steps from 0 to 11" in said("replay", "first", "--from", "9", "--to", "3", code=2)


def test_gradients_kept_up_to_a_limit_are_replayed_up_to_there(said: Said, home: Path) -> None:
    """A session that falls to norms keeps the gradients before; the cure names the last of them."""
    recording = {"max_bytes": 30_000, "at_limit": "norms"}
    ls.train({**SPEC, "recording": recording}, home=home, tag="fell")
    levels = [SessionRecord(folder_of(home, "fell")).content(step)["scalars"]["level"] for step in range(12)]
    last = levels.index("norms") - 1
    assert 0 < last < 11
    assert said("replay", "fell").startswith('recompute: the record fell to level = "norms" at max_bytes')
    folder = folder_of(home, "fell")
    told = gather.page(folder, read_run(folder)).to_json()
    (kept,) = re.findall(r'"recorded": "([^"]*)"', json.dumps(told))
    assert "at max_bytes it fell to level norms" in kept
    refused = said("replay", "fell", "--gradients", code=1)
    assert f"(--to {last})" in refused
    assert said.json("replay", "fell", "--to", str(last))["mode"] == "gradients"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("flipped", r"gradients\.000000\.seg: the frame of step 11 does not match its digest .* It is not used"),
        ("cut", r"gradients\.000000\.seg: \d+ bytes, but \d+ were written\. Restore it from a copy"),
        ("swapped", r"not equal\s.*the state after step \d+, rebuilt from the record, does not have the digest"),
    ],
)
def test_damage_in_a_shard_is_found_by_a_replay(said: Said, home: Path, damage: str, message: str) -> None:
    """A flipped byte, a cut file, and the gradients of another run: none of them is ever used."""
    path = folder_of(home).segments / "gradients.000000.seg"
    if damage == "flipped":
        flip(path, -2000)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        other = ls.train({**SPEC, "seed": 7}, home=home)
        shutil.copy(other.folder / "segments" / path.name, path)
    text = said("replay", "first", "--gradients", code=1)
    assert re.search(message, text, re.DOTALL), text
    assert "Traceback" not in text


@pytest.mark.parametrize("at", [0, 9, -1])
def test_a_changed_or_missing_file_of_final_weights_is_damage_and_no_difference(
    said: Said, home: Path, at: int
) -> None:
    """Its length, its head, and a weight: the file is wrong, so nothing is said about the record."""
    path = folder_of(home).artifacts / "weights.safetensors"
    flip(path, at)
    assert "weights.safetensors: its bytes changed" in said("replay", "first", "--gradients", code=1)
    path.unlink()
    assert "weights.safetensors: missing" in said("replay", "first", "--gradients", code=1)


def test_a_session_again_is_a_run_that_verifies_without_the_old_one(said: Said, home: Path, tmp_path: Path) -> None:
    """R9.32: same batches, same seed, so the same weights; the old run can go, and an export takes all along."""
    old = folder_of(home)
    new = said.json("retrain", "first", "--tag", "again")
    assert new["status"] == "complete"
    assert new["summary"]["state"] == old.result()["state"]
    assert new["summary"]["session"]["replayed_from"] == old.read("manifest")["journal_hash"]
    record, first = SessionRecord(folder_of(home, "again")), SessionRecord(old)
    assert all(record.step(i).samples.tolist() == first.step(i).samples.tolist() for i in range(12))
    listed = {item["run_id"]: item for item in said.json("sessions", "list")["sessions"]}
    assert listed[new["run_id"]]["replayed_from"] == old.path.name, "here its id is known"
    said("runs", "rm", "first")
    prepared = folder_of(home, "again").read("data")
    assert len(prepared["snapshots"]) == 1
    said("runs", "export", "again", str(tmp_path / "again.lockstep"))
    elsewhere = tmp_path / "elsewhere"
    import_run(tmp_path / "again.lockstep", place(elsewhere).store)
    assert ls.replay(new["run_id"], mode="recompute", home=elsewhere).exit_code == 0
    assert ls.sessions(home=elsewhere).sessions[0].replayed_from == old.path.name


def test_only_the_most_valuable_steps_and_another_model(said: Said, home: Path) -> None:
    """R9.32, R9.33: three steps by value, through a network of half the width."""
    first = SessionRecord(folder_of(home))
    words = ("retrain", "best", "--top", "3", "--set", "network.hidden=4", "--tag", "small")
    assert said.json(*words)["summary"]["steps"] == 3
    small = SessionRecord(folder_of(home, "small"))
    assert [small.step(place).samples.tolist() for place in range(3)] == [
        first.step(step).samples.tolist() for step in first.by_value()[:3]
    ]
    shapes = {slot.name: slot.shape for slot in small.description.layout.slots}
    assert shapes["direction.weight"] == (3, 4)


def test_retraining_keeps_the_samples(said: Said) -> None:
    refused = said("retrain", "first", "--set", "data.samples=50", code=2)
    assert "so data.samples stays as it is (40); found 50" in refused
    assert "Train a run of its own" in refused


def test_a_stopped_retraining_goes_on(home: Path) -> None:
    """The new run is an ordinary one: interrupted after 5 steps and resumed it equals one that was not."""
    whole = ls.retrain("first", home=home)
    cancel = Cancel()
    with pytest.raises(Interrupted):
        ls.retrain("first", home=home, cancel=cancel, observers=[StopAfter(cancel, 5)])
    assert ls.resume("last", home=home).journal_hash == whole.journal_hash


def test_best_is_the_session_of_the_highest_value_unless_a_run_has_that_name(said: Said, home: Path) -> None:
    """R9.33."""
    ls.train({**SPEC, "epochs": 30}, home=home)
    listed = said.json("sessions", "list")["sessions"]
    assert listed[0]["value"] == max(item["value"] for item in listed)
    assert said.json("replay", "best", "--gradients")["run_id"] == listed[0]["run_id"]
    assert said.json("replay", "--best")["run_id"] == listed[0]["run_id"]
    tag_run(listed[-1]["run_id"], "best", place(home).store)
    assert said.json("replay", "best")["run_id"] == listed[-1]["run_id"]


def test_without_a_session_best_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="there is no session yet"):
        ls.replay("best", home=tmp_path)


def test_a_damaged_session_is_named_and_the_rest_listed(said: Said, home: Path) -> None:
    """R9.49: a cut file is seen by every listing, a flipped byte by a thorough one."""
    bad = ls.train({**SPEC, "seed": 5}, home=home)
    path = bad.folder / "segments" / "gradients.000000.seg"
    flip(path, -300)
    assert said.json("sessions", "list")["problems"] == {}
    found = said.json("sessions", "list", "--thorough")
    assert [item["run_id"] for item in found["sessions"]] == [folder_of(home).path.name]
    assert "gradients.000000.seg" in found["problems"][bad.run_id]
    path.write_bytes(path.read_bytes()[:-1])
    text = said("sessions", "list")
    assert f"! {bad.run_id}" in text
    assert folder_of(home).path.name in text


def test_pruning_names_first_and_removes_when_told(said: Said, home: Path) -> None:
    """keep_last_n: the oldest goes, and only on --yes."""
    old = folder_of(home).path.name
    new = ls.train({**SPEC, "seed": 5}, home=home).run_id
    text = said("sessions", "prune", "--keep-last", "1")
    assert f"would remove {old}" in text
    assert "say --yes" in text
    assert len(said.json("sessions", "list")["sessions"]) == 2
    assert list(said.json("sessions", "prune", "--keep-last", "1", "--yes")["sessions"]) == [old]
    assert [item["run_id"] for item in said.json("sessions", "list")["sessions"]] == [new]
    assert "nothing to remove: 1 session stays" in said("sessions", "prune", "--max-bytes", "1")
    assert "retention needs a limit" in said("sessions", "prune", code=2)


@pytest.mark.parametrize("level", ["full", "none"])
def test_one_step_is_shown_and_its_tensors_saved(said: Said, home: Path, tmp_path: Path, level: str) -> None:
    """R9.16, decision D19: the model after step 5, where gradients are kept and where they are not."""
    if level == "none":
        ls.train({**SPEC, "recording": {"level": "none"}}, home=home, tag="none")
    file = tmp_path / "step.safetensors"
    found = said.json("step", "first" if level == "full" else "none", "5", "--save", str(file))
    record = SessionRecord(folder_of(home))
    expected = record.step(5)
    saved = load_file(file)
    model = {name: array for name, array in saved.items() if name.startswith("model_state/")}
    assert {name.partition("/")[2]: array.tobytes() for name, array in model.items()} == {
        name: array.tobytes() for name, array in expected.model_state.items()
    }
    assert found["losses"] == dict(expected.losses)
    assert found["digest"] == record.content(5)["digests"]["state"]
    if level == "full":
        assert saved["gradient/direction.bias"].tobytes() == expected.gradients["direction.bias"].tobytes()
        assert found["samples"] == expected.samples.tolist()
        assert found["state"] == "rebuilt from the state stored before step 4 and the gradients"
        assert "direction.weight" in said("step", "first", "-1")
    else:
        assert (found["samples"], found["norms"]) == (None, None)
        assert found["state"].startswith("computed again")
    assert "has steps 0 to 11; found step 12" in said("step", "first", "12", code=2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("replay", "first", "--gradients", "--recompute"), "one way at a time; found --gradients and --recompute"),
        (("replay", "first", "--gradients", "--across"), "found --gradients, which computes nothing"),
        (("replay", "first", "--gradients", "--top", "3"), "No such option: --top"),
        (("replay", "first", "--best"), "Leave one of them out"),
        (("replay",), "which run"),
        (("replay", "nothing"), "no run in"),
        (("retrain", "first", "--top", "0"), "at least 1; found 0"),
        (("retrain", "first", "--gradients"), "No such option: --gradients"),
        (("step", "first", "--top"), "No such option: --top"),
        (("step", "first", "1", "--tag", "x"), "No such option: --tag"),
    ],
)
def test_what_does_not_go_together_is_said(said: Said, words: Sequence[str], message: str) -> None:
    assert message in said(*words, code=2)


def test_the_old_form_of_retraining_does_the_same_and_names_the_new_one(
    said: Said, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = said.json("retrain", "first", "--top", "3", "--set", "network.hidden=4")
    old = said.json("replay", "first", "--session", "--top", "3", "--set", "network.hidden=4")
    assert old["journal_hash"] == new["journal_hash"]
    assert command_line(["replay", "first", "--session", "--top", "0", "--home", str(home)]) == 2
    assert capsys.readouterr().err.splitlines()[0] == (
        "note: `lockstep replay --session` is now `lockstep retrain RUN`; the old form goes with the next release"
    )


def test_the_old_form_of_looking_at_a_step_does_the_same_and_names_the_new_one(
    said: Said, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said.json("replay", "first", "--step", "-2") == said.json("step", "first", "10"), "12 steps: -2 is 10"
    assert said.json("replay", "first", "--step=3") == said.json("step", "first", "3")
    assert command_line(["replay", "first", "--step", "12", "--home", str(home)]) == 2
    assert capsys.readouterr().err.splitlines()[0] == (
        "note: `lockstep replay --step N` is now `lockstep step RUN N`; the old form goes with the next release"
    )


def test_the_old_mode_of_python_does_the_same_and_warns(home: Path) -> None:
    new = ls.retrain("first", top=3, home=home)
    with pytest.warns(DeprecationWarning, match=r"is now ls\.retrain"):
        old = ls.replay("first", mode="session", top=3, home=home)
    assert isinstance(old, TrainResult)
    assert old.journal_hash == new.journal_hash


def test_a_replay_has_no_options_of_retraining(home: Path) -> None:
    with pytest.raises(TypeError, match=r"ls\.replay has no option top; ls\.retrain trains a new run"):
        ls.replay("first", top=3, home=home)


def test_one_step_in_python(home: Path, tmp_path: Path) -> None:
    view = ls.step("first", -1, save=str(tmp_path / "last.safetensors"), home=home)
    assert (view.step, view.steps) == (11, 12)
    assert load_file(tmp_path / "last.safetensors").keys() == view.arrays.keys()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda home: ls.step("first", 1.5, home=home), r"a step is a whole number.*found 1\.5"),  # type: ignore[arg-type]
        (lambda home: ls.step("first", True, home=home), "a step is a whole number.*found True"),
        (lambda home: ls.retrain("first", top=1.5, home=home), r"a whole number of at least 1; found 1\.5"),  # type: ignore[arg-type]
        (lambda home: ls.retrain(None, home=home), "a run is named by text.*found NoneType"),  # type: ignore[arg-type]
        (lambda home: ls.replay("first", mode="session", first=1, home=home), "for which first has no meaning"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_arguments_of_another_type_are_named(home: Path, call: Callable[[Path], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(home)


def test_runs_that_learn_by_gradients_are_one_list_under_two_names(said: Said) -> None:
    listed = said.json("runs", "list", "--gradients")
    assert listed == said.json("sessions", "list")
    assert len(listed["sessions"]) == 1


def test_a_run_without_gradients_has_nothing_to_replay(tmp_path: Path) -> None:
    registry.register("toy", toy_kind.PATH)
    ls.train({"kind": "toy", "steps": 4}, home=tmp_path, tag="search")
    for mode in ("gradients", "recompute"):
        with pytest.raises(RefusedError, match="no step of a gradient training"):
            ls.replay("search", mode=mode, home=tmp_path)  # type: ignore[arg-type]
    with pytest.raises(RefusedError, match="cannot be retrained"):
        ls.retrain("search", home=tmp_path)
    assert ls.sessions(home=tmp_path).sessions == ()
    registry.unregister("toy")


def test_an_unknown_mode_is_refused(home: Path) -> None:
    with pytest.raises(InputError, match="found 'magic'"):
        ls.replay("first", mode="magic", home=home)  # type: ignore[arg-type]


def test_the_time_of_training_is_beside_the_record_and_in_no_hash(home: Path) -> None:
    """A stopped and resumed run has two spans; the seals of the run do not know the file."""
    cancel = Cancel()
    with pytest.raises(Interrupted):
        ls.train(SPEC, home=home, cancel=cancel, observers=[StopAfter(cancel, 5)], tag="stopped")
    ls.resume("stopped", home=home)
    folder = folder_of(home, "stopped")
    assert [(span["first"], span["stop"]) for span in folder.read("timing")["spans"]] == [(0, 5), (5, 12)]
    one, twelve = (seconds_of_training(folder, steps) for steps in (1, 12))
    assert one is not None
    assert twelve == pytest.approx(12 * one)
    assert "timing.json" not in folder.read("manifest")["files"]
    assert check_run("stopped", place(home).store).report.ok
    for spans in ({"spans": [{"first": 0, "stop": 5, "seconds": "long"}]}, {"spans": 3}, []):
        folder.write("timing", spans)  # whoever can write into a home can forge it: at worst no time is told
        assert seconds_of_training(folder, 1) is None
    folder.document("timing").write_bytes(b"damaged")
    assert seconds_of_training(folder, 1) is None
