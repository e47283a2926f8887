"""Students behind the interfaces of benchmarks that test encoders: HEAR and X-ARES."""
