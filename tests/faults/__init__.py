"""What must hold when parts fail: workers, Loki, Redis, the service itself."""
