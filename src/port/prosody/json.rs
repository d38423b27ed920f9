//! JSON as Prosody's SQL storage has it: what is a list and a table at once carries its list under `__array`, and what
//! has keys that are no strings under `__hash`: key, value, key, value.

use super::lua::{Table, Value};

/// A value of the columns `type` and `value`.
pub(super) fn value(kind: &str, text: &str) -> Option<Value> {
    Some(match kind {
        "string" => Value::Text(text.as_bytes().to_vec()),
        "boolean" => Value::Bool(text == "true"),
        "number" => Value::Number(text.parse().ok()?),
        "json" => of(serde_json::from_str(text).ok()?),
        _ => return None,
    })
}

fn of(json: serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => Value::Nil,
        Json::Bool(is_true) => Value::Bool(is_true),
        Json::Number(number) => Value::Number(number.as_f64().unwrap_or(f64::NAN)),
        Json::String(text) => Value::Text(text.into_bytes()),
        Json::Array(list) => Value::Table(Table { list: list.into_iter().map(of).collect(), fields: Vec::new() }),
        Json::Object(object) => {
            let mut table = Table::default();
            for (key, value) in object {
                match (key.as_str(), value) {
                    ("__array", Json::Array(list)) => table.list.extend(list.into_iter().map(of)),
                    ("__hash", Json::Array(pairs)) => {
                        let mut pairs = pairs.into_iter().map(of);
                        while let (Some(key), Some(value)) = (pairs.next(), pairs.next()) {
                            table.fields.push((key, value));
                        }
                    }
                    (_, value) => table.fields.push((Value::Text(key.into_bytes()), of(value))),
                }
            }
            Value::Table(table)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_odd_keys_come_back() {
        let text = r#"{"__hash":[false,{"version":3}],"name":"x","__array":["a",{"b":true}]}"#;
        let value = value("json", text).unwrap();
        let table = value.table().unwrap();
        assert_eq!(table.metadata().unwrap().get("version").unwrap().whole(), Some(3));
        assert_eq!(table.get("name").unwrap().text(), Some("x"));
        assert_eq!(table.list[0].text(), Some("a"));
        assert_eq!(table.list[1].table().unwrap().get("b"), Some(&Value::Bool(true)));
    }

    #[test]
    fn kinds_are_those_of_the_column() {
        assert_eq!(value("string", "1"), Some(Value::Text(b"1".to_vec())));
        assert_eq!(value("number", "10000").unwrap().whole(), Some(10_000));
        assert_eq!(value("boolean", "true"), Some(Value::Bool(true)));
        for (kind, text) in [("number", "x"), ("json", "{"), ("xml", "<a/>"), ("", "")] {
            assert_eq!(value(kind, text), None, "{kind}");
        }
    }
}
