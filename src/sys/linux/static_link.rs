//! What glibc's loader would otherwise fetch from libraries of its own, on every start: that takes as long
//! as to connect.

// The unwinder, which is `libgcc_s` as a library.
#[link(name = "gcc_eh", kind = "static", modifiers = "-bundle")]
unsafe extern "C" {}

/// The one function of `libm` that the program calls: indicatif does, to estimate a rate (pow(3)).
#[unsafe(no_mangle)]
extern "C" fn pow(base: f64, exponent: f64) -> f64 {
    libm::pow(base, exponent)
}
