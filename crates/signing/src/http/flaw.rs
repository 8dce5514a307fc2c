//! What can be wrong with signatures, apart from the signature itself.

/// What is wrong with the fields `Signature-Input` and `Signature`, or with one signature in them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Flaw {
    /// A field is not the dictionary that RFC 9421, section 4, defines.
    #[error("the field {field} is malformed: {reason}")]
    Malformed {
        /// `signature-input` or `signature`.
        field: &'static str,
        /// What the parser objects to.
        reason: String,
    },
    /// A field is a dictionary with values of another type than RFC 9421, section 4, defines.
    #[error("{what}")]
    WrongType {
        /// What has which type.
        what: &'static str,
    },
    /// There is more of something than is read.
    #[error("more than {most} {what}")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// The limit.
        most: usize,
    },
    /// Two signatures have the same label.
    #[error("the label {label:?} stands twice in {field}")]
    LabelTwice {
        /// The label.
        label: String,
        /// `signature-input` or `signature`.
        field: &'static str,
    },
    /// `Signature` has no value under the label.
    #[error("the field signature has no value for the label {label:?}")]
    NoSignature {
        /// The label.
        label: String,
    },
    /// A covered component is neither a known derived component nor the name of a field in lower case.
    #[error("{name:?} is neither a known derived component nor the name of a field in lower case")]
    UnknownComponent {
        /// The name.
        name: String,
    },
    /// A component has a parameter that is not known.
    #[error("the component {identifier} has an unknown parameter")]
    UnknownParameter {
        /// The identifier up to the parameter.
        identifier: String,
    },
    /// A component has a parameter that has the wrong type, is missing, or does not go with the rest.
    #[error("the component {identifier} has a parameter that does not belong there, or lacks one")]
    WrongParameter {
        /// The identifier.
        identifier: String,
    },
    /// A component is a trailer field (`;tr`). Trailers are not seen.
    #[error("the component {identifier} is a trailer field, which is not supported")]
    Trailer {
        /// The identifier up to the parameter.
        identifier: String,
    },
    /// A component is covered twice.
    #[error("the component {identifier} is covered twice")]
    CoveredTwice {
        /// The identifier.
        identifier: String,
    },
    /// A parameter of the signature occurs twice.
    #[error("the signature parameter {name:?} occurs twice")]
    ParameterTwice {
        /// The name of the parameter.
        name: String,
    },
    /// A parameter of the signature has the wrong type.
    #[error("the signature parameter {name:?} has the wrong type")]
    ParameterType {
        /// The name of the parameter.
        name: String,
    },
}
