//! Models by name: loaded on demand, shared, unloaded when idle or when another needs the memory.
