"""The page about an ensemble: what it is worth beside its members, and what it costs."""

import json

import pytest

from modelscale.cli.app import main

pytest.importorskip("matplotlib")

SPEC = """
name: few
data: {source: iris, split: {test: 0.3, validation: 0}}
model: {kind: mlp, hidden: [8]}
train: {epochs: 3, batch_size: 32, keep: last}
ensemble: {kind: bagging, members: 3, distill: {}}
"""


def test_page_has_the_verdict_the_gain_the_members_and_the_cost(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "few.yaml").write_text(SPEC)
    for words in (["ensemble", "few.yaml", "--threads", "1"], ["report", "runs/few"]):
        monkeypatch.setattr("sys.argv", ["modelscale", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
    (run,) = (tmp_path / "runs" / "few").glob("2*")
    page = (run / "report.html").read_text()
    result = json.loads((run / "run.json").read_text())["result"]
    assert result["verdict"][1:20] in page
    for heading in (
        "What the ensemble is worth, test part",
        "Out-of-bag estimate",
        "Gain by members",
        "Members",
        "Diversity",
        "Calibration",
        "Cost",
        "Back to one model",
    ):
        assert f">{heading}<" in page, heading
    for member in result["members"]:
        assert member["label"] in page
