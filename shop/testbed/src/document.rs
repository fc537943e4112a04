//! An OpenAPI document, and what it says about an answer.

use std::collections::BTreeSet;

use http::{Method, header};
use serde_json::{Value, json};

use crate::site::Answer;

/// The document that a service serves about itself. The default knows nothing and objects to nothing.
#[derive(Debug, Default)]
pub(crate) struct Document(Option<Value>);

impl Document {
    pub(crate) fn new(document: Value) -> Self {
        assert_eq!(document["openapi"], "3.1.0");
        Self(Some(document))
    }

    /// Every method and path template.
    pub(crate) fn operations(&self) -> BTreeSet<(String, String)> {
        let mut operations = BTreeSet::new();
        for (path, item) in self.paths() {
            let methods =
                item.as_object().unwrap().keys().filter(|key| key.to_uppercase().parse::<Method>().is_ok());
            operations
                .extend(methods.filter(|key| is_method(key)).map(|key| (key.to_uppercase(), path.clone())));
        }
        operations
    }

    /// What is said about a method of a path template.
    pub(crate) fn operation(&self, method: &Method, template: &str) -> Value {
        let method = method.as_str().to_lowercase();
        let item = self.paths().into_iter().find(|(path, _)| path == template);
        item.map_or(Value::Null, |(_, item)| item[method].clone())
    }

    /// Panics unless the answer is one that the document foresees, of the form that it gives.
    pub(crate) fn check(&self, method: &Method, path: &str, answer: &Answer) {
        let Some(document) = &self.0 else { return };
        let path = path.split('?').next().unwrap();
        // A fixed segment counts more than a parameter, as in the router.
        let mut templates: Vec<_> =
            self.paths().into_iter().filter(|(template, _)| fits(template, path)).collect();
        templates.sort_by_key(|(template, _)| template.matches('{').count());
        let Some((template, item)) = templates.into_iter().next() else { return };
        let operation = &item[method.as_str().to_lowercase()];
        if operation.is_null() {
            return;
        }
        let (status, responses) = (answer.status.as_str(), &operation["responses"]);
        let declared = responses
            .get(status)
            .or_else(|| responses.get("default").filter(|_| !answer.status.is_success()));
        let declared = declared.unwrap_or_else(|| panic!("{method} {template} does not declare {status}"));
        let of_error = || responses["default"]["content"].as_object().filter(|_| !answer.status.is_success());
        let content = declared["content"].as_object().or_else(of_error);
        let Some((media, content)) = content.and_then(|content| content.iter().next()) else {
            assert!(answer.body.is_empty(), "{method} {template} declares no body for {status}");
            return;
        };
        assert_eq!(answer.headers[header::CONTENT_TYPE], media.as_str(), "{method} {template}");
        if !media.ends_with("json") {
            return;
        }
        let schema = json!({ "allOf": [content["schema"]], "components": document["components"] });
        let validator = jsonschema::validator_for(&schema).unwrap();
        let body = answer.json();
        let errors: Vec<String> =
            validator.iter_errors(&body).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{method} {template} {status}: {errors:#?} in {body:#}");
    }

    fn paths(&self) -> Vec<(String, Value)> {
        let paths = self.0.as_ref().and_then(|document| document["paths"].as_object());
        paths.into_iter().flatten().map(|(path, item)| (path.clone(), item.clone())).collect()
    }
}

fn is_method(key: &str) -> bool {
    ["get", "put", "post", "delete", "patch", "head", "options", "trace"].contains(&key)
}

fn fits(template: &str, path: &str) -> bool {
    let (mut wanted, mut given) = (template.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some(wanted), Some(given)) if wanted == given || wanted.starts_with('{') => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue, StatusCode};

    use super::*;

    fn document() -> Document {
        let schema = json!({ "$ref": "#/components/schemas/Thing" });
        let ok = json!({ "description": "", "content": { "application/json": { "schema": schema } } });
        Document::new(json!({
            "openapi": "3.1.0",
            "paths": { "/things/{id}": { "get": { "responses": { "200": ok } } } },
            "components": { "schemas": { "Thing": {
                "type": "object", "required": ["id"], "properties": { "id": { "type": "string" } }
            } } },
        }))
    }

    fn check(status: StatusCode, body: &'static str) -> std::thread::Result<()> {
        let json = HeaderValue::from_static("application/json");
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, json)]);
        let answer = Answer { status, headers, body: Bytes::from_static(body.as_bytes()) };
        std::panic::catch_unwind(|| document().check(&Method::GET, "/things/1?x=2", &answer))
    }

    #[test]
    fn an_answer_of_another_form_or_status_is_found() {
        assert!(check(StatusCode::OK, r#"{"id":"a"}"#).is_ok());
        assert!(check(StatusCode::OK, r#"{"id":1}"#).is_err());
        assert!(check(StatusCode::OK, "{}").is_err());
        assert!(check(StatusCode::CREATED, r#"{"id":"a"}"#).is_err());
    }

    #[test]
    fn templates() {
        assert!(fits("/a/{id}/b", "/a/1/b") && !fits("/a/{id}", "/a/1/b") && !fits("/a/{id}/b", "/a/1"));
    }
}
