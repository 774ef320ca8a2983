"""Settings: every knob with its default, unit and meaning. Read once, in app.py.

Sources, strongest first: environment variables, `.env`, the defaults below.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from domain.errors import Misconfigured

ROOT = Path(__file__).resolve().parent


class Settings(BaseSettings):
    """One field for each environment variable of the same name in capitals."""

    model_config = SettingsConfigDict(env_file=".env", env_file_encoding="utf-8", extra="ignore", frozen=True)

    # -- where things are -------------------------------------------------------------
    data_dir: Path = Field(Path("instance"), description="Folder for the database, candles, keys and reports")
    database_url: str = Field(
        "",
        repr=False,
        description="SQLAlchemy URL, for PostgreSQL postgresql://user:password@host/name; empty: SQLite in DATA_DIR",
    )
    redis_url: str = Field("", description="Redis for the hot cache (not used yet); empty: in process")
    archive_url: str = Field("", description="Folder or s3:// for candles older than three months (not used yet)")

    # -- serving ----------------------------------------------------------------------
    host: str = Field("127.0.0.1", description="Address to bind to; any but a loopback one needs ADMIN_PASSWORD")
    port: int = Field(5000, ge=1, le=65535, description="Port to serve on")
    secret_key: SecretStr = Field(SecretStr(""), description="Signs cookies; empty: generated into DATA_DIR")
    admin_password: SecretStr = Field(SecretStr(""), description="When set, pages need a login and programs a token")
    allowed_hosts: str = Field("", description="Host names served besides loopback and HOST, separated by commas")
    max_clients: int = Field(200, ge=1, description="Live connections (websockets) served at once")

    # -- market -----------------------------------------------------------------------
    market: Literal["auto", "exchanges", "simulated"] = Field(
        "auto", description="auto asks the exchanges at the first start and falls back to the simulated market"
    )
    simulated_seed: int = Field(20200101, description="Seed of the simulated market")
    simulated_speed: float = Field(1.0, gt=0, le=100_000, description="Market seconds per second, simulated only")
    default_symbol: str = Field("BTC", description="Coin shown first")
    default_trade_fee_rate: float = Field(0.001, ge=0, lt=0.1, description="Fee as a fraction of the notional, a side")

    # -- cache ------------------------------------------------------------------------
    cache_enabled: bool = Field(True, description="Keep prices and candles in the hot cache")
    cache_price_ttl: float = Field(10.0, gt=0, description="Seconds a price is fresh")
    cache_kline_ttl: float = Field(60.0, gt=0, description="Seconds cached candles are fresh")
    hot_window_days: int = Field(7, ge=1, description="Days of candles kept in the hot cache (not used yet)")
    decision_retention_days: int = Field(
        90, ge=0, description="Days that decisions without an order are kept; 0 keeps all"
    )
    snapshot_retention_days: int = Field(
        400, ge=0, description="Days that account snapshots are kept at full resolution; 0 keeps all"
    )

    # -- venues -----------------------------------------------------------------------
    data_source_priority: str = Field(
        "price=binance,okx,hyperliquid,coingecko;klines=binance,okx,hyperliquid;depth=binance,okx,hyperliquid",
        description="Order in which venues are asked, for each kind of data",
    )
    binance_rate_limit: int = Field(6000, ge=1, description="Binance spot request weight a minute")
    binance_futures_rate_limit: int = Field(2400, ge=1, description="Binance USD-M request weight a minute")
    okx_rate_limit: float = Field(3.0, gt=0, description="OKX requests a second for each endpoint")
    binance_api_key: SecretStr = Field(SecretStr(""), description="Binance API key")
    binance_api_secret: SecretStr = Field(SecretStr(""), description="Binance API secret")
    binance_testnet: bool = Field(False, description="Use Binance's test network for orders")
    okx_api_key: SecretStr = Field(SecretStr(""), description="OKX API key")
    okx_api_secret: SecretStr = Field(SecretStr(""), description="OKX API secret")
    okx_passphrase: SecretStr = Field(SecretStr(""), description="OKX API passphrase")
    okx_order_tag: str = Field("", description="Tag sent with OKX orders")
    hyperliquid_env: Literal["mainnet", "testnet"] = Field("mainnet", description="Hyperliquid network")
    hyperliquid_private_key: SecretStr = Field(SecretStr(""), description="Hyperliquid agent wallet key")
    hyperliquid_account_address: str = Field("", description="Hyperliquid account address")
    coingecko_api_key: SecretStr = Field(SecretStr(""), description="CoinGecko demo or pro key")
    binance_url: str = Field("https://api.binance.com", description="Binance spot REST base")
    binance_ws_url: str = Field("wss://stream.binance.com:9443", description="Binance spot stream base")
    binance_futures_url: str = Field("https://fapi.binance.com", description="Binance USD-M REST base")
    binance_futures_ws_url: str = Field("wss://fstream.binance.com", description="Binance USD-M stream base")
    okx_url: str = Field("https://www.okx.com", description="OKX REST base")
    okx_ws_url: str = Field("wss://ws.okx.com:8443", description="OKX stream base")
    hyperliquid_url: str = Field("https://api.hyperliquid.xyz", description="Hyperliquid REST base")
    hyperliquid_ws_url: str = Field("wss://api.hyperliquid.xyz", description="Hyperliquid stream base")
    coingecko_url: str = Field("https://api.coingecko.com/api/v3", description="CoinGecko base, with its path")

    # -- language models --------------------------------------------------------------
    deepseek_api_key: SecretStr = Field(SecretStr(""), description="DeepSeek API key")
    qwen_api_key: SecretStr = Field(SecretStr(""), description="Qwen (DashScope) API key")
    openai_api_key: SecretStr = Field(SecretStr(""), description="OpenAI API key")

    # -- logs -------------------------------------------------------------------------
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level logged")

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value if value.is_absolute() else ROOT / value

    @field_validator("database_url")
    @classmethod
    def _unambiguous(cls, value: str) -> str:
        # The part after the first @ would be taken for the host, and named in errors and logs.
        if value.count("@") > 1:
            raise ValueError("write every @ as %40, but for the one before the host")
        return value.strip()

    @property
    def sqlalchemy_url(self) -> str:
        """PostgreSQL's own forms of an address name no driver: ours is psycopg."""
        scheme, separator, rest = self.database_url.partition("://")
        if scheme.lower() in {"postgres", "postgresql"}:
            scheme = "postgresql+psycopg"
        return f"{scheme}{separator}{rest}" or f"sqlite:///{self.data_dir / 'curlew.db'}"

    @property
    def uploads_dir(self) -> Path:
        return self.data_dir / "uploads"

    @property
    def extra_hosts(self) -> tuple[str, ...]:
        return tuple(host.strip().lower() for host in self.allowed_hosts.split(",") if host.strip())


def load_settings() -> Settings:
    """Settings of this process; Misconfigured names what is wrong with them, without the values (one may be a key)."""
    try:
        return Settings()
    except ValidationError as error:
        wrong = (f"{str(item['loc'][0]).upper()}: {item['msg']}" for item in error.errors(include_input=False))
        raise Misconfigured("; ".join(wrong)) from error


def is_command() -> bool:
    """Whether this process is a `flask` command, which listens at no address."""
    return os.environ.get("FLASK_RUN_FROM_CLI") == "true"
