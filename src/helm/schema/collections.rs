//! Keywords of objects and arrays.

use super::{Checker, Seen, canonical, entries, items, number, text};
use crate::helm::template::value::{Map, Value};

impl Checker<'_> {
    pub(super) fn object(&mut self, map: &Map, value: &Value, path: &mut String, depth: usize, seen: &mut Seen) {
        let key = |name: &str| map.get(name.as_bytes());
        let have = entries(value).unwrap_or_default();
        let missing: Vec<String> = key("required")
            .and_then(items)
            .unwrap_or_default()
            .iter()
            .filter_map(text)
            .filter(|name| !have.contains_key(name.as_bytes()))
            .map(|name| format!("'{name}'"))
            .collect();
        match missing.as_slice() {
            [] => {}
            [one] => self.wrong(path, format!("missing property {one}")),
            many => self.wrong(path, format!("missing properties {}", many.join(", "))),
        }
        let count = have.len() as f64;
        if key("minProperties").and_then(number).is_some_and(|least| count < least) {
            self.wrong(path, format!("minProperties: got {count}"));
        }
        if key("maxProperties").and_then(number).is_some_and(|most| count > most) {
            self.wrong(path, format!("maxProperties: got {count}"));
        }
        let known = key("properties").and_then(entries).unwrap_or_default();
        let patterns = key("patternProperties").and_then(entries).unwrap_or_default();
        let mut extra = Vec::new();
        for (name, item) in &have {
            let shown = name.text();
            let mut matched = false;
            if let Some(schema) = known.get(name) {
                matched = true;
                self.inside(schema, item, path, &shown, depth);
            }
            for (pattern, schema) in &patterns {
                if self.pattern(&pattern.text()).is_some_and(|pattern| pattern.is_match(name.bytes())) {
                    matched = true;
                    self.inside(schema, item, path, &shown, depth);
                }
            }
            if matched {
                seen.properties.push(name.bytes().to_vec());
            } else {
                match key("additionalProperties") {
                    Some(Value::Bool(false)) => extra.push(format!("'{shown}'")),
                    Some(schema) => {
                        self.inside(schema, item, path, &shown, depth);
                        seen.properties.push(name.bytes().to_vec());
                    }
                    None => {}
                }
            }
            if let Some(schema) = key("propertyNames") {
                self.check(schema, &Value::Str(name.clone()), path, depth + 1);
            }
        }
        if !extra.is_empty() {
            self.wrong(path, format!("additional properties {} not allowed", extra.join(", ")));
        }
        for keyword in ["dependencies", "dependentRequired", "dependentSchemas"] {
            for (name, wanted) in key(keyword).and_then(entries).unwrap_or_default() {
                if !have.contains_key(&name) {
                    continue;
                }
                match items(&wanted) {
                    Some(names) => {
                        for other in names.iter().filter_map(text).filter(|other| !have.contains_key(other.as_bytes()))
                        {
                            self.wrong(
                                path,
                                format!("property '{other}' required, if '{}' property exists", name.text()),
                            );
                        }
                    }
                    None => {
                        let below = self.check(&wanted, value, path, depth + 1);
                        seen.add(below);
                    }
                }
            }
        }
        if let Some(schema) = key("unevaluatedProperties")
            && !seen.all_properties
        {
            let mut left = Vec::new();
            for (name, item) in &have {
                if seen.properties.iter().any(|known| known == name.bytes()) {
                    continue;
                }
                match schema {
                    Value::Bool(false) => left.push(format!("'{}'", name.text())),
                    schema => self.inside(schema, item, path, &name.text(), depth),
                }
            }
            if !left.is_empty() {
                self.wrong(path, format!("unevaluated properties {} not allowed", left.join(", ")));
            }
            seen.all_properties = true;
        }
    }

    pub(super) fn array(&mut self, map: &Map, value: &Value, path: &mut String, depth: usize, seen: &mut Seen) {
        let key = |name: &str| map.get(name.as_bytes());
        let have = items(value).unwrap_or_default();
        let count = have.len() as f64;
        if key("minItems").and_then(number).is_some_and(|least| count < least) {
            self.wrong(path, format!("minItems: got {count}"));
        }
        if key("maxItems").and_then(number).is_some_and(|most| count > most) {
            self.wrong(path, format!("maxItems: got {count}"));
        }
        if let Some(Value::Bool(true)) = key("uniqueItems") {
            let mut texts: Vec<String> = have.iter().map(canonical).collect();
            texts.sort();
            if texts.windows(2).any(|pair| pair[0] == pair[1]) {
                self.wrong(path, "items must be unique");
            }
        }
        let (first, rest) = match (key("prefixItems"), key("items")) {
            (Some(first), rest) => (items(first).unwrap_or_default(), rest),
            (None, Some(Value::List(first))) => (&first.items[..], key("additionalItems")),
            (None, rest) => (&[][..], rest),
        };
        for (i, item) in have.iter().enumerate() {
            match first.get(i).or(rest) {
                Some(schema) => {
                    self.inside(schema, item, path, &i.to_string(), depth);
                    seen.items = seen.items.max(i + 1);
                }
                None => break,
            }
        }
        if let Some(schema) = key("contains") {
            let found = have.iter().filter(|item| self.holds(schema, item, path, depth + 1).is_some()).count() as f64;
            let least = key("minContains").and_then(number).unwrap_or(1.0);
            if found < least || key("maxContains").and_then(number).is_some_and(|most| found > most) {
                self.wrong(path, format!("contains: {found} items match"));
            }
        }
        if let Some(schema) = key("unevaluatedItems") {
            for (i, item) in have.iter().enumerate().skip(seen.items) {
                self.inside(schema, item, path, &i.to_string(), depth);
            }
            seen.items = have.len();
        }
    }
}
