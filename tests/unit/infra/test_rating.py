"""Rating usage again: by which prices, what it comes to, and how that is shown and posted."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest

from infra.edge import Edge
from infra.rating.corrections import Correction, check_posting, corrections, post
from infra.rating.prices import PriceFile, Rates, read_price_file
from infra.rating.rerate import Period, Rerated
from infra.rating.tables import as_ndjson, as_text
from infra.stack_settings import UsageError
from shared.contracts.prices import PriceSpec, RateSpec
from shared.contracts.usage import UsageRecorded
from shared.kernel.names import KeyService
from shared.kernel.prices import Price, Quote, Rate, Tariff
from tests.fakes.billing import MODEL, NOON, usage_event

pytestmark = pytest.mark.unit

TARIFF = Tariff(Decimal("0.01"), Decimal(1))
DAY = timedelta(days=1)
PERIOD = Period(NOON, NOON + DAY)


class ByDay:
    """A book whose versions are days; gateway models have no price."""

    def find(self, provider: KeyService, _model: str, at: datetime) -> Price | None:
        known = Price(f"{at:%d}", Rate(Decimal(1)), Rate(Decimal(2)))
        return None if provider is KeyService.GATEWAY else known


def _version(rates: Rates, event: UsageRecorded) -> str | None:
    quote = rates.quote(event)
    return None if quote is None else quote.price.version


def test_the_prices_are_those_of_one_moment_or_of_each_attempts_own() -> None:
    event = usage_event(started_at=NOON + 2 * DAY)
    assert _version(Rates(ByDay(), TARIFF, at=NOON + 7 * DAY), event) == "08"
    assert _version(Rates(ByDay(), TARIFF, at=None), event) == "03"


def test_a_files_price_goes_before_the_books_whatever_the_spelling() -> None:
    spec = PriceSpec(input=RateSpec(usd=Decimal(3)), output=RateSpec(usd=Decimal(4)))
    rates = Rates(ByDay(), TARIFF, at=NOON, over={MODEL: spec.named("file")})
    assert rates.quote(usage_event(model=MODEL.upper())) is not None
    assert _version(rates, usage_event()) == "file"
    assert rates.quote(usage_event(model="gpt-4o-mini")) == Quote(spec.named("file"), TARIFF)
    assert _version(rates, usage_event(model="openai/o3")) == "01"


def test_a_model_without_a_price_has_none() -> None:
    assert Rates(ByDay(), TARIFF, at=NOON).quote(usage_event(provider=KeyService.GATEWAY)) is None


Written = Callable[[object], Path]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    def write(content: object) -> Path:
        path = tmp_path / "prices.json"
        path.write_bytes(content if isinstance(content, bytes) else orjson.dumps(content))
        return path

    return write


def test_a_file_holds_prices_as_the_edge_takes_them(written: Written) -> None:
    tiers = [{"above": 10, "usd": "3"}]
    file = read_price_file(
        written(
            {
                "prices": {
                    MODEL: {
                        "input_usd": {"usd": "2", "tiers": tiers},
                        "output_usd": "0.5",
                        "cached_usd": None,
                    },
                    "groq/m": {"input": 1, "output": {"usd": "2"}},
                },
                "credit_usd": "0.02",
                "markup": 1.5,
            }
        )
    )
    assert file.prices[MODEL].input.tiers[0].usd == Decimal(3)
    assert file.prices["groq/m"].output.usd == Decimal(2)
    assert (file.credit_usd, file.markup) == (Decimal("0.02"), Decimal("1.5"))
    assert read_price_file(written({})) == PriceFile()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{", "holds no prices"),
        ([], "holds no prices"),
        ({"price": {}}, "price"),
        ({"prices": {MODEL: {"input_usd": "1"}}}, "output"),
        ({"prices": {MODEL: {"input_usd": "1", "output_usd": "1e3"}}}, "output"),
        ({"prices": {MODEL: {"input_usd": "1", "output_usd": "1", "cache_usd": "1"}}}, "cache"),
        ({"prices": {"nobody/m": {"input_usd": "1", "output_usd": "1"}}}, "nobody/m names no known provider"),
        ({"credit_usd": 0}, "credit_usd"),
        ({"markup": -1}, "markup"),
        ({"markup": "1e-400"}, "markup"),
    ],
    ids=repr,
)
def test_a_file_of_something_else_is_told(written: Written, content: object, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        read_price_file(written(content))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_price_file(tmp_path / "none.json")


def _rerated() -> Rerated:
    found = Rerated()
    found.add(usage_event(user_id="ada"), 1_000_000, 1_500_000)
    found.add(usage_event(user_id="ada", model="openai/o3"), 2_000_000, 1_250_001)
    found.add(usage_event(user_id="bob"), 3, None)
    found.add(usage_event(user_id="eve"), 0, 7)
    return found


def test_sums_are_by_model_and_by_user_and_what_has_no_price_keeps_its_charge() -> None:
    lines = [orjson.loads(line) for line in as_ndjson(_rerated())]
    assert lines == [
        _sum("model", -749_999, model="openai/o3", attempts=1, charged_micros=2_000_000),
        _sum("model", 500_007, model=MODEL, attempts=3, charged_micros=1_000_003, unrated=1),
        _sum("user", -249_999, user="ada", attempts=2, charged_micros=3_000_000),
        _sum("user", 7, user="eve", attempts=1, charged_micros=0),
        _sum("user", 0, user="bob", attempts=1, charged_micros=3, unrated=1),
        _sum("total", -249_992, attempts=4, charged_micros=3_000_003, unrated=1),
    ]


def _sum(kind: str, difference: int, **more: Any) -> dict[str, Any]:
    rated = more["charged_micros"] + difference
    return {"kind": kind, "unrated": 0, "rated_micros": rated, "difference_micros": difference, **more}


def test_the_text_is_in_credits() -> None:
    lines = [line.split() for line in as_text(_rerated())]
    assert ["ada", "2", "0", "3", "2.750001", "-0.249999"] in lines
    assert ["eve", "1", "0", "0", "0.000007", "+0.000007"] in lines
    assert lines[-1] == ["total", "4", "1", "3.000003", "2.750011", "-0.249992"]


def test_nothing_used_is_a_total_of_nothing() -> None:
    assert list(as_text(Rerated()))[-1].split() == ["total", "0", "0", "0", "0", "0"]


def test_each_user_with_a_difference_is_corrected_by_what_was_too_much() -> None:
    made = corrections(_rerated(), "fix", PERIOD)
    assert [(each.user_id, each.amount_micros) for each in made] == [("ada", 249_999), ("eve", -7)]
    assert made[0].body["credits"] == "0.249999"
    assert made[0].body["reason"] == f"re-rated {NOON.isoformat()} to {(NOON + DAY).isoformat()}: fix"


def test_a_correction_of_one_model_says_which() -> None:
    made = corrections(_rerated(), "fix", Period(NOON, NOON + DAY, model=MODEL))
    assert made[0].reason.endswith(f", {MODEL}: fix")


def test_a_correction_has_one_key_a_name_period_model_and_user() -> None:
    def key(name: str = "fix", period: Period = PERIOD, user_id: str = "ada") -> str:
        found = Rerated()
        found.add(usage_event(user_id=user_id), 1, 2)
        return corrections(found, name, period)[0].idempotency_key

    longer, before = Period(NOON, NOON + 2 * DAY), Period(NOON - DAY, NOON)
    one, other = Period(NOON, NOON + DAY, model="a/a"), Period(NOON, NOON + DAY, model="a/a:free")
    periods = [PERIOD, longer, before, one, other]
    keys = {key("fax"), key(user_id="bob"), *(key(period=period) for period in periods)}
    assert len(keys) == 7
    assert key() == key()
    assert len(key("n" * 40, one, "u" * 128)) <= 200


@pytest.mark.parametrize("name", ["", "a b", "a:b", "n" * 41, "ü"])
def test_a_name_that_cannot_be_in_a_key_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="name"):
        check_posting(name, Period(NOON - DAY, datetime.now(UTC) - DAY))


def test_a_period_that_is_not_over_is_not_corrected() -> None:
    check_posting("fix", Period(NOON, datetime.now(UTC)))
    with pytest.raises(UsageError, match="over"):
        check_posting("fix", Period(NOON, datetime.now(UTC) + DAY))


def test_posting_goes_through_the_edge() -> None:
    asked: list[tuple[str, str, Any]] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append((request.method, request.url.path, json.loads(request.content)))
        if len(asked) == 2:
            return httpx2.Response(409, json={"code": "conflict", "detail": "other contents"})
        return httpx2.Response(201, json={})

    api = Edge(httpx2.Client(base_url="http://edge", transport=httpx2.MockTransport(answer)))
    made = [Correction("ada", 249_999, "k1", "why"), Correction("bob", -7, "k2", "why")]
    with pytest.raises(UsageError, match="409: conflict"):
        list(post(api, made))
    bodies = [
        {"user_id": "ada", "credits": "0.249999", "reason": "why", "idempotency_key": "k1"},
        {"user_id": "bob", "credits": "-0.000007", "reason": "why", "idempotency_key": "k2"},
    ]
    assert asked == [("POST", "/api/admin/credits/adjustments", body) for body in bodies]
