"""Money in integers: one credit = 1,000,000 credit_micros. Floats never touch it."""

from collections.abc import Sequence
from decimal import ROUND_CEILING, Decimal, InvalidOperation

MICROS_PER_CREDIT = 1_000_000


def credits_to_micros(amount: Decimal | int | str) -> int:
    """Convert credits to micros, exactly.

    Raises ValueError for what is not a finite number of credits or is finer than a micro.
    """
    try:
        micros = Decimal(amount) * MICROS_PER_CREDIT
    except InvalidOperation as error:
        raise ValueError("not a number of credits") from error
    if not micros.is_finite() or micros != micros.to_integral_value():
        raise ValueError("credits have at most six decimals")
    return int(micros)


def format_credits(micros: int) -> str:
    """Return credits as a plain decimal string: 1500000 → "1.5"."""
    return format_amount(Decimal(micros) / MICROS_PER_CREDIT)


def format_amount(amount: Decimal) -> str:
    """Return a plain decimal without an exponent or zeros at its end."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def sum_if_known(amounts: Sequence[int | None]) -> int | None:
    """Return a sum; None when one of the amounts is not known."""
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if len(known) == len(amounts) else None


def usd_to_micros(usd: Decimal, *, credit_usd: Decimal, markup: Decimal) -> int:
    """Price a cost in US$ as credit micros, rounded up so that nothing is given away by rounding."""
    micros = usd * markup / credit_usd * MICROS_PER_CREDIT
    return int(micros.to_integral_value(rounding=ROUND_CEILING))
