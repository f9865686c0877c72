"""Processes that share a study through a database each work on a run of their own."""

from modelscale.runs.folder import RunFolder

WHAT = ("study", "abcdef", b"", "", ["tune"])


def test_run_that_another_takes_before_its_maker_is_made_anew(tmp_path):
    others = []

    class Late(RunFolder):
        """Is overtaken between making its first run and taking it."""

        @classmethod
        def _take(cls, path):
            if not others:
                others.append(RunFolder.open_free(tmp_path, *WHAT))
                assert others[0].path == path
            return super()._take(path)

    with Late.open_free(tmp_path, *WHAT) as mine, others[0] as theirs:
        assert mine.path != theirs.path
