"""`sidecar check`: exit code, streams, and one line a problem."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sidecar.__main__ import main
from tests.policy.examples import FULL, MINIMAL


def check(path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    path.write_text(text)
    code = main(["check", str(path)])
    said = capsys.readouterr()
    return code, said.out.replace(str(path), "FILE"), said.err.replace(str(path), "FILE")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "sidecar.yaml"


def test_a_good_config_is_summed_up_in_a_line(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(file, MINIMAL, capsys) == (0, "FILE: good; 1 service, 1 route\n", "")


def test_problems_are_one_a_line_on_stderr(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = check(file, MINIMAL.replace("http:", "htp:").replace("name", "nmae"), capsys)
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "FILE:3: policy.services[0].nmae: is no known key; did you mean name?",
        "FILE:3: policy.services[0].name: is missing or empty; expected 1 to 64 letters, digits, dots,"
        " underscores or hyphens",
        "FILE:4: policy.services[0].url: 'htp://127.0.0.1:9001/v1' does not start with http:// or https://;"
        " expected a base URL such as http://host:8000/v1",
        "FILE:6: policy.routes[0].services[0]: 'a' is no service; expected the name of one",
    ]


def test_programs_get_field_line_and_words_apart(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An editor puts a mark at the line."""
    file.write_text(MINIMAL.replace("http:", "htp:"))
    assert main(["check", str(file), "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert (told["good"], told["warnings"]) == (False, [])
    assert [(problem["field"], problem["line"]) for problem in told["problems"]] == [
        ("policy.services[0].url", 4)
    ]
    file.write_text(MINIMAL)
    assert main(["check", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"good": True, "problems": [], "warnings": []}


def test_a_secret_whose_variable_is_missing_is_a_problem(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon would not start without it."""
    monkeypatch.delenv("DASHSCOPE_API_KEY", raising=False)
    code, _, err = check(file, FULL, capsys)
    assert code == 2
    assert err == (
        "FILE:23: policy.services[1].credential.bearer.env: environment variable DASHSCOPE_API_KEY is not set;"
        " expected it to hold the secret\n"
    )
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-1")
    assert check(file, FULL, capsys)[0] == 0


def test_a_secret_file_that_cannot_be_read_is_a_problem(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "key"
    text = MINIMAL.replace("name: a", f"name: a\n      credential: {{bearer: {{file: {secret}}}}}")
    code, _, err = check(file, text, capsys)
    assert code == 2
    assert err.startswith(f"FILE:4: policy.services[0].credential.bearer.file: file {secret} cannot be read:")
    secret.write_text("sk-1\n")
    assert check(file, text, capsys)[0] == 0


def test_key_files_of_tls_are_looked_at(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = MINIMAL.replace("http:", "https:").replace(
        "name: a", "name: a\n      tls: {ca_file: /nowhere/ca.pem}"
    )
    admin = "admin: {tls: {cert_file: /nowhere/c, key_file: /nowhere/k, client_ca_file: /nowhere/a}}\n"
    code, _, err = check(file, admin + text, capsys)
    assert code == 2
    assert [line.split(": ")[:2] for line in err.splitlines()] == [
        ["FILE:1", "admin.tls.cert_file"],
        ["FILE:1", "admin.tls.key_file"],
        ["FILE:1", "admin.tls.client_ca_file"],
        ["FILE:5", "policy.services[0].tls.ca_file"],
    ]


def test_a_warning_changes_no_exit_code(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = MINIMAL.replace("name: a", "name: a\n      credential: {bearer: sk-very-secret}")
    code, out, err = check(file, text, capsys)
    assert (code, out) == (0, "FILE: good; 1 service, 1 route\n")
    assert err.startswith("FILE:4: warning: policy.services[0].credential.bearer: is a secret written into")
    assert "sk-very-secret" not in err


def test_a_file_that_cannot_be_read_is_told_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path, why in ((tmp_path / "none", "No such file or directory"), (tmp_path, "Is a directory")):
        assert main(["check", str(path)]) == 2
        assert capsys.readouterr() == ("", f"{path}: cannot be read: {why}\n")
