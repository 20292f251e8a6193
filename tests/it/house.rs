//! Rules of the house that no lint knows.

use syn::visit::{self, Visit};

use crate::source;

#[test]
fn every_module_says_what_it_is() {
    for source in source::all() {
        assert!(source.text.starts_with("//! "), "{} does not open with `//!`", source.path);
    }
}

#[test]
fn main_only_parses_and_dispatches() {
    let main = source::all().into_iter().find(|source| source.path == "src/main.rs").unwrap();
    assert!(main.text.lines().count() < 60, "main.rs has grown");
}

#[test]
fn sql_stands_in_the_store_alone() {
    for source in source::all() {
        let is_store = source.module.first().is_some_and(|module| module == "store");
        if !is_store {
            assert!(!mentions_sqlx(&source), "{} uses sqlx: queries belong in src/store", source.path);
        }
    }
}

fn mentions_sqlx(source: &source::Source) -> bool {
    struct Found(bool);
    impl<'ast> Visit<'ast> for Found {
        fn visit_ident(&mut self, ident: &'ast proc_macro2::Ident) {
            self.0 |= ident == "sqlx";
        }
        fn visit_macro(&mut self, call: &'ast syn::Macro) {
            self.0 |= call.tokens.to_string().contains("sqlx ::");
            visit::visit_macro(self, call);
        }
    }
    let mut found = Found(false);
    found.visit_file(&source.syntax);
    found.0
}

#[test]
fn queries_are_checked_when_the_crate_is_built() {
    for source in source::all() {
        for (number, line) in source.text.lines().enumerate() {
            let unchecked =
                ["sqlx::query(", "sqlx::query_as(", "sqlx::query_scalar(", "query_unchecked!", "query_as_unchecked!"];
            let found = unchecked.iter().find(|call| line.contains(*call));
            assert!(found.is_none(), "{}:{}: {} escapes the check", source.path, number + 1, found.unwrap_or(&""));
        }
    }
}

#[test]
fn lints_are_expected_with_a_reason_and_never_allowed() {
    for source in source::all() {
        for (number, line) in source.text.lines().enumerate() {
            let allows = line.trim_start().starts_with("#[allow(") || line.trim_start().starts_with("#![allow(");
            assert!(!allows, "{}:{}: `#[expect(.., reason = \"..\")]` instead of `#[allow]`", source.path, number + 1);
        }
    }
}

#[test]
fn what_threads_may_share_is_left_to_the_compiler() {
    for source in source::all() {
        for (number, line) in source.text.lines().enumerate() {
            let by_hand = line.contains("unsafe impl") && (line.contains(" Send for") || line.contains(" Sync for"));
            let global = line.trim_start().starts_with("static mut") || line.contains("UnsafeCell");
            assert!(!by_hand && !global, "{}:{}: threads might write to one place", source.path, number + 1);
        }
    }
}

#[test]
fn the_text_names_no_machine() {
    for source in source::all() {
        for (number, line) in source.text.lines().enumerate() {
            let place = ["/work/", "/root/.", "/home/runner"].into_iter().find(|place| line.contains(place));
            assert!(place.is_none(), "{}:{}: names a folder of one machine", source.path, number + 1);
        }
    }
}

#[test]
fn routes_are_added_with_their_scope_alone() {
    for source in source::all().iter().filter(|source| source.path.starts_with("src/http/")) {
        let adds = [".route(", ".routes(", ".route_service(", ".nest(", ".nest_service(", ".merge("];
        let found = adds.iter().find(|call| source.text.contains(*call));
        let may = source.path == "src/http/scopes.rs";
        assert!(may || found.is_none(), "{} adds a route past `Routes::add`: {}", source.path, found.unwrap_or(&""));
    }
}
