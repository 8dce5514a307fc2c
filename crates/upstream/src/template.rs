//! Text with places in it that are filled from a request's path: `/v2/{id}/{rest}`.

use portcullis_core::call::Call;
use portcullis_core::model::Problem;

/// A compiled text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Part {
    Text(String),
    /// The segment of the path at this position.
    Segment(usize),
    /// What is left behind what the route has matched, without its first slash.
    Rest,
}

impl Template {
    /// Compiles a text whose parameters are those of a path, each with the position of its segment; `field` names the text
    /// in the problem.
    pub fn parse(text: &str, parameters: &[(String, usize)], field: &str) -> Result<Self, Problem> {
        let mut parts = Vec::new();
        let mut left = text;
        let unopened = || Problem::new(field, "expected '{' before '}'");
        while let Some((before, after)) = left.split_once('{') {
            if before.contains('}') {
                return Err(unopened());
            }
            let Some((name, behind)) = after.split_once('}') else {
                return Err(Problem::new(field, "expected '}' behind '{'"));
            };
            parts.push(Part::Text(before.to_owned()));
            parts.push(match parameters.iter().find(|(held, _)| held == name) {
                Some((_, position)) => Part::Segment(*position),
                None if name == "rest" => Part::Rest,
                None => return Err(Problem::new(field, format!("the path has no parameter '{name}'"))),
            });
            left = behind;
        }
        if left.contains('}') {
            return Err(unopened());
        }
        parts.push(Part::Text(left.to_owned()));
        parts.retain(|part| *part != Part::Text(String::new()));
        Ok(Self(parts))
    }

    /// Fills it from a call.
    pub fn fill(&self, call: &Call) -> String {
        let path = call.request.path.forwarded();
        let mut text = String::with_capacity(path.len() + 16);
        for part in &self.0 {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Segment(position) => text.push_str(path.split('/').nth(position + 1).unwrap_or("")),
                Part::Rest => text.push_str(call.forwarded_rest().trim_start_matches('/')),
            }
        }
        text
    }
}
