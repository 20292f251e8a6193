//! The crate's own source, read as syntax: which file is which module, and what each imports.

use std::{collections::BTreeSet, fs, path::Path};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// One file under `src/`.
pub(crate) struct Source {
    /// From the repository's root, such as `src/http/error.rs`.
    pub(crate) path: String,
    /// The module path within the crate: `["http", "error"]`; empty for `lib.rs`.
    pub(crate) module: Vec<String>,
    pub(crate) text: String,
    pub(crate) syntax: syn::File,
}

/// Every file under `src/`, sorted by path.
pub(crate) fn all() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    collect(root, &root.join("src"), &mut sources);
    sources.sort_by(|a: &Source, b| a.path.cmp(&b.path));
    assert!(sources.len() > 20, "only {} files found under src/", sources.len());
    sources
}

fn collect(root: &Path, folder: &Path, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, sources);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let path = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let syntax = syn::parse_file(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
            sources.push(Source { module: module_of(&path), path, text, syntax });
        }
    }
}

fn module_of(path: &str) -> Vec<String> {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    let mut module: Vec<String> = inner.split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| last == "mod" || last == "lib" || last == "main") {
        module.pop();
    }
    module
}

/// The top-level modules of this crate that a file names anywhere: in `use`, in a path, within a
/// macro's or an attribute's tokens; through `crate::`, `txcat::` or enough `super::`.
pub(crate) fn named_modules(source: &Source) -> BTreeSet<String> {
    let mut names = Names { module: source.module.clone(), found: BTreeSet::new() };
    names.visit_file(&source.syntax);
    names.found
}

struct Names {
    module: Vec<String>,
    found: BTreeSet<String>,
}

impl Names {
    fn path(&mut self, segments: &[String]) {
        let Some(first) = segments.first() else { return };
        let absolute: Vec<String> = match first.as_str() {
            "crate" | "txcat" => segments[1..].to_vec(),
            "super" | "self" => {
                let mut absolute = self.module.clone();
                let mut rest = segments;
                while let Some((step @ ("super" | "self"), others)) = rest.split_first().map(|(s, o)| (s.as_str(), o)) {
                    if step == "super" {
                        absolute.pop();
                    }
                    rest = others;
                }
                absolute.extend_from_slice(rest);
                absolute
            }
            _ => return,
        };
        self.found.extend(absolute.into_iter().next());
    }

    fn use_tree(&mut self, before: &mut Vec<String>, tree: &syn::UseTree) {
        match tree {
            syn::UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.use_tree(before, &path.tree);
                before.pop();
            }
            syn::UseTree::Group(group) => group.items.iter().for_each(|item| self.use_tree(before, item)),
            syn::UseTree::Name(syn::UseName { ident }) | syn::UseTree::Rename(syn::UseRename { ident, .. }) => {
                before.push(ident.to_string());
                self.path(before);
                before.pop();
            }
            syn::UseTree::Glob(_) => {
                assert!(before != &["crate"], "`use crate::*` hides what a module imports");
                self.path(before);
            }
        }
    }

    /// Tokens that syn leaves unparsed: runs of `ident :: ident`.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.path(&path);
                        path.clear();
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    assert!(!(colons == 2 && path == ["crate"]), "a macro imports a group from the crate's root");
                    self.tokens(group.stream());
                    colons = 0;
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => colons = 0,
            }
        }
        self.path(&path);
    }
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.use_tree(&mut Vec::new(), &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.path(&path.segments.iter().map(|segment| segment.ident.to_string()).collect::<Vec<_>>());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }

    fn visit_meta_list(&mut self, meta: &'ast syn::MetaList) {
        self.tokens(meta.tokens.clone());
        visit::visit_meta_list(self, meta);
    }
}

#[test]
fn every_way_of_naming_a_module_is_seen() {
    let text = "
        use crate::{domain::Slug, store::{self, Store}};
        use super::super::clock as wall;
        use super::error::Error;
        fn f(x: crate::enrich::Enricher) { println!(\"{}\", crate::prompt::LEN + g::<crate::model::Encoder>()); }
        #[utoipa::path(body = crate::access::Key)]
        fn g() {}
        mod tests { use super::super::super::evaluate; }
    ";
    let source = Source {
        path: "src/http/deep.rs".to_owned(),
        module: vec!["http".to_owned(), "deep".to_owned()],
        text: text.to_owned(),
        syntax: syn::parse_file(text).unwrap(),
    };
    let found: Vec<String> = named_modules(&source).into_iter().collect();
    assert_eq!(found, ["access", "clock", "domain", "enrich", "evaluate", "http", "model", "prompt", "store"]);
}
