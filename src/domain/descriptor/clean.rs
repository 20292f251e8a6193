//! Makes text that came from anywhere safe to store, show and compare.

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use super::KEPT_CHARS;

/// NFKC; no control, format or bidirectional characters; white space of any kind as a blank; trimmed;
/// at most [`KEPT_CHARS`]. Runs of blanks stay: in fixed-width texts they separate columns.
pub(super) fn clean(raw: &str) -> String {
    if raw.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        return raw.trim_matches(' ').chars().take(KEPT_CHARS).collect::<String>().trim_end().to_owned();
    }
    let mut text = String::with_capacity(raw.len());
    let visible = raw.chars().filter(|&c| !invisible(c)).map(|c| if c.is_whitespace() { ' ' } else { c });
    // Normalizing may bring blanks of its own (a lone accent becomes blank + combining accent).
    let normal = visible.nfkc().filter(|&c| !invisible(c)).map(|c| if c.is_whitespace() { ' ' } else { c });
    text.extend(normal.skip_while(|&c| c == ' ').take(KEPT_CHARS));
    text.truncate(text.trim_end().len());
    text
}

/// Controls (tab and line ends apart: they are white space), soft hyphen, zero-width and bidirectional
/// marks, variation selectors, tags, interlinear annotation, private use, noncharacters.
fn invisible(c: char) -> bool {
    if c.is_whitespace() {
        return false;
    }
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{3164}' | '\u{ffa0}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{fff0}'..='\u{ffff}'
            | '\u{fdd0}'..='\u{fdef}'
            | '\u{e000}'..='\u{f8ff}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{10ffff}')
}

/// Decomposed text without marks that only decorate the letter before them, which writers leave out: accents of Latin, Greek and
/// Cyrillic letters, points of Hebrew and Arabic ones. What makes another letter stays: voicing marks of kana, vowel signs and
/// other marks of Indic scripts, tones of Thai, the breve of й.
pub(crate) fn undecorated(decomposed: impl Iterator<Item = char>) -> impl Iterator<Item = char> {
    let mut letter = ' ';
    decomposed.filter(move |&c| {
        if !is_combining_mark(c) {
            letter = c;
            return true;
        }
        match c {
            '\u{306}' => matches!(letter, 'и' | 'И'),
            '\u{300}'..='\u{36f}'
            | '\u{591}'..='\u{5c7}'
            | '\u{610}'..='\u{61a}'
            | '\u{64b}'..='\u{65f}'
            | '\u{670}'
            | '\u{6d6}'..='\u{6ed}'
            | '\u{1ab0}'..='\u{1aff}'
            | '\u{1dc0}'..='\u{1dff}'
            | '\u{20d0}'..='\u{20ff}'
            | '\u{fe20}'..='\u{fe2f}' => false,
            _ => true,
        }
    })
}

/// Letters as a reader would type them on a plain keyboard: lower case, without accents.
pub(super) fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let mut folded = String::with_capacity(text.len());
    // Lower case first: some capitals decompose only then. Decomposed again after, so that folding twice changes nothing.
    for c in undecorated(text.chars().flat_map(char::to_lowercase).nfkd()) {
        match c {
            '\u{2018}' | '\u{2019}' | '\u{201b}' | '\u{2b9}' | '\u{2bc}' | '\u{b4}' | '`' => folded.push('\''),
            '\u{2010}'..='\u{2015}' | '\u{2212}' => folded.push('-'),
            'ß' => folded.push_str("ss"),
            'æ' => folded.push_str("ae"),
            'œ' => folded.push_str("oe"),
            'ø' => folded.push('o'),
            'đ' | 'ð' => folded.push('d'),
            'ł' => folded.push('l'),
            'þ' => folded.push_str("th"),
            'ı' => folded.push('i'),
            c => folded.extend(c.to_lowercase()),
        }
    }
    // Composed again (Hangul syllables): cleaning a folded text then changes nothing.
    folded.nfkc().collect()
}
