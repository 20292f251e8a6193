//! A model's chat form: what stands before, between and behind what it is told.
//!
//! The template is filled in once, with stand-ins, and cut at them: whatever a text says, the form stays.

use candle_core::quantized::gguf_file::Content;
use minijinja::{Environment, context, syntax::SyntaxConfig};

use super::{Error, config::Metadata, tokenizer::Tokenizer};

/// Stand for the system's and the user's words: characters that no template has.
const SYSTEM: &str = "\u{e000}system\u{e000}";
const USER: &str = "\u{e000}user\u{e000}";

/// The tokens around what a model is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    before: Vec<u32>,
    between: Vec<u32>,
    behind: Vec<u32>,
}

impl Template {
    /// The file's own, or where that can't be used ChatML's or Llama 3's, whichever the vocabulary has the marks of.
    pub(super) fn read(content: &Content, tokenizer: &Tokenizer) -> Result<Self, Error> {
        let of = Metadata(content);
        let begins = of.number("tokenizer.ggml.bos_token_id")?.and_then(|token| u32::try_from(token).ok());
        let name = |key: &str| {
            let token = of.number(key).ok().flatten().and_then(|token| u32::try_from(token).ok());
            token.and_then(|token| tokenizer.name(token)).unwrap_or_default()
        };
        let (bos, eos) = (name("tokenizer.ggml.bos_token_id"), name("tokenizer.ggml.eos_token_id"));
        let own = of.text("tokenizer.chat_template").and_then(|template| {
            let filled = fill(template, &bos, &eos);
            if let Err(error) = &filled {
                tracing::warn!(error = %error, "the model file's chat template can't be used: a known form stands in");
            }
            cut(&filled.ok()?)
        });
        let [before, between, behind] = own.or_else(|| known(tokenizer, &bos)).ok_or(Error::Template)?;
        let mut before = tokenizer.marked(&before)?;
        if of.flag("tokenizer.ggml.add_bos_token") == Some(true)
            && let Some(token) = begins
            && before.first() != Some(&token)
        {
            before.insert(0, token);
        }
        Ok(Self { before, between: tokenizer.marked(&between)?, behind: tokenizer.marked(&behind)? })
    }

    /// The tokens of a prompt, up to where the answer begins.
    pub(super) fn prompt(&self, tokenizer: &Tokenizer, system: &str, user: &str) -> Result<Vec<u32>, Error> {
        let (system, user) = (tokenizer.plain(system.trim())?, tokenizer.plain(user.trim())?);
        Ok([&self.before, &system, &self.between, &user, &self.behind].into_iter().flatten().copied().collect())
    }
}

fn fill(template: &str, bos: &str, eos: &str) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", |says: String| -> Result<String, minijinja::Error> {
        Err(minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, says))
    });
    environment.template_from_str(template)?.render(context! {
        messages => [
            context! { role => "system", content => SYSTEM },
            context! { role => "user", content => USER },
        ],
        bos_token => bos,
        eos_token => eos,
        add_generation_prompt => true,
        // A model that could think first would not begin with the answer.
        enable_thinking => false,
    })
}

/// The parts around the stand-ins, where each stands once, the system's first.
fn cut(filled: &str) -> Option<[String; 3]> {
    let (before, rest) = filled.split_once(SYSTEM)?;
    let (between, behind) = rest.split_once(USER)?;
    let parts = [before, between, behind];
    parts.iter().all(|part| !part.contains('\u{e000}')).then(|| parts.map(str::to_owned))
}

fn known(tokenizer: &Tokenizer, bos: &str) -> Option<[String; 3]> {
    let has = |marks: &[&str]| marks.iter().all(|mark| tokenizer.mark(mark).is_some());
    if has(&["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]) {
        let head = |role: &str| format!("<|start_header_id|>{role}<|end_header_id|>\n\n");
        let end = "<|eot_id|>";
        return Some([
            format!("{bos}{}", head("system")),
            format!("{end}{}", head("user")),
            format!("{end}{}", head("assistant")),
        ]);
    }
    has(&["<|im_start|>", "<|im_end|>"]).then(|| {
        ["<|im_start|>system\n", "<|im_end|>\n<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"]
            .map(str::to_owned)
    })
}
