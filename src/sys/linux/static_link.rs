//! Symbols that glibc's loader would otherwise load from shared libraries at every start, which takes as long as
//! connecting.

// The unwinder, which is `libgcc_s` when it is linked dynamically.
// SAFETY: no item is declared; the block only names a library.
#[link(name = "gcc_eh", kind = "static", modifiers = "-bundle")]
unsafe extern "C" {}

/// Replaces the one function of `libm` that the program calls: indicatif estimates a rate with it (pow(3)).
// SAFETY: the signature is that of pow(3), and no other symbol of this name is linked.
#[unsafe(no_mangle)]
extern "C" fn pow(base: f64, exponent: f64) -> f64 {
    libm::pow(base, exponent)
}
