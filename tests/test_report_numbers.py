"""Numbers and names as a report and the command line's tables write them."""

import subprocess
import sys
from math import inf, nan
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelscale.report import numbers
from modelscale.report.characters import legal, short, slug


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (numbers.significant(0.97777), "0.9778"),
        (numbers.significant(0.99999), "1.000"),
        (numbers.significant(54.83), "54.83"),
        (numbers.significant(1797), "1,797"),
        (numbers.significant(12345.6), "12,346"),
        (numbers.significant(1.2e-5, 2), "1.2e-05"),
        (numbers.significant(0.0), "0"),
        (numbers.significant(None), "–"),
        (numbers.significant(nan), "–"),
        (numbers.significant(-inf), "-∞"),
        (numbers.fixed(-0.001, 2), "0.00"),
        (numbers.fixed(1234.5, 1), "1,234.5"),
        (numbers.plain(0.0003), "0.0003"),
        (numbers.plain(0.1), "0.1"),
        (numbers.percent(0.978), "97.8 %"),
        (numbers.percent(None), "–"),
        (numbers.estimate(54.83, 52.14, 57.62), "54.8 [52.1, 57.6]"),
        (numbers.estimate(812.3, 640.0, 990.0, "ms"), "812 ms [640, 990]"),
        (numbers.estimate(0.5), "0.5000"),
        (numbers.estimate(3.0, 3.0, 3.0), "3.000 [3.000, 3.000]"),
        (numbers.estimate(1.0, nan, inf), "1.000"),
        (numbers.percent_estimate(0.9778, 0.9611, 0.9899), "97.8 % [96.1, 99.0]"),
        (numbers.percent_estimate(0.9778), "97.8 %"),
        (numbers.count(25450), "25,450"),
        (numbers.si(25450), "25.4k"),
        (numbers.si(999_999), "1.00M"),
        (numbers.si(650), "650"),
        (numbers.si(1.2e9, "MAC"), "1.20 GMAC"),
        (numbers.si(0.5, "s"), "0.500 s"),
        (numbers.size(102_400), "102 kB"),
        (numbers.size(12), "12 B"),
        (numbers.duration(0.0), "0 µs"),
        (numbers.duration(0.00214), "2.14 ms"),
        (numbers.duration(12.34), "12.3 s"),
        (numbers.duration(59.96), "1 min 00 s"),
        (numbers.duration(754), "12 min 34 s"),
        (numbers.duration(3599.7), "1 h 00 min"),
        (numbers.duration(3725), "1 h 02 min"),
        (numbers.duration(360_000), "4 d 04 h"),
        (numbers.duration(nan), "–"),
        (numbers.duration(-5), "-5 s"),
    ],
)
def test_numbers_read_as_people_write_them(text, expected):
    assert text == expected


def test_a_column_has_common_decimals_unless_its_numbers_are_worlds_apart():
    assert numbers.column([0.62, 0.17, 0.03], 3) == ["0.620", "0.170", "0.030"]
    assert numbers.column([12.3, 98.0, None]) == ["12.30", "98.00", "–"]
    assert numbers.column([1e-9, 5.0]) == ["1.000e-09", "5.000"]
    assert numbers.column([3, 1797]) == ["3", "1,797"]
    assert numbers.column([nan, None]) == ["–", "–"]


@given(st.floats(), st.floats(), st.floats())
def test_any_number_has_a_form(value, low, high):
    for text in (
        numbers.significant(value),
        numbers.plain(value),
        numbers.percent(value),
        numbers.estimate(value, low, high, "s"),
        numbers.percent_estimate(value, low, high),
        numbers.si(value),
        numbers.size(value),
        numbers.duration(value),
        *numbers.column([value, low, high]),
    ):
        assert text
        assert "nan" not in text
        assert "inf" not in text


@given(st.floats(1e-3, 1e6), st.integers(2, 6))
def test_significant_digits_lose_at_most_half_a_unit_of_the_last(value, digits):
    shown = float(numbers.significant(value, digits).replace(",", ""))
    # A number of more whole digits than asked for is rounded to a whole one
    assert abs(shown - value) <= max(value * 0.51 * 10 ** (1 - digits), 1e-12)


def test_numbers_and_content_import_nothing_heavy():
    heavy = {"numpy", "matplotlib", "torch", "jinja2", "pydantic"}
    for module in ("numbers", "content"):
        code = f"import sys, modelscale.report.{module}; print({heavy} & set(sys.modules))"
        assert subprocess.check_output([sys.executable, "-c", code]).strip() == b"set()"


@given(st.text())
def test_any_text_is_fit_for_xml_and_a_file_name(text):
    ET.fromstring(
        "<a>" + legal(text).replace("&", "").replace("<", "").replace("\r", "") + "</a>"
    )
    assert len(short(text, 10)) <= 10
    assert slug(text).replace("-", "").isalnum()
    assert len(slug(text)) <= 60
