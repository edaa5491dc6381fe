"""The functions of the shop: they only say what they would do, so the example needs nothing."""


def refund(order: str, usd: float) -> str:
    """Refunds money for an order.

    Args:
        order: The number of the order.
        usd: The amount in US dollars.
    """
    return f"{usd:g} USD were refunded for {order}"


def notify(text: str) -> str:
    """Tells the team something.

    Args:
        text: What it is about.
    """
    return f"told the team: {text}"
