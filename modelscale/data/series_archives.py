"""The catalogue's data sets of series, each with a published training and test part."""

from __future__ import annotations

from modelscale.data.archive_entries import Archive, DataSet, Member

_AEON = Archive(
    package="aeon",
    version="1.6.0",
    file_name="aeon-1.6.0-py3-none-any.whl",
    sha256="d05227086706f80111ac5fee8de4d5d3115bb3bcfd1c786c8629393055816409",
)


def _series(
    folder: str,
    rows: int,
    sha256s: tuple[str, str],
    *,
    about: str,
    citation: str,
    baseline: str,
) -> DataSet:
    """Return a data set of series with a published training and test part."""
    base = f"aeon/datasets/data/{folder}/{folder}"
    ends = ("TRAIN", "TEST")
    return DataSet(
        about=about,
        rows=rows,
        archive=_AEON,
        members=tuple(
            Member(f"{base}_{end}.ts", sha256, 5_000_000)
            for end, sha256 in zip(ends, sha256s, strict=True)
        ),
        parser="ts",
        target="class",
        licence="as published with the UCR and UEA archives; BSD-3-Clause package",
        citation=citation,
        baseline=baseline,
    )


SERIES: dict[str, DataSet] = {
    "acsf1": _series(
        "ACSF1",
        200,
        (
            "0646b90dc4843e02baed6b2ba345c5601a4991b6796565489cef1b2d92a7537b",
            "93e8aaeb44a10af181d24a156e60da7021193cd990ca28f263fccf3b905bfebf",
        ),
        about="power readings of household appliances, 10 classes, 1,460 steps",
        citation="Gisler et al., Appliance consumption signature database, WoSSPA, 2013",
        baseline="accuracy 0.78 (extra trees on simple features), published test part",
    ),
    "basic_motions": _series(
        "BasicMotions",
        80,
        (
            "8dc43cc6306cb679c888c01e26f91772ac4441a916da43bac8b79734a538b9d6",
            "79213102bc6fca1a398ad98ce1185dff0208fa3d1465e687f48288946b0ff8dc",
        ),
        about="a watch's accelerometer and gyroscope, 4 activities, 6 channels of 100 steps",
        citation="Bagnall et al., arXiv:1811.00075",
        baseline="accuracy 1.0 (extra trees on simple features), published test part",
    ),
    "gun_point": _series(
        "GunPoint",
        200,
        (
            "f842401779fd9800d247d8b33121a1a4643710a19b24917dbdd9a060ca8630d5",
            "79332750788a6227b325b96bd0d70130c8eb707b9731f8d7dec62b7a7d36017e",
        ),
        about="the way of a hand that draws a gun or points, 150 steps",
        citation="Ratanamahatana & Keogh, SIAM Data Mining, 2005",
        baseline="accuracy 0.91 (nearest neighbour, Euclidean), published test part",
    ),
    "italy_power_demand": _series(
        "ItalyPowerDemand",
        1096,
        (
            "341269cb7e6cef96846b30e774580beec79addb93848ba360145219115a74b7c",
            "26122451f87dd0387ef90b18bc8a86c041371b8a1c068004922b939971247144",
        ),
        about="a day's electric power demand by the hour, winter or summer half-year",
        citation="Keogh et al., Intelligent Icons, ICDM 2006",
        baseline="accuracy 0.926 (extra trees on simple features), published test part",
    ),
    "japanese_vowels": _series(
        "JapaneseVowels",
        640,
        (
            "68a430eabd919cc77f40b1f5f3bc0dcafacc1486bca9260785aeb7d262cc78cd",
            "b3d41d6a0ca3bcad3afb9ca7d4365382aa51341e2e58bae2a574babdda5b9462",
        ),
        about="two vowels spoken by 9 men, 12 channels of 7 to 29 steps",
        citation="Kudo et al., Pattern Recognition Letters 20, 1999",
        baseline="accuracy 0.981 (extra trees on simple features), published test part",
    ),
}
