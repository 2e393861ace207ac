"""Environment capture: informative, and silent about secrets."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from lockstep.core import canonical
from lockstep.runs.environment import MAX_DIFF_CHARACTERS, capture_environment, redact, redact_line
from lockstep.runs.identity import CodeIdentity

MASK = "[masked: looks like a secret]"


def git(folder, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


def captured_of(folder, **options):
    """The environment of a run that loaded all Python files and secret files directly in `folder` and below."""
    files = [path for path in folder.rglob("*") if ".git" not in path.parts and path.is_file()]
    sources = {path.name: path.read_bytes() for path in files}
    return capture_environment(folder, code=CodeIdentity(sources=sources), **options)


@pytest.fixture
def repository(tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / ".env").write_text("HOST=here\n")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


def test_commit_and_diff_are_recorded(repository):
    (repository / "a.py").write_text("x = 2\n")
    state = captured_of(repository, argv=["lockstep", "train"])["git"]
    assert len(state["commit"]) == 40
    assert state["changed"]
    assert "-x = 1\n+x = 2" in state["diff"]


def test_a_clean_tree_has_no_diff(repository):
    assert captured_of(repository)["git"]["diff"] == ""
    assert not captured_of(repository)["git"]["changed"]


@pytest.mark.parametrize("form", ["sha1", "sha256"])
def test_git_is_asked_for_the_bytes_of_changed_files_alone(tmp_path, monkeypatch, form):
    """Two hundred files that did not change cost as many starts of git before."""
    place, calls = tmp_path / "work", tmp_path / "calls"
    place.mkdir()
    git(place, "init", "-q", f"--object-format={form}")
    for name in ("a.py", "b.py", "c.py"):
        (place / name).write_text(f"x = {name!r}\n")
    git(place, "add", "-A")
    git(place, "commit", "-q", "-m", "first")
    (place / "b.py").write_text("x = 2\n")
    (tmp_path / "programs").mkdir()
    program = tmp_path / "programs" / "git"
    program.write_text(f'#!/bin/sh\necho "$*" >> {calls}\nexec {shutil.which("git")} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    state = captured_of(place)["git"]
    assert "-x = 'b.py'\n+x = 2" in state["diff"]
    assert "a.py" not in state["diff"]
    assert calls.read_text().count("cat-file") == 1


def test_a_canary_secret_never_appears(repository):
    canary = "hunter2canary"
    (repository / "a.py").write_text(f'password = "{canary}"\nurl = "postgres://me:{canary}@host/db"\n')
    (repository / ".env").write_text(f"X={canary}\n")
    captured = captured_of(repository, argv=["lockstep", f"--api-key={canary}"])
    assert canary not in canonical.dumps(captured).decode()
    assert "[left out: a file for secrets]" in captured["git"]["diff"]


@pytest.mark.parametrize(
    "line",
    [
        '+API_KEY = "abc"',
        "+token: abc",
        "+  AKIAABCDEFGHIJKLMNOP",
        "+ghp_abcdefghijklmnopqrstuvwx1234",
        '+secret = "x"',
        "+exchange_key = 'x'",
        "+Authorization: Basic eA==",
        "+h = 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "+https://me:pw@host/",
    ],
)
def test_lines_that_look_like_secrets_are_masked(line):
    assert redact_line(line) == "+[masked: looks like a secret]"


def test_the_line_that_a_hunk_stands_under_is_looked_at_too(repository):
    """git repeats it behind the numbers: there, a secret that did not even change would travel."""
    lines = [f"x{i} = {i}\n" for i in range(20)]
    (repository / "a.py").write_text("".join(['DB_PASSWORD = "hunter2"\n', *lines]))
    git(repository, "commit", "-q", "-a", "-m", "second")
    (repository / "a.py").write_text("".join(['DB_PASSWORD = "hunter2"\n', *lines, "    y = 1\n"]))
    (repository / "a.py").write_text((repository / "a.py").read_text().replace("x10 = 10", "    x10 = 11"))
    assert "hunter2" not in captured_of(repository)["git"]["diff"]
    assert redact_line('@@ -1,3 +1,4 @@ KEY_TOKEN = "x"') == "@@ -1,3 +1,4 @@ [masked: looks like a secret]"


def test_what_follows_an_option_for_a_secret_is_masked():
    command = capture_environment(Path(), argv=["train.py", "--api-key", "abc", "--seed", "1", "token=abc"])["command"]
    assert command == ["train.py", MASK, MASK, "--seed", "1", MASK]


@pytest.mark.parametrize("setting", ["diff.noprefix", "diff.mnemonicPrefix"])
def test_secret_files_are_left_out_whatever_git_is_told_about_names(repository, setting):
    (repository / "ü").mkdir()
    (repository / "ü" / ".env").write_text("HOST=here\n")
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "second")
    git(repository, "config", setting, "true")
    for folder in (repository, repository / "ü"):
        (folder / ".env").write_text("HOST=hunter2\n")
    diff = captured_of(repository)["git"]["diff"]
    assert diff.count("[left out: a file for secrets]") == 2
    assert "hunter2" not in diff


@pytest.mark.parametrize(
    "line", ["+x = 1", " def signals(view, params):", "@@ -1,3 +1,3 @@", "index 0123456..789abcd 100644"]
)
def test_ordinary_lines_stay(line):
    assert redact_line(line) == line


def test_a_private_key_is_masked_to_its_end():
    block = "+-----BEGIN PRIVATE KEY-----\n+abc\n+-----END PRIVATE KEY-----\n+x = 1"
    assert redact(f"diff --git a/k.txt b/k.txt\n{block}").splitlines()[1:] == [
        "+[masked: looks like a secret]",
        "+[masked: looks like a secret]",
        "+[masked: looks like a secret]",
        "+x = 1",
    ]


def test_a_long_diff_is_cut(repository):
    (repository / "a.py").write_text("".join(f"x = {i}\n" for i in range(20_000)))
    diff = captured_of(repository)["git"]["diff"]
    assert len(diff) < MAX_DIFF_CHARACTERS + 100
    assert diff.endswith("[cut: the diff is longer]")


def test_a_folder_without_git_has_no_git_state(tmp_path):
    captured = capture_environment(tmp_path, argv=["x"])
    assert captured["git"] is None
    assert captured["command"] == ["x"]


PROGRAMS = {
    "fsmonitor": ("core.fsmonitor", "{hook}"),
    "external diff": ("diff.external", "{hook}"),
    "clean filter": ("filter.evil.clean", "{hook}"),
    "smudge filter": ("filter.evil.smudge", "{hook}"),
    "filter process": ("filter.evil.process", "{hook}"),
    "text conversion": ("diff.evil.textconv", "{hook}"),
    "diff command": ("diff.evil.command", "{hook}"),
    "ssh": ("core.sshCommand", "{hook}"),
    "credentials": ("credential.helper", "!{hook}"),
    "pager": ("core.pager", "{hook}"),
    "hooks": ("core.hooksPath", "{hooks}"),
    "signatures": ("gpg.program", "{hook}"),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_no_program_that_a_repository_names_is_run(repository, program):
    """R4.40, SECURITY.md: training a spec of somebody's folder runs what the spec names, and nothing else."""
    hook = repository / "hook.sh"
    hook.write_text(f"#!/bin/sh\ntouch {repository}/ran\ncat\n")
    hook.chmod(0o755)
    hooks = repository / "hooks"
    hooks.mkdir()
    for name in ("post-index-change", "post-checkout", "pre-commit"):
        (hooks / name).write_text(hook.read_text())
        (hooks / name).chmod(0o755)
    (repository / ".gitattributes").write_text("*.py filter=evil diff=evil\n")
    key, value = PROGRAMS[program]
    git(repository, "config", "filter.evil.required", "true")
    git(repository, "config", key, value.format(hook=hook, hooks=hooks))
    (repository / "a.py").write_text("x = 2\n")
    state = capture_environment(repository, code=CodeIdentity(sources={"a.py": b"x = 2\n"}))["git"]
    assert "+x = 2" in state["diff"]
    assert not (repository / "ran").exists()


@pytest.mark.parametrize("name", ["GIT_EXTERNAL_DIFF", "GIT_SSH_COMMAND", "GIT_PROXY_COMMAND", "GIT_PAGER"])
def test_no_program_that_a_variable_of_git_names_is_run(repository, monkeypatch, name):
    hook = repository / "hook.sh"
    hook.write_text(f"#!/bin/sh\ntouch {repository}/ran\n")
    hook.chmod(0o755)
    monkeypatch.setenv(name, str(hook))
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    (repository / "a.py").write_text("x = 2\n")
    assert "+x = 2" in captured_of(repository)["git"]["diff"]
    assert not (repository / "ran").exists()


def test_a_git_of_the_working_folder_is_not_run(repository, monkeypatch):
    own = repository / "git"
    own.write_text(f"#!/bin/sh\ntouch {repository}/ran\n")
    own.chmod(0o755)
    monkeypatch.chdir(repository)
    monkeypatch.setenv("PATH", f".:{os.environ['PATH']}")
    assert len(capture_environment(Path())["git"]["commit"]) == 40
    assert not (repository / "ran").exists()


def test_only_files_that_the_run_loads_are_in_the_diff(repository):
    (repository / "other.py").write_text('pw = "hunter2"\n')
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "second")
    (repository / "other.py").write_text('pw = "hunter3"\n')
    (repository / "a.py").write_text("x = 2\n")
    diff = capture_environment(repository, code=CodeIdentity(sources={"a.py": b"x = 2\n"}))["git"]["diff"]
    assert "+x = 2" in diff
    assert "hunter" not in diff


def test_names_that_are_no_utf_8_are_recorded_in_escapes(tmp_path, monkeypatch):
    folder = tmp_path / os.fsdecode(b"sp\xff")
    folder.mkdir()
    monkeypatch.setattr(socket, "gethostname", lambda: os.fsdecode(b"h\xffst"))
    captured = capture_environment(folder, argv=["lockstep", os.fsdecode(b"s\xe9.toml")])
    assert canonical.loads(canonical.dumps(captured)) == captured
    assert (captured["host"], captured["command"][1]) == ("h\\xffst", "s\\xe9.toml")
