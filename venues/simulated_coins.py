"""What the simulated market knows of each coin: a plausible start, size and temper.

Parameters depend on the seed, the coin's symbol and the facts that come with the program only, never on
what a user edits, so that a price stays where it was. A coin that nobody has heard of gets a temper too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from venues.simulated_noise import DRAWS, derive_key, hash_one

MARKET_SIGMA = 0.026  # log deviation of a day of the whole market

# Daily deviation of a coin by its category; anything else gets OTHER_SIGMA.
CATEGORY_SIGMA = {
    "Layer1": 0.048,
    "Layer2": 0.054,
    "DeFi": 0.056,
    "Meme": 0.075,
    "Exchange": 0.040,
    "Payment": 0.045,
    "AI": 0.062,
    "Storage": 0.054,
    "Gaming": 0.057,
}
OTHER_SIGMA = 0.055

# (price near the start of 2020, daily deviation, long-run log growth); later coins near their first prices.
KNOWN: dict[str, tuple[float, float, float]] = {
    "BTC": (7200.0, 0.030, 1.75),
    "ETH": (130.0, 0.038, 2.4),
    "BNB": (13.7, 0.038, 2.6),
    "XRP": (0.193, 0.045, 0.9),
    "SOL": (2.2, 0.055, 2.9),
    "ADA": (0.033, 0.047, 2.2),
    "DOGE": (0.0020, 0.060, 3.0),
    "TRX": (0.0133, 0.042, 1.7),
    "AVAX": (4.1, 0.055, 1.6),
    "LINK": (1.78, 0.050, 1.9),
    "DOT": (2.9, 0.048, 0.9),
    "MATIC": (0.0137, 0.055, 2.9),
    "POL": (0.0137, 0.055, 2.9),
    "LTC": (41.0, 0.043, 0.7),
    "BCH": (205.0, 0.045, 0.5),
    "ETC": (4.5, 0.047, 1.3),
    "XLM": (0.045, 0.046, 0.9),
    "XMR": (45.0, 0.040, 1.2),
    "ATOM": (4.3, 0.050, 0.8),
    "UNI": (3.1, 0.053, 0.8),
    "AAVE": (53.0, 0.053, 0.7),
    "MKR": (437.0, 0.048, 1.1),
    "FIL": (22.0, 0.053, -1.0),
    "NEAR": (1.2, 0.056, 1.1),
    "APT": (8.0, 0.055, 0.1),
    "ARB": (1.3, 0.054, -0.3),
    "OP": (1.4, 0.056, 0.1),
    "SUI": (1.0, 0.057, 0.7),
    "TON": (0.9, 0.045, 1.3),
    "INJ": (1.0, 0.060, 2.0),
    "ICP": (30.0, 0.055, -1.0),
    "HBAR": (0.0105, 0.050, 1.8),
    "VET": (0.0053, 0.050, 1.4),
    "ALGO": (0.22, 0.050, 0.0),
    "FTM": (0.011, 0.058, 2.8),
    "S": (0.5, 0.058, 0.0),
    "SAND": (0.05, 0.058, 1.8),
    "MANA": (0.034, 0.058, 2.1),
    "AXS": (0.55, 0.060, 2.0),
    "THETA": (0.092, 0.055, 1.9),
    "GRT": (0.13, 0.056, 0.3),
    "RUNE": (0.5, 0.060, 1.9),
    "CRV": (1.2, 0.058, -0.5),
    "SUSHI": (1.6, 0.058, -0.3),
    "COMP": (90.0, 0.053, -0.4),
    "SNX": (1.2, 0.057, 0.6),
    "YFI": (9000.0, 0.052, -0.2),
    "1INCH": (1.2, 0.055, -0.7),
    "LDO": (1.3, 0.058, 0.2),
    "HYPE": (6.0, 0.058, 1.5),
    "TAO": (60.0, 0.060, 1.6),
    "RENDER": (0.5, 0.060, 2.0),
    "FET": (0.04, 0.062, 2.6),
    "SHIB": (0.0000085, 0.066, 0.9),
    "PEPE": (0.0000012, 0.078, 1.9),
    "FLOKI": (0.00003, 0.076, 1.2),
    "BONK": (0.0000016, 0.080, 2.0),
    "WIF": (0.35, 0.085, 1.0),
    "TRUMP": (12.0, 0.075, -0.3),
    "CRO": (0.034, 0.043, 1.1),
    "OKB": (2.6, 0.040, 2.2),
    "LEO": (0.82, 0.018, 1.6),
    "KCS": (0.85, 0.036, 2.2),
    "GT": (0.5, 0.036, 2.2),
    "DASH": (41.0, 0.046, 0.0),
    "ZEC": (28.0, 0.047, 0.6),
    "EOS": (2.6, 0.046, -0.6),
    "XTZ": (1.35, 0.048, 0.2),
    "NEO": (8.8, 0.046, 0.4),
    "IOTA": (0.16, 0.048, 0.4),
    "KAVA": (0.95, 0.053, 0.2),
    "AR": (1.0, 0.060, 2.2),
    "EGLD": (8.0, 0.052, 1.2),
    "QNT": (4.3, 0.048, 2.7),
    "STX": (0.12, 0.055, 2.0),
    "PAXG": (1520.0, 0.009, 0.6),
    "XAUT": (1520.0, 0.009, 0.6),
}
# Coins of which only the price level is worth telling.
STARTS: dict[str, float] = {
    "A": 2.6, "ACH": 0.004, "AERO": 0.05, "AIOZ": 0.01, "ANKR": 0.0016, "APE": 7.0, "API3": 1.6, "ARKM": 0.4,
    "ASTER": 1.0, "BABYDOGE": 1.2e-9, "BAT": 0.19, "BERA": 6.0, "BGB": 0.06, "BLUR": 0.5, "BOME": 0.01, "BSV": 97.0,
    "BTT": 3e-7, "CAKE": 0.6, "CELO": 1.5, "CFX": 0.09, "CHZ": 0.008, "COTI": 0.008, "DCR": 17.0, "DYDX": 3.0,
    "EIGEN": 3.5, "ENA": 0.5, "ENJ": 0.08, "ENS": 14.0, "ETHFI": 3.0, "FARTCOIN": 0.3, "FLOW": 3.0, "FTT": 2.2,
    "GALA": 0.002, "GLM": 0.035, "GMT": 0.3, "GMX": 20.0, "HOT": 0.0006, "IMX": 0.8, "IO": 2.5, "IP": 3.0,
    "JASMY": 0.01, "JTO": 2.0, "JUP": 0.6, "KAIA": 0.14, "KAITO": 1.2, "KAS": 0.01, "KSM": 2.0, "LINEA": 0.02,
    "LRC": 0.02, "LUNC": 0.0001, "MANTA": 1.5, "MASK": 2.5, "MEME": 0.01, "METIS": 5.0, "MEW": 0.004, "MINA": 1.0,
    "MNT": 0.5, "MOG": 1e-6, "MON": 0.03, "MOODENG": 0.15, "MORPHO": 1.5, "NEXO": 0.1, "NOT": 0.006, "ONDO": 0.3,
    "ORDI": 15.0, "PENDLE": 0.8, "PENGU": 0.02, "PEOPLE": 0.02, "PNUT": 0.5, "PUMP": 0.004, "PYTH": 0.35, "QTUM": 1.7,
    "RAY": 1.5, "RONIN": 1.2, "ROSE": 0.045, "RVN": 0.023, "SATS": 3e-7, "SC": 0.0014, "SEI": 0.2, "SKY": 0.06,
    "SPX": 0.3, "STORJ": 0.13, "STRK": 0.8, "SYRUP": 0.3, "TIA": 3.0, "TRB": 12.0, "TURBO": 0.004, "TWT": 0.03,
    "UMA": 3.0, "VIRTUAL": 0.6, "W": 0.4, "WAL": 0.4, "WLD": 1.8, "WLFI": 0.2, "WOO": 0.04, "XDC": 0.005,
    "XEC": 3e-5, "XPL": 0.6, "XVG": 0.0035, "YGG": 0.5, "ZIL": 0.005, "ZK": 0.1, "ZRO": 3.0,
}  # fmt: skip
# The same asset in another wrapping moves with it.
FOLLOWS = {"WBTC": "BTC", "CBBTC": "BTC", "TBTC": "BTC", "WETH": "ETH", "STETH": "ETH", "WBETH": "ETH"}
# Stablecoins by symbol, for coins that come without a category. The peg in dollars.
PEGS = {"EURC": 1.1, "EURS": 1.1, "EURT": 1.1, "EURI": 1.1}
STABLE = frozenset(
    {
        *("USDT", "USDC", "DAI", "BUSD", "TUSD", "FDUSD", "USDP", "GUSD", "FRAX", "LUSD", "PYUSD"),
        *("USDD", "USDE", "SUSD", "UST", "USTC", "USD1", "USDS", "CRVUSD", "GHO", "RLUSD"),
    }
)
GOLD = frozenset({"PAXG", "XAUT"})

_MARKET_SHARE = (0.48, 0.66)  # of a coin's variance
_SECTOR_SHARE = 0.10
_ANY_START = (0.02, 40.0)
_ANY_MEME_START = (1e-6, 0.05)


@dataclass(frozen=True, slots=True)
class SimCoin:
    """A coin as the catalogue knows it: facts that come with the program, not a user's edits."""

    symbol: str
    category: str | None = None
    rank: int | None = None
    start_price: float | None = None


@dataclass(frozen=True, slots=True)
class CoinShape:
    """Everything that makes one coin's prices, besides the seed."""

    symbol: str
    path_of: str  # whose path it walks: its own symbol, or the asset's that it wraps
    sector: str
    start: float
    sigma: float
    market_beta: float
    sector_beta: float
    own_sigma: float
    trend: float
    is_stable: bool
    dollars_a_day: float
    spread_rate: float
    rank: int
    decimals: int
    lot: float
    volume_unit: float
    max_leverage: float
    min_notional: float = 5.0

    @property
    def tick(self) -> float:
        return 1 / float(10**self.decimals)


def shape_coin(seed: int, coin: SimCoin, sector_sigma: float, known: Mapping[str, SimCoin]) -> CoinShape:
    """The shape of `coin`: pure in the seed and the catalogue (`known`: the asset that a wrapped coin follows)."""
    asset = FOLLOWS.get(coin.symbol, coin.symbol)
    sector = (known.get(asset) or coin).category or "Other"
    draw = _draws(seed, asset)
    own_draw = _draws(seed, coin.symbol)
    rank = coin.rank if coin.rank and coin.rank > 0 else 60 + int(own_draw[3] * 200)
    is_stable = coin.category == "Stablecoins" or coin.symbol in STABLE or coin.symbol in PEGS
    is_gold = asset in GOLD
    if is_stable:
        start = PEGS.get(coin.symbol, 1.0)
        sigma, trend, market_share, sector_share = 0.00025, 0.0, 0.0, 0.0
    else:
        start, sigma, trend = _temper(asset, coin, draw)
        low, high = _MARKET_SHARE
        market_share = 0.72 if asset == "BTC" else low + (high - low) * draw[2]
        sector_share = 0.04 if asset == "BTC" else _SECTOR_SHARE
        if is_gold:
            market_share, sector_share = 0.05, 0.0
    decimals = 4 if is_stable else max(0, 4 - math.floor(math.log10(start)))
    return CoinShape(
        symbol=coin.symbol,
        path_of=asset,
        sector=sector,
        start=start,
        sigma=sigma,
        market_beta=sigma * math.sqrt(market_share) / MARKET_SIGMA,
        sector_beta=sigma * math.sqrt(sector_share) / sector_sigma,
        own_sigma=sigma * math.sqrt(1 - market_share - sector_share),
        trend=trend,
        is_stable=is_stable,
        dollars_a_day=1.5e10 / rank**1.1,
        spread_rate=0.00002 * (1 if is_stable or asset in ("BTC", "ETH") else 2 + rank**0.5),
        rank=rank,
        decimals=decimals,
        lot=_lot(start),
        volume_unit=_volume_unit(start),
        max_leverage=_max_leverage(rank, is_stable),
    )


def _temper(asset: str, coin: SimCoin, draw: tuple[float, ...]) -> tuple[float, float, float]:
    """Start price, daily deviation and long-run log growth of a coin that is not pegged."""
    if asset in KNOWN:
        start, sigma, trend = KNOWN[asset]
        return coin.start_price or start, sigma, trend
    low, high = _ANY_MEME_START if coin.category == "Meme" else _ANY_START
    start = (
        coin.start_price
        or STARTS.get(asset)
        or float(f"{math.exp(math.log(low) + draw[0] * math.log(high / low)):.4g}")
    )
    sigma = CATEGORY_SIGMA.get(coin.category or "", OTHER_SIGMA) * (0.9 + 0.25 * draw[1])
    return start, sigma, -0.3 + 1.8 * draw[3]


def _draws(seed: int, symbol: str) -> tuple[float, ...]:
    bits = hash_one(derive_key(seed, f"coin/{symbol}"), 0)
    return tuple(((bits >> (16 * k)) % DRAWS + 0.5) / DRAWS for k in range(4))


def _magnitude(price: float) -> int:
    return math.floor(-math.log10(price))


def _lot(price: float) -> float:
    """A power of ten worth between 0.1 and 1 dollar at the start."""
    power = _magnitude(price)
    return float(10**power) if power >= 0 else 1 / 10**-power


def _volume_unit(price: float) -> float:
    """Volumes come in multiples of this: whole lots, and numbers whose sums a float holds exactly."""
    if price >= 100:
        return 0.125  # 125 lots of 0.001, 1,250 of 0.0001
    return float(10 ** max(0, _magnitude(price) + 1))


def _max_leverage(rank: int, is_stable: bool) -> float:
    if is_stable:
        return 10.0
    for limit, leverage in ((2, 100.0), (10, 75.0), (40, 50.0), (100, 25.0)):
        if rank <= limit:
            return leverage
    return 20.0
