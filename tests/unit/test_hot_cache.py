"""The hot tier keeps what is fresh, and nothing that is not."""

from __future__ import annotations

from store.hot_cache import HotCache


def kept(cache: HotCache) -> set[str]:
    return set(cache._kept)


def test_a_value_is_there_until_its_time() -> None:
    cache = HotCache()
    cache.put("a", 1, until_ms=100, now_ms=0)
    assert (cache.get("a", 99), cache.get("b", 99)) == (1, None)
    assert cache.get("a", 100) is None
    assert kept(cache) == set()
    assert (cache.counts().hits, cache.counts().misses) == (1, 2)


def test_what_nobody_asks_for_again_does_not_stay() -> None:
    """Candles have their span in the key: without this, thousands that nobody will ask for again pile up."""
    cache = HotCache()
    for now in range(1000):
        cache.put(f"kline:{now}", now, until_ms=now + 10, now_ms=now)
        assert len(kept(cache)) <= 10
    cache.put("last", 0, until_ms=5000, now_ms=4000)
    assert len(kept(cache)) <= 7
    assert cache.get("last", 4000) == 0


def test_the_least_used_go_first_beyond_the_size() -> None:
    cache = HotCache(size=2)
    for name in "ab":
        cache.put(name, name, until_ms=100, now_ms=0)
    assert cache.get("a", 1) == "a"
    cache.put("c", "c", until_ms=100, now_ms=1)
    assert kept(cache) == {"a", "c"}
