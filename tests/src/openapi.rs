//! Whether services answer as their OpenAPI documents say.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::http::Seen;

/// One service's document.
#[derive(Clone, Debug)]
pub struct Document {
    service: String,
    document: Value,
}

/// One operation of a document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Operation {
    /// Whose.
    pub service: String,
    /// The method, in lower case.
    pub method: String,
    /// The path with its parameters' names.
    pub path: String,
}

impl Document {
    /// The document that `service` serves.
    #[must_use]
    pub fn new(service: &str, document: Value) -> Self {
        assert!(
            document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")),
            "{service}: no OpenAPI 3.1"
        );
        Self { service: service.to_owned(), document }
    }

    /// Whose it is.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.service
    }

    /// Every operation with who may call it.
    #[must_use]
    pub fn operations(&self) -> Vec<(Operation, String)> {
        let mut operations = Vec::new();
        for (path, item) in self.document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let Some(access) = operation["x-leeward-access"].as_str() else { continue };
                let (service, method, path) = (self.service.clone(), method.clone(), path.clone());
                operations.push((Operation { service, method, path }, access.to_owned()));
            }
        }
        operations
    }

    /// The operation that answers to a request.
    fn find(&self, seen: &Seen) -> Option<Operation> {
        let method = seen.method.as_str().to_lowercase();
        let mut fitting: Vec<Operation> =
            self.operations().into_iter().map(|(operation, _)| operation).collect();
        fitting.retain(|operation| operation.method == method && fits(&operation.path, &seen.path));
        // `/users/me` before `/users/{id}`.
        fitting.into_iter().min_by_key(|operation| operation.path.matches('{').count())
    }

    /// Holds an answer against the document; gives the operation that it belongs to.
    ///
    /// # Errors
    /// What is not as the document says.
    pub fn check(&self, seen: &Seen) -> Result<Operation, String> {
        let status = seen.answer.status.as_u16();
        let wrong = |what: String| {
            format!("{} {} of {} answered {status}: {what}", seen.method, seen.path, self.service)
        };
        let operation = self.find(seen).ok_or_else(|| wrong("there is no such operation".into()))?;
        let described = &self.document["paths"][&operation.path][&operation.method]["responses"];
        let described = match (&described[status.to_string()], seen.answer.status.is_success()) {
            (Value::Null, true) => return Err(wrong("no such success is described".into())),
            (Value::Null, false) => &described["default"],
            (described, _) => described,
        };
        let content_type = seen.answer.header("content-type").unwrap_or_default();
        let schema = &described["content"][content_type]["schema"];
        match (seen.answer.body.is_empty(), schema.is_null()) {
            (true, true) => Ok(operation),
            // A refusal that is described in words only is a problem as any other.
            (false, true) if status >= 400 => {
                self.fits(&seen.answer.json(), &problem()).map(|()| operation).map_err(wrong)
            }
            (false, true) => Err(wrong(format!("a body of {content_type} is not described"))),
            (true, false) => Err(wrong("it has no body".into())),
            (false, false) => self.fits(&seen.answer.json(), schema).map(|()| operation).map_err(wrong),
        }
    }

    fn fits(&self, value: &Value, schema: &Value) -> Result<(), String> {
        // References point into the document, so that it stands around the schema.
        let mut whole = json!({ "components": self.document["components"] });
        whole["allOf"] = json!([schema]);
        let validator =
            jsonschema::draft202012::new(&whole).map_err(|error| format!("the schema is none: {error}"))?;
        let errors: Vec<String> = validator
            .iter_errors(value)
            .map(|error| format!("{error} at {}", error.instance_path()))
            .collect();
        if errors.is_empty() { Ok(()) } else { Err(format!("{} in {value}", errors.join("; "))) }
    }
}

fn problem() -> Value {
    json!({ "$ref": "#/components/schemas/ProblemBody" })
}

fn fits(template: &str, path: &str) -> bool {
    let (mut wanted, mut given) = (template.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some(wanted), Some(given))
                if wanted == given || wanted.starts_with('{') && !given.is_empty() => {}
            _ => return false,
        }
    }
}

/// Holds everything seen against the documents; gives the operations that answered well at least once.
///
/// An answer that the gateway made itself is none of a service's.
///
/// # Errors
/// Everything that is not as the documents say.
pub fn check_all(documents: &[Document], seen: &[Seen]) -> Result<BTreeSet<Operation>, Vec<String>> {
    let (mut covered, mut wrong) = (BTreeSet::new(), Vec::new());
    for one in seen {
        let name = one.answer.header("x-service-name").unwrap_or_default();
        let Some(document) = documents.iter().find(|document| document.service() == name) else { continue };
        match document.check(one) {
            Ok(operation) if one.answer.status.is_success() => drop(covered.insert(operation)),
            Ok(_refused) => {}
            Err(error) => wrong.push(error),
        }
    }
    if wrong.is_empty() { Ok(covered) } else { Err(wrong) }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, Method, StatusCode};

    use super::*;
    use crate::http::Answer;

    fn document() -> Document {
        let thing =
            json!({ "type": "object", "required": ["id"], "properties": { "id": { "type": "string" } } });
        let problem = json!({ "type": "object", "required": ["code"] });
        let body = json!({ "application/json": { "schema": { "$ref": "#/components/schemas/Thing" } } });
        let get =
            json!({ "x-leeward-access": "user", "responses": { "200": { "content": body }, "404": {} } });
        let document = json!({
            "openapi": "3.1.0",
            "paths": { "/things/{id}": { "get": get } },
            "components": { "schemas": { "Thing": thing, "ProblemBody": problem } },
        });
        Document::new("things", document)
    }

    fn seen(path: &str, status: u16, content_type: &str, body: &Value) -> Seen {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", content_type.parse().unwrap());
        headers.insert("x-service-name", "things".parse().unwrap());
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            body: Bytes::from(body.to_string()),
        };
        Seen { method: Method::GET, path: path.to_owned(), answer }
    }

    #[test]
    fn answers_are_held_against_the_document() {
        let good = seen("/things/1", 200, "application/json", &json!({ "id": "1" }));
        assert_eq!(check_all(&[document()], &[good]).unwrap().len(), 1);
        let refused = seen("/things/1", 404, "application/problem+json", &json!({ "code": "not_found" }));
        assert_eq!(check_all(&[document()], &[refused]), Ok(BTreeSet::new()));
        for (bad, why) in [
            (seen("/things/1", 200, "application/json", &json!({ "id": 1 })), "at /id"),
            (seen("/things/1", 201, "application/json", &json!({ "id": "1" })), "no such success"),
            (seen("/things/1", 200, "text/plain", &json!({ "id": "1" })), "is not described"),
            (seen("/things", 200, "application/json", &json!({ "id": "1" })), "no such operation"),
            (seen("/things/1", 404, "application/problem+json", &json!({})), "code"),
        ] {
            let wrong = check_all(&[document()], &[bad]).unwrap_err();
            assert!(wrong[0].contains(why), "{wrong:?}");
        }
    }
}
