"""What a detector's alarms find, with the threshold that the validation part sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from modelscale.data.raw import Raw
    from modelscale.evaluation.section import AlarmSection


def alarms(
    section: AlarmSection,
    raw: Raw,
    rows: Tensor,
    chosen_on: tuple[Tensor, Tensor],
    measured_on: tuple[Tensor, Tensor],
) -> dict[str, Any]:
    """Return the threshold, and the alarms among the measured rows and events.

    Args:
        section: Says how many false alarms there may be.
        raw: The data; windows of series have an order, in which events are runs.
        rows: Those that are measured.
        chosen_on: Probabilities (N, 2) and classes (N,) of the validation part.
        measured_on: The same of the measured rows.
    """
    import torch

    from modelscale.evaluation.events import events_found, threshold_at

    p_N, label_N = chosen_on[0][:, 1], chosen_on[1]
    usual_N = p_N[label_N == 0]
    threshold = threshold_at(usual_N, section.false_positive_rate)
    alarm_N, true_N = measured_on[0][:, 1] > threshold, measured_on[1] == 1
    hits, raised, there = (int(x.sum()) for x in (alarm_N & true_N, alarm_N, true_N))
    found: dict[str, Any] = {
        "threshold": threshold,
        "false_positive_rate": _share(raised - hits, len(true_N) - there),
        "rows": {
            "labelled": there,
            "alarms": raised,
            "precision": _share(hits, raised),
            "recall": _share(hits, there),
            "f1": _share(2 * hits, raised + there),
        },
    }
    if raw.series is not None:
        windows = raw.series.rows(rows.numpy())
        unit_N = torch.from_numpy(windows.unit_N.astype("int64"))
        order_N = torch.from_numpy(windows.ends()).argsort()
        events = events_found(alarm_N[order_N], true_N[order_N], unit_N[order_N])
        found["events"] = {
            **events._asdict(),
            "precision": events.precision,
            "recall": events.recall,
            "f1": events.f1,
        }
    return found


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
