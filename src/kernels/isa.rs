//! Which instructions the processor has, found at run time. It computes nothing.

use std::cell::Cell;
use std::sync::OnceLock;

/// A level of instructions; each is faster than those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// Whatever the compiler makes of plain Rust, on any processor.
    Scalar,
    /// AVX2, FMA and F16C.
    Avx2,
    /// AVX-VNNI besides: products of bytes. Processors with AVX-512 need not have it.
    AvxVnni,
    /// AVX-512 F, BW, DQ, VL and VNNI.
    Avx512,
    /// Products of bf16 besides. Without AMX that is AMD's, whose processors want memory asked for
    /// into the second cache: into the first they read half as fast.
    Avx512Bf16,
    /// AMX tiles of bf16 besides.
    Amx,
}

thread_local! {
    static FORCED: Cell<Option<Isa>> = const { Cell::new(None) };
}

impl Isa {
    /// Every level, the lowest first.
    pub const ALL: [Self; 6] =
        [Self::Scalar, Self::Avx2, Self::AvxVnni, Self::Avx512, Self::Avx512Bf16, Self::Amx];

    /// The level that kernels called on this thread use: the processor's, or a lower one where the
    /// environment's `TAPER_ISA` (`scalar`, `avx2`, `avxvnni`, `avx512`, `avx512bf16`) or
    /// [`Isa::with`] asks for it.
    pub fn current() -> Self {
        FORCED.get().unwrap_or_else(Self::best)
    }

    /// The levels that this processor has, the lowest first.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|isa| *isa <= Self::best() && isa.granted() == *isa)
    }

    /// This level, or the next lower one where only the processors between lack it.
    fn granted(self) -> Self {
        match self {
            Self::AvxVnni if !avx_vnni() => Self::Avx2,
            Self::Avx512Bf16 if !avx512_bf16() => Self::Avx512,
            _ => self,
        }
    }

    /// Runs `f` at this level, or at the processor's where that is lower.
    pub fn with<R>(self, f: impl FnOnce() -> R) -> R {
        let before = FORCED.replace(Some(self.min(Self::best()).granted()));
        let result = f();
        FORCED.set(before);
        result
    }

    /// The name that `TAPER_ISA` knows it by.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::AvxVnni => "avxvnni",
            Self::Avx512 => "avx512",
            Self::Avx512Bf16 => "avx512bf16",
            Self::Amx => "amx",
        }
    }

    fn best() -> Self {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| {
            let asked = std::env::var("TAPER_ISA").unwrap_or_default();
            let asked = Self::ALL.into_iter().find(|isa| isa.name() == asked);
            detect().min(asked.unwrap_or(Self::Amx)).granted()
        })
    }
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Isa {
    let avx2 = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c");
    let avx512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni");
    match (avx2, avx512) {
        (true, true) if super::amx::usable() => Isa::Amx,
        (true, true) => Isa::Avx512Bf16.granted(),
        (true, false) => Isa::AvxVnni.granted(),
        _ => Isa::Scalar,
    }
}

#[cfg(target_arch = "x86_64")]
fn avx_vnni() -> bool {
    is_x86_feature_detected!("avxvnni")
}

#[cfg(target_arch = "x86_64")]
fn avx512_bf16() -> bool {
    is_x86_feature_detected!("avx512bf16")
}

#[cfg(not(target_arch = "x86_64"))]
fn avx_vnni() -> bool {
    false
}

#[cfg(not(target_arch = "x86_64"))]
fn avx512_bf16() -> bool {
    false
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> Isa {
    Isa::Scalar
}
