//! What is bounded: a line of a file may ask for much work and memory at each login.

/// Bytes of a password file. A larger one is refused by whoever reads it.
pub const FILE_BYTES_MAX: u64 = 64 << 20;

/// Bytes of one line. A longer one is a fault.
pub const LINE_BYTES_MAX: usize = 128 << 10;

/// Bytes of a user name: what a CONNECT can carry. A longer one is a fault.
pub const NAME_BYTES_MAX: usize = 65_535;

/// Bytes of a password: what a CONNECT can carry. A longer one could not be sent.
pub const PASSWORD_BYTES_MAX: usize = 65_535;

/// Faults that are kept of one file; the others are counted.
pub const FAULTS_MAX: usize = 20;

/// Iterations of PBKDF2: seconds at each login. More is a fault.
pub const ITERATIONS_MAX: u32 = 10_000_000;

/// KiB that argon2id may take at each login. More is a fault.
pub const ARGON2_MEMORY_KIB_MAX: u32 = 256 << 10;

/// Passes of argon2id over its memory. More is a fault.
pub const ARGON2_PASSES_MAX: u32 = 32;

/// Lanes of argon2id. More is a fault.
pub const ARGON2_LANES_MAX: u32 = 16;

/// Bytes of a salt, at least. A shorter one is a fault.
pub const SALT_BYTES_MIN: usize = 8;

/// Bytes of a salt, at most. A longer one is a fault.
pub const SALT_BYTES_MAX: usize = 64;

/// Bytes of the hash of argon2id, at least. A shorter one is a fault: it would be found by trying.
pub const DIGEST_BYTES_MIN: usize = 16;

/// Bytes of a hash, at most; those of SHA-512 have as many.
pub const DIGEST_BYTES_MAX: usize = 64;
