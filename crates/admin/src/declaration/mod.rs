//! Reads what is declared by hand, so that every mistake in it is told at once, each with its place.

mod client;
mod fields;
mod file;
mod route;
mod service;
pub(crate) mod syntax;

use portcullis_core::model::Problem;

pub(crate) use file::unshadowed;
pub use file::{LARGEST, Reading, read, to_yaml, with_lines};
pub(crate) use route::read as read_route;
pub(crate) use service::read as read_service;
pub use syntax::Syntax;

/// Whether a problem is about a part of the body that `others` complain about too. What is left out of a
/// reading shifts what is behind it, so a later look at such a part says nothing reliable.
pub(crate) fn shadowed(problem: &Problem, others: &[Problem]) -> bool {
    let part = |problem: &Problem| problem.path.split(['.', '[']).next().unwrap_or("").to_owned();
    part(problem) != "policies" && others.iter().any(|other| part(other) == part(problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_look_is_left_out_where_parts_were_left_out() {
        let others = [Problem::new("targets[0].url", "")];
        assert!(shadowed(&Problem::new("targets", ""), &others));
        assert!(!shadowed(&Problem::new("require[0]", ""), &others));
        let others = [Problem::new("policies", "")];
        assert!(!shadowed(&Problem::new("policies.cors", ""), &others));
    }
}
