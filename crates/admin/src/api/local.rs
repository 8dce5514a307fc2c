//! Problems of one declaration, told as validation errors of the body that was sent: of its own fields, not of the whole of the
//! declarations.

use portcullis_core::model::Problem;
use portcullis_routing::change::{ChangeError, Declared, Edit, View};

use crate::declaration;
use crate::problem::ApiError;
use crate::state::AdminState;

/// Everything that is wrong with a declaration that could not be read in full. What could be read is compiled nevertheless,
/// so that its problems are told along with the others.
pub(super) fn all_problems(
    state: &AdminState,
    view: &View,
    object: &Declared,
    read: &[Edit],
    mut problems: Vec<Problem>,
) -> ApiError {
    for problem in state.dry_run.problems(view, read) {
        let problem = local(object, problem);
        if !declaration::shadowed(&problem, &problems) {
            problems.push(problem);
        }
    }
    ApiError::invalid(problems)
}

/// Why a declaration was not taken.
pub(super) fn refuse(object: &Declared, error: ChangeError) -> ApiError {
    match error {
        ChangeError::Invalid(problems) => {
            ApiError::invalid(problems.into_iter().map(|problem| local(object, problem)).collect())
        }
        error => error.into(),
    }
}

/// A problem as seen from the body.
fn local(object: &Declared, mut problem: Problem) -> Problem {
    if let Some(rest) = problem.path.strip_prefix(&object.to_string()) {
        problem.path = rest.trim_start_matches('.').to_owned();
    }
    problem
}
