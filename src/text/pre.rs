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
const DEEPSEEK_LETTERS: &str = r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+";
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
