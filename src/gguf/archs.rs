//! The architectures that the pinned llama.cpp runs, and what its code assumes of each.
//! Taken from `LLM_ARCH_NAMES`, `llm_arch_is_recurrent`, `llm_arch_is_hybrid` (llama-arch.cpp),
//! `llama_model_rope_type` (llama-model.cpp) and the assertions in src/models/*.cpp.

use Family::{Hybrid, Recurrent, Transformer};

/// How an architecture remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// Attention in (nearly) all layers.
    Transformer,
    /// A recurrent state and no attention.
    Recurrent,
    /// Both, by layer.
    Hybrid,
}

/// What the graph code assumes of one architecture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arch {
    /// `general.architecture`.
    pub(super) name: &'static str,
    pub(super) family: Family,
    /// The graph asserts that keys and values of a head have the same length.
    pub(super) key_is_value: bool,
    /// The graph asserts that all of a head is rotated.
    pub(super) head_is_rope: bool,
    /// The model uses rotary embeddings.
    pub(super) rope: bool,
}

const fn arch(
    name: &'static str,
    family: Family,
    key_is_value: bool,
    head_is_rope: bool,
    rope: bool,
) -> Arch {
    Arch { name, family, key_is_value, head_is_rope, rope }
}

/// Finds an architecture by its name.
pub(super) fn find(name: &str) -> Option<&'static Arch> {
    ARCHS.binary_search_by(|a| a.name.cmp(name)).ok().map(|i| &ARCHS[i])
}

/// The known name that is most like `name`, if one is near.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let name: String = name.chars().take(64).collect::<String>().to_lowercase();
    let (distance, best) = ARCHS.iter().map(|a| (edit_distance(&name, a.name), a.name)).min()?;
    (distance <= best.len().max(name.len()) / 3 + 1).then_some(best)
}

/// Levenshtein distance, in code points.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, &cb) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(ca != cb);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// All but `clip` and `gptj`, which the pinned tree names and cannot run. Ordered by name.
#[rustfmt::skip]
const ARCHS: &[Arch] = &[
    arch("afmoe", Transformer, true, false, true),
    arch("apertus", Transformer, true, true, true),
    arch("arcee", Transformer, true, true, true),
    arch("arctic", Transformer, true, true, true),
    arch("arwkv7", Recurrent, false, false, false),
    arch("baichuan", Transformer, true, true, true),
    arch("bailingmoe", Transformer, false, false, true),
    arch("bailingmoe2", Transformer, true, false, true),
    arch("bailingmoe3", Hybrid, false, false, true),
    arch("bert", Transformer, true, false, true),
    arch("bitnet", Transformer, true, false, true),
    arch("bloom", Transformer, true, false, false),
    arch("chameleon", Transformer, true, true, true),
    arch("chatglm", Transformer, true, false, true),
    arch("clef", Transformer, true, false, true),
    arch("codeshell", Transformer, true, true, true),
    arch("cogvlm", Transformer, true, true, true),
    arch("cohere2", Transformer, true, false, true),
    arch("cohere2moe", Transformer, true, true, true),
    arch("command-r", Transformer, true, false, true),
    arch("dbrx", Transformer, true, true, true),
    arch("deci", Transformer, true, true, true),
    arch("deepseek", Transformer, true, true, true),
    arch("deepseek2", Transformer, false, false, true),
    arch("deepseek2-ocr", Transformer, false, false, true),
    arch("deepseek32", Transformer, false, false, true),
    arch("deepseek4", Hybrid, false, false, true),
    arch("dflash", Transformer, true, false, true),
    arch("dots1", Transformer, true, true, true),
    arch("dots3note", Transformer, false, false, true),
    arch("dream", Transformer, true, true, true),
    arch("eagle3", Transformer, true, false, true),
    arch("ernie4_5", Transformer, true, true, true),
    arch("ernie4_5-moe", Transformer, false, false, true),
    arch("eurobert", Transformer, true, false, true),
    arch("exaone", Transformer, true, true, true),
    arch("exaone-moe", Transformer, true, true, true),
    arch("exaone4", Transformer, true, true, true),
    arch("falcon", Transformer, true, true, true),
    arch("falcon-h1", Hybrid, false, false, true),
    arch("gemma", Transformer, false, false, true),
    arch("gemma-embedding", Transformer, false, false, true),
    arch("gemma2", Transformer, false, false, true),
    arch("gemma3", Transformer, false, false, true),
    arch("gemma3n", Transformer, false, false, true),
    arch("gemma4", Transformer, false, false, true),
    arch("gemma4-assistant", Transformer, false, false, true),
    arch("glm-dsa", Transformer, false, false, true),
    arch("glm4", Transformer, true, false, true),
    arch("glm4moe", Transformer, true, false, true),
    arch("glm5-next", Hybrid, false, false, false),
    arch("gpt-oss", Transformer, false, false, true),
    arch("gpt2", Transformer, true, false, false),
    arch("gptneox", Transformer, true, false, true),
    arch("granite", Transformer, true, true, true),
    arch("granite_swa", Transformer, true, true, true),
    arch("granitehybrid", Hybrid, true, false, true),
    arch("granitemoe", Transformer, false, false, true),
    arch("graniteswitch", Transformer, true, true, true),
    arch("grok", Transformer, true, true, true),
    arch("grovemoe", Transformer, true, true, true),
    arch("hrm_text", Transformer, false, false, true),
    arch("hunyuan-dense", Transformer, false, false, true),
    arch("hunyuan-moe", Transformer, true, true, true),
    arch("hunyuan_vl", Transformer, true, true, true),
    arch("hy_v3", Transformer, true, true, true),
    arch("hy_v4", Transformer, false, false, true),
    arch("internlm2", Transformer, true, true, true),
    arch("jais", Transformer, true, false, false),
    arch("jais2", Transformer, true, true, true),
    arch("jamba", Hybrid, false, false, false),
    arch("jina-bert-v2", Transformer, false, false, false),
    arch("jina-bert-v3", Transformer, false, false, true),
    arch("kimi-k3", Hybrid, false, false, false),
    arch("kimi-linear", Hybrid, false, false, false),
    arch("laguna", Transformer, true, false, true),
    arch("lfm2", Hybrid, false, false, true),
    arch("lfm2moe", Hybrid, false, false, true),
    arch("llada", Transformer, true, true, true),
    arch("llada-moe", Transformer, true, true, true),
    arch("llama", Transformer, true, true, true),
    arch("llama-embed", Transformer, false, false, true),
    arch("llama4", Transformer, true, true, true),
    arch("maincoder", Transformer, true, true, true),
    arch("mamba", Recurrent, false, false, false),
    arch("mamba2", Recurrent, false, false, false),
    arch("maple", Transformer, true, false, true),
    arch("mellum", Transformer, true, true, true),
    arch("mimo2", Transformer, false, false, true),
    arch("minicpm", Transformer, false, false, true),
    arch("minicpm3", Transformer, false, false, true),
    arch("minimax-01", Hybrid, true, false, true),
    arch("minimax-m2", Transformer, true, false, true),
    arch("minimax-m3", Transformer, true, false, true),
    arch("mistral3", Transformer, true, true, true),
    arch("mistral4", Transformer, false, false, true),
    arch("modern-bert", Transformer, true, false, true),
    arch("mpt", Transformer, true, false, false),
    arch("muse-glimmer", Transformer, true, false, true),
    arch("nanbeige", Transformer, true, false, true),
    arch("nemotron", Transformer, true, false, true),
    arch("nemotron_h", Hybrid, true, false, false),
    arch("nemotron_h_moe", Hybrid, false, false, false),
    arch("neo-bert", Transformer, true, false, true),
    arch("nomic-bert", Transformer, false, false, true),
    arch("nomic-bert-moe", Transformer, false, false, true),
    arch("olmo", Transformer, true, true, true),
    arch("olmo2", Transformer, true, true, true),
    arch("olmoe", Transformer, true, true, true),
    arch("openelm", Transformer, true, false, true),
    arch("orion", Transformer, true, true, true),
    arch("paddleocr", Transformer, false, false, true),
    arch("pangu-embedded", Transformer, true, true, true),
    arch("phi2", Transformer, true, false, true),
    arch("phi3", Transformer, true, false, true),
    arch("phimoe", Transformer, false, false, true),
    arch("plamo", Transformer, true, true, true),
    arch("plamo2", Hybrid, false, false, true),
    arch("plamo3", Transformer, false, false, true),
    arch("plm", Transformer, false, false, true),
    arch("pockettts", Transformer, true, true, true),
    arch("qwen", Transformer, true, false, true),
    arch("qwen2", Transformer, true, true, true),
    arch("qwen2moe", Transformer, true, true, true),
    arch("qwen2vl", Transformer, true, true, true),
    arch("qwen3", Transformer, true, true, true),
    arch("qwen35", Hybrid, true, false, true),
    arch("qwen35moe", Hybrid, true, false, true),
    arch("qwen3moe", Transformer, true, true, true),
    arch("qwen3next", Hybrid, true, false, true),
    arch("qwen3tts", Transformer, false, false, true),
    arch("qwen3vl", Transformer, true, true, true),
    arch("qwen3vlmoe", Transformer, true, true, true),
    arch("qwen4exp", Hybrid, true, false, true),
    arch("refact", Transformer, true, false, false),
    arch("rnd1", Transformer, true, true, true),
    arch("rwkv6", Recurrent, false, false, false),
    arch("rwkv6qwen2", Recurrent, false, false, false),
    arch("rwkv7", Recurrent, false, false, false),
    arch("seed_oss", Transformer, true, true, true),
    arch("smallthinker", Transformer, true, true, true),
    arch("smollm3", Transformer, true, true, true),
    arch("spark2_5", Transformer, true, false, true),
    arch("stablelm", Transformer, true, false, true),
    arch("starcoder", Transformer, true, false, true),
    arch("starcoder2", Transformer, true, true, true),
    arch("step35", Transformer, false, false, true),
    arch("t5", Transformer, true, false, false),
    arch("t5encoder", Transformer, false, false, false),
    arch("talkie", Transformer, true, true, true),
    arch("wavtokenizer-dec", Transformer, false, false, false),
    arch("xverse", Transformer, true, true, true),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ordered_and_found() {
        assert!(ARCHS.is_sorted_by(|a, b| a.name < b.name));
        assert!(find("qwen2").is_some_and(|a| a.rope && a.head_is_rope));
        assert!(find("mamba").is_some_and(|a| a.family == Recurrent && !a.rope));
        assert!(find("clip").is_none());
    }

    #[test]
    fn the_nearest_name_is_near() {
        assert_eq!(nearest("lama"), Some("llama"));
        assert_eq!(nearest("Qwen-2"), Some("qwen2"));
        assert_eq!(nearest("stable-diffusion-xl"), None);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
    }
}
