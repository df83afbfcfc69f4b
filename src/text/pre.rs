//! How byte-level BPE cuts text into words before merging, by the name that GGUF files give it.
//! The patterns are those of the checkpoints' `tokenizer.json`; the names are llama.cpp's
//! (`llama-vocab.cpp`). A name that is not here is refused, never replaced by a default.

/// One pre-tokenizer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pre {
    /// Each cuts what the one before left.
    pub(super) patterns: &'static [&'static str],
    /// Whether a BOS goes in front where the file does not say.
    pub(super) adds_bos: bool,
    /// Whether a word that is a token is taken without merging.
    pub(super) ignore_merges: bool,
    /// Whether the text is composed first (Unicode NFC).
    pub(super) nfc: bool,
    /// Whether tokens are characters with spaces as `▁`, not GPT-2's byte alphabet.
    pub(super) escaped: bool,
}

/// GPT-2's pattern (Radford et al. 2019).
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
/// Qwen 2's: digits one by one.
pub(super) const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Lines and the breaks between them.
pub(super) const LINES: &str = r"[^\n]+|[\n]+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN35: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const DEEPSEEK3: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##;
const CJK: &str = "[一-龥\u{3040}-ゟ゠-ヿ]+";
/// Letters that have case, written as numbers: some of them look like others.
const DEEPSEEK_LETTERS: &str = "\
    \\s?[A-Za-z\u{B5}\u{C0}-\u{D6}\u{D8}-\u{F6}\u{F8}-\u{1BA}\u{1BC}-\u{1BF}\u{1C4}-\u{293}\
    \u{295}-\u{2AF}\u{370}-\u{373}\u{376}\u{377}\u{37B}-\u{37D}\u{37F}\u{386}\u{388}-\u{38A}\
    \u{38C}\u{38E}-\u{3A1}\u{3A3}-\u{3F5}\u{3F7}-\u{481}\u{48A}-\u{52F}\u{531}-\u{556}\
    \u{10A0}-\u{10C5}\u{13A0}-\u{13F5}\u{13F8}-\u{13FD}\u{1C90}-\u{1CBA}\u{1CBD}-\u{1CBF}\
    \u{1D00}-\u{1D2B}\u{1D6B}-\u{1D77}\u{1D79}-\u{1D9A}\u{1E00}-\u{1F15}\u{1F18}-\u{1F1D}\
    \u{1F20}-\u{1F45}\u{1F48}-\u{1F4D}\u{1F50}-\u{1F57}\u{1F59}\u{1F5B}\u{1F5D}\u{1F5F}-\u{1F7D}\
    \u{1F80}-\u{1FB4}\u{1FB6}-\u{1FBC}\u{1FBE}\u{1FC2}-\u{1FC4}\u{1FC6}-\u{1FCC}\
    \u{1FD0}-\u{1FD3}\u{1FD6}-\u{1FDB}\u{1FE0}-\u{1FEC}\u{1FF2}-\u{1FF4}\u{1FF6}-\u{1FFC}\
    \u{2102}\u{2107}\u{210A}-\u{2113}\u{2115}\u{2119}-\u{211D}\u{2124}\u{2126}\u{2128}\
    \u{212A}-\u{212D}\u{212F}-\u{2134}\u{2139}\u{213C}-\u{213F}\u{2145}-\u{2149}\u{214E}\u{2183}\
    \u{2184}\u{2C00}-\u{2C7B}\u{2C7E}-\u{2CE4}\u{2CEB}-\u{2CEE}\u{2CF2}\u{2CF3}\u{A640}-\u{A66D}\
    \u{A680}-\u{A69B}\u{A722}-\u{A76F}\u{A771}-\u{A787}\u{A78B}-\u{A78E}\u{AB70}-\u{ABBF}\
    \u{FB00}-\u{FB06}\u{FB13}-\u{FB17}\u{FF21}-\u{FF3A}\u{FF41}-\u{FF5A}\u{10400}-\u{1044F}\
    \u{104B0}-\u{104D3}\u{104D8}-\u{104FB}\u{10C80}-\u{10CB2}\u{10CC0}-\u{10CF2}\
    \u{118A0}-\u{118DF}\u{1E900}-\u{1E943}]+";
const FALCON_MARKS: &str = r"[\p{P}\$\+<=>\^~\|`]+";
const THREE_DIGITS: &str = "[0-9][0-9][0-9]";
const BLOOM: &str = r" ?[^(\s|.,!?…。，、।۔،)]+";

const PLAIN: Pre =
    Pre { patterns: &[GPT2], adds_bos: false, ignore_merges: false, nfc: false, escaped: false };

/// The names, and what each means.
const TABLE: &[(&[&str], Pre)] = &[
    (
        &[
            "gpt-2",
            "phi-2",
            "mpt",
            "olmo",
            "jais",
            "trillion",
            "granite-docling",
            "gigachat",
            "a.x-4.0",
            "mellum",
            "modern-bert",
            "exaone4",
        ],
        PLAIN,
    ),
    (
        &["llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"],
        Pre { patterns: &[LLAMA3], adds_bos: true, ignore_merges: true, ..PLAIN },
    ),
    (&["dbrx", "smaug-bpe", "chatglm-bpe"], Pre { patterns: &[LLAMA3], ..PLAIN }),
    (&["glm4", "glm5"], Pre { patterns: &[LLAMA3], ignore_merges: true, ..PLAIN }),
    (&["minicpm5"], Pre { patterns: &[r"\p{N}{1,3}", LLAMA3], ignore_merges: true, ..PLAIN }),
    (
        &["qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "hunyuan", "solar-open"],
        Pre { patterns: &[QWEN2], nfc: true, ..PLAIN },
    ),
    (&["stablelm2", "grok-2"], Pre { patterns: &[QWEN2], ..PLAIN }),
    (&["qwen35"], Pre { patterns: &[QWEN35], nfc: true, ..PLAIN }),
    (&["laguna"], Pre { patterns: &[LINES, QWEN2], ..PLAIN }),
    (
        &[
            "smollm",
            "starcoder",
            "refact",
            "command-r",
            "codeshell",
            "exaone",
            "minerva-7b",
            "mellum2",
        ],
        Pre { patterns: &[r"\p{N}", GPT2], ..PLAIN },
    ),
    (
        &["deepseek-llm"],
        Pre {
            patterns: &[
                r"[\r\n]",
                DEEPSEEK_LETTERS,
                r"\s?[!-/:-~！-／：-～‘-‟\u{3000}-。]+",
                r"\s+$",
                "[一-龥ࠀ-一가-\u{D7FF}]+",
                r"\p{N}+",
            ],
            ..PLAIN
        },
    ),
    (
        &["deepseek-coder"],
        Pre {
            patterns: &[r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-\u{D7FF}]+", r"\p{N}"],
            ..PLAIN
        },
    ),
    (
        &["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"],
        Pre { patterns: &[r"\p{N}{1,3}", CJK, DEEPSEEK3], ..PLAIN },
    ),
    (&["falcon"], Pre { patterns: &[FALCON_MARKS, GPT2, THREE_DIGITS], ..PLAIN }),
    (
        &["default"],
        Pre { patterns: &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", THREE_DIGITS], ..PLAIN },
    ),
    (&["poro-chat", "bloom", "gpt3-finnish"], Pre { patterns: &[BLOOM], ..PLAIN }),
    (&["viking"], Pre { patterns: &[BLOOM, r"\p{N}"], ..PLAIN }),
    (&["tekken"], Pre { patterns: &[TEKKEN], adds_bos: true, ignore_merges: true, ..PLAIN }),
    (&["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"], Pre { patterns: &[GPT4O], ..PLAIN }),
    (&["tiny_aya", "cohere2moe"], Pre { patterns: &[r"\d{1,3}(?=(?:\d{3})*\b)", GPT4O], ..PLAIN }),
    (
        &["bailingmoe", "bailingmoe2", "llada-moe"],
        Pre {
            patterns: &[
                r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
            ],
            ..PLAIN
        },
    ),
    (
        &["seed-coder"],
        Pre {
            patterns: &[
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+",
            ],
            ..PLAIN
        },
    ),
    (
        &["exaone-moe"],
        Pre {
            patterns: &[
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+",
            ],
            ..PLAIN
        },
    ),
    (&["superbpe"], Pre { patterns: &[r"\p{N}+", r"(?=(\d{3})+(?!\d))"], ..PLAIN }),
    (&["gemma4", "sarvam-moe"], Pre { patterns: &[LINES], adds_bos: true, escaped: true, ..PLAIN }),
];

/// What `name` means.
pub(super) fn find(name: &str) -> Option<Pre> {
    TABLE.iter().find(|(names, _)| names.contains(&name)).map(|(_, pre)| *pre)
}

/// All names.
pub(super) fn names() -> Vec<&'static str> {
    TABLE.iter().flat_map(|(names, _)| names.iter().copied()).collect()
}
