//! Checks a value against a schema of the OpenAPI document. It knows the keywords that the document
//! uses and panics on any other, so that nothing is passed over in silence.

use serde_json::{Map, Value};

/// Every way in which the value is not as the schema says.
pub(crate) fn violations(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    Checker { document, found: &mut found }.check(schema, value, "$");
    found
}

struct Checker<'a> {
    document: &'a Value,
    found: &'a mut Vec<String>,
}

const WORDS_ONLY: [&str; 7] = ["description", "example", "examples", "title", "format", "default", "propertyNames"];

impl Checker<'_> {
    fn check(&mut self, schema: &Value, value: &Value, at: &str) {
        let schema = schema.as_object().unwrap_or_else(|| panic!("{at}: a schema that is no object: {schema}"));
        for (keyword, rule) in schema {
            match keyword.as_str() {
                "$ref" => {
                    let pointer = rule.as_str().unwrap().trim_start_matches('#');
                    let target = self.document.pointer(pointer).unwrap_or_else(|| panic!("dangling reference {rule}"));
                    self.check(target, value, at);
                }
                "type" => {
                    let kinds = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
                    self.require(kinds.iter().any(|kind| is_a(kind.as_str().unwrap(), value)), at, "type", rule);
                }
                "enum" => self.require(rule.as_array().unwrap().contains(value), at, keyword, rule),
                "required" => {
                    for name in rule.as_array().unwrap() {
                        let there = value.as_object().is_none_or(|object| object.contains_key(name.as_str().unwrap()));
                        self.require(there, at, keyword, name);
                    }
                }
                "properties" => {
                    for (name, rule) in rule.as_object().unwrap() {
                        if let Some(member) = value.get(name) {
                            self.check(rule, member, &format!("{at}.{name}"));
                        }
                    }
                }
                "additionalProperties" => self.closed(schema, rule, value, at),
                "items" => {
                    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(rule, item, &format!("{at}[{index}]"));
                    }
                }
                "allOf" => rule.as_array().unwrap().iter().for_each(|part| self.check(part, value, at)),
                "oneOf" => {
                    let fits = |part: &&Value| violations(self.document, part, value).is_empty();
                    let count = rule.as_array().unwrap().iter().filter(fits).count();
                    self.require(count == 1, at, keyword, &Value::from(count));
                }
                "minimum" => {
                    self.require(value.as_f64().is_none_or(|x| x >= rule.as_f64().unwrap()), at, keyword, rule);
                }
                "maximum" => {
                    self.require(value.as_f64().is_none_or(|x| x <= rule.as_f64().unwrap()), at, keyword, rule);
                }
                word if WORDS_ONLY.contains(&word) => {}
                unknown => panic!("{at}: the checker does not know `{unknown}`"),
            }
        }
    }

    fn closed(&mut self, schema: &Map<String, Value>, rule: &Value, value: &Value, at: &str) {
        assert_eq!(rule, false, "{at}: only `additionalProperties: false` is known");
        let known = schema.get("properties").and_then(Value::as_object);
        for name in value.as_object().into_iter().flat_map(Map::keys) {
            let there = known.is_some_and(|known| known.contains_key(name));
            self.require(there, at, "additionalProperties", &Value::from(name.as_str()));
        }
    }

    fn require(&mut self, holds: bool, at: &str, keyword: &str, rule: &Value) {
        if !holds {
            self.found.push(format!("{at}: {keyword} {rule}"));
        }
    }
}

fn is_a(kind: &str, value: &Value) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("no JSON type `{other}`"),
    }
}
