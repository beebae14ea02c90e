//! A hasher for keys of bytes: one call of xxh3 for each key. The standard one is three times slower on short keys, and the
//! streaming form of xxh3 has to set up half a KiB of state first. The seed is another one in each process, so that nobody
//! can send words that are known to collide.

use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::sync::LazyLock;

use xxhash_rust::xxh3::xxh3_64_with_seed;

static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0));

/// See the module.
pub(super) struct ByteHasher(u64);

/// For maps with keys of bytes.
pub(super) type ByHash = BuildHasherDefault<ByteHasher>;

impl Default for ByteHasher {
    fn default() -> Self {
        ByteHasher(*SEED)
    }
}

impl Hasher for ByteHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    fn write_usize(&mut self, n: usize) {
        self.0 ^= n as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
