//! A model file in memory: prompts in, the probability of each answer of a closed set out.
//!
//! Nothing is generated. What a prompt begins with and the last one began with too is not read again.

use std::{
    fs::File,
    io::BufReader,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use candle_core::quantized::gguf_file::Content;

use super::{
    super::{Answer, Ask, Reply, Usage},
    Error, Stats,
    template::Template,
    tokenizer::Tokenizer,
    transformer::{Kept, Transformer, Tree},
    trie::{Trie, shares},
};

/// Tokens of a prompt that are read together: more would take memory for nothing.
const CHUNK: usize = 256;
/// Answers told beside the first.
const OTHERS: usize = 4;

/// Counts that a thread adds to and others read.
#[derive(Debug, Default)]
pub(super) struct Counts {
    prompts: AtomicU64,
    forwarded: AtomicU64,
    cached: AtomicU64,
}

impl Counts {
    pub(super) fn stats(&self) -> Stats {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Stats { prompts: of(&self.prompts), forwarded: of(&self.forwarded), cached: of(&self.cached) }
    }
}

/// Scores answers.
pub(super) struct Scorer {
    transformer: Transformer,
    tokenizer: Tokenizer,
    template: Template,
    /// The prompt that was read last, and what is kept of each of its tokens.
    read: Vec<u32>,
    kept: Kept,
    counts: Arc<Counts>,
}

impl Scorer {
    /// Reads a model file, and a tokenizer beside it where one is named.
    pub(super) fn open(path: &Path, tokenizer: Option<&Path>, counts: Arc<Counts>) -> Result<Self, Error> {
        let file = File::open(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
        let mut file = BufReader::new(file);
        let malformed = |source| Error::Malformed { path: path.to_owned(), source };
        let content = Content::read(&mut file).map_err(malformed)?;
        let transformer = Transformer::read(&content, &mut file).map_err(|error| match error {
            Error::Compute(source) => malformed(source),
            error => error,
        })?;
        let tokenizer = Tokenizer::read(&content, tokenizer)?;
        if tokenizer.size() > transformer.vocabulary() {
            let key = "token_embd.weight".to_owned();
            return Err(Error::Metadata { key, says: "has fewer rows than the tokenizer has tokens" });
        }
        let template = Template::read(&content, &tokenizer)?;
        Ok(Self { transformer, tokenizer, template, read: Vec::new(), kept: Kept::default(), counts })
    }

    /// Tokens of a text in which nothing is a mark.
    pub(super) fn tokens(&self, text: &str) -> Result<Vec<u32>, Error> {
        self.tokenizer.plain(text)
    }

    /// What these tokens say of the next one: one number for each token of the vocabulary.
    pub(super) fn next(&mut self, tokens: &[u32]) -> Result<Vec<f32>, Error> {
        let Some((&last, before)) = tokens.split_last() else { return Ok(Vec::new()) };
        self.fits(tokens.len())?;
        self.advance(before, &|| Ok(()))?;
        let mut logits = self.look(&Tree { tokens: vec![last], parents: vec![None] })?;
        Ok(logits.pop().unwrap_or_default())
    }

    /// The most probable answer for each id, and those that come next. `goes_on` is asked between parts of the work.
    pub(super) fn ask(&mut self, ask: &Ask, goes_on: &dyn Fn() -> Result<(), Error>) -> Result<Reply, Error> {
        let prompt = self.template.prompt(&self.tokenizer, &ask.system, &ask.user)?;
        let mut usage = Usage::default();
        let mut answers = Vec::with_capacity(ask.ids.len());
        for id in &ask.ids {
            let (answer, used) = self.answer(&prompt, id, ask, goes_on)?;
            answers.push(Ok(answer));
            usage += used;
        }
        Ok(Reply { answers, usage })
    }

    fn answer(
        &mut self,
        prompt: &[u32],
        id: &str,
        ask: &Ask,
        goes_on: &dyn Fn() -> Result<(), Error>,
    ) -> Result<(Answer, Usage), Error> {
        let (shared, answers) = self.answers(id, ask)?;
        let prompt: Vec<u32> = prompt.iter().chain(&shared).copied().collect();
        let (&root, before) = prompt.split_last().ok_or(Error::Template)?;
        let trie = Trie::new(root, &answers).ok_or(Error::Categories)?;
        self.fits(prompt.len() + trie.depth())?;
        let cached = self.advance(before, goes_on)?;
        goes_on()?;
        let shares = shares(&trie.scores(&self.look(&trie.tree)?));
        self.counts.prompts.fetch_add(1, Ordering::Relaxed);
        let mut ranked: Vec<(usize, f32)> = shares.into_iter().map(|share| share as f32).enumerate().collect();
        ranked.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        let mut ranked = ranked.into_iter().map(|(at, share)| (ask.categories[at].clone(), share));
        let (category, confidence) = ranked.next().ok_or(Error::Categories)?;
        let answer = Answer { category, confidence: Some(confidence), others: ranked.take(OTHERS).collect() };
        let count = |tokens: usize| u32::try_from(tokens).unwrap_or(u32::MAX);
        Ok((answer, Usage { prompt: count(prompt.len()), cached: count(cached), ..Usage::default() }))
    }

    /// The whole answer for an id with each category: the tokens that all begin with, and what follows them.
    ///
    /// Cut into tokens as one text, because a category's letters may share a token with the marks around them.
    fn answers(&self, id: &str, ask: &Ask) -> Result<(Vec<u32>, Vec<Vec<u32>>), Error> {
        let id = serde_json::Value::from(id);
        let whole = |category: &crate::domain::Slug| {
            self.tokenizer.plain(&format!(r#"{{"answers":[{{"id":{id},"category":"{category}"}}]}}"#))
        };
        let mut answers = ask.categories.iter().map(whole).collect::<Result<Vec<Vec<u32>>, Error>>()?;
        let first = answers.first().ok_or(Error::Categories)?;
        let alike = |other: &Vec<u32>| first.iter().zip(other).take_while(|(a, b)| a == b).count();
        // Of a single category the last token is left, so that something is asked.
        let shared = answers.iter().map(alike).min().unwrap_or(0).min(first.len().saturating_sub(1));
        let begin = first[..shared].to_vec();
        answers.iter_mut().for_each(|answer| drop(answer.drain(..shared)));
        Ok((begin, answers))
    }

    fn fits(&self, tokens: usize) -> Result<(), Error> {
        let most = self.transformer.config.context;
        if tokens > most { Err(Error::TooLong { tokens, most }) } else { Ok(()) }
    }

    /// Brings what is kept to these tokens; how many of them were kept before. What was read stays, even where
    /// `goes_on` ends it.
    fn advance(&mut self, tokens: &[u32], goes_on: &dyn Fn() -> Result<(), Error>) -> Result<usize, Error> {
        let alike = self.read.iter().zip(tokens).take_while(|(a, b)| a == b).count();
        self.kept.truncate(alike)?;
        self.read.truncate(alike);
        self.counts.cached.fetch_add(alike as u64, Ordering::Relaxed);
        for chunk in tokens[alike..].chunks(CHUNK) {
            goes_on()?;
            let (_, kept) = self.transformer.forward(&Tree::line(chunk), &self.kept)?;
            self.kept = kept;
            self.read.extend_from_slice(chunk);
            self.counts.forwarded.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        }
        Ok(alike)
    }

    /// Reads tokens behind what is kept, and keeps nothing of them.
    fn look(&self, tree: &Tree) -> Result<Vec<Vec<f32>>, Error> {
        let (hidden, _) = self.transformer.forward(tree, &self.kept)?;
        self.counts.forwarded.fetch_add(tree.tokens.len() as u64, Ordering::Relaxed);
        self.transformer.logits(&hidden)
    }
}
