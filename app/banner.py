"""What the service says of itself when it starts: one block, without secrets."""

from app.settings import Settings, without_credentials


def banner(settings: Settings) -> str:
    """Return the block: address, store, sink, and what is off."""
    rows = [
        ("address", f"http://{settings.bind}  (try it: /docs)"),
        ("workers", str(settings.workers)),
        ("store", _store(settings)),
        ("sink", _sink(settings)),
        ("spool", _spool(settings)),
        ("data", str(settings.data_dir)),
        ("off", "; ".join(_off(settings))),
    ]
    return "Telemetry Cache\n" + "".join(f"  {name:<9}{text}\n" for name, text in rows)


def _store(settings: Settings) -> str:
    if settings.redis_url:
        return without_credentials(settings.redis_url)
    text = f"embedded (no REDIS_URL), {settings.embedded_cache_max_entries:,} entries at most, gone with the process"
    return text if settings.workers == 1 else f"{text}; each of {settings.workers} workers has its own"


def _spool(settings: Settings) -> str:
    where = f"{settings.data_dir / 'spool'}, {settings.spool_max_bytes:,} bytes a worker at most"
    return f"{where}; not synced: a power loss loses the latest" if settings.spool_sync == "off" else where


def _sink(settings: Settings) -> str:
    if settings.loki_url:
        return without_credentials(settings.loki_url)
    return f"{settings.data_dir / 'logs'}/*.ndjson (no LOKI_URL)"


def _off(settings: Settings) -> list[str]:
    off = ["API keys (anyone who reaches the address may use it)"]
    if not settings.cache_key_secret and not settings.cache_key_secret_file:
        off.append(f"CACHE_KEY_SECRET (made once: {settings.data_dir / 'cache-key.secret'})")
    return off
