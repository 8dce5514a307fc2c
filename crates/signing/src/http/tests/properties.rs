//! Properties of signing and verifying over messages and parameters of any shape.

use proptest::prelude::*;

use crate::http::{ContentDigest, DigestAlgorithm, Digester, KnownFields, Limits, Request, Signatures, Signer, Stamp};

use super::secret_keys;

proptest! {
    #[test]
    fn what_is_signed_is_verified(
        method in "[A-Z]{1,8}",
        path in "/[!-~&&[^?#]]{0,20}",
        query in proptest::option::of("[!-~&&[^#]]{0,20}"),
        lines in proptest::collection::vec("[ -~\t]{0,20}", 1..4),
        keyid in "[ -~]{0,20}",
        nonce in "[ -~]{0,20}",
        created in -999_999_999_999_999_i64..=999_999_999_999_999,
    ) {
        let (signing, verifying) = secret_keys();
        let target = match &query {
            Some(query) => format!("{path}?{query}"),
            None => path.clone(),
        };
        let fields: Vec<_> = lines.iter().map(|line| ("X-Field", line.as_str())).collect();
        let request = Request::new(&method, "https", "example.com", &target, &fields);
        prop_assert_eq!(request.path, Some(path.as_str()));
        prop_assert_eq!(request.query, query.as_deref());
        let components = ["@method", "@target-uri", "@path", "@query", "x-field", "x-field;bs"];
        let signer = Signer::new("s", &components).expect("sound").keyid(&keyid).tag("t");
        let stamp = Stamp { created: Some(created), expires: None, nonce: Some(&nonce) };
        let signed = signer.sign(&request, &stamp, &signing, &KnownFields::STANDARD).expect("signed");

        let mut with_signature = fields.clone();
        with_signature.push(("Signature-Input", &signed.signature_input));
        with_signature.push(("Signature", &signed.signature));
        let received = Request { fields: &with_signature, ..request };
        let signatures = Signatures::parse(&with_signature, &Limits::default()).expect("sound");
        let signature = signatures.get("s").expect("there");
        let parameters = signature.parameters().expect("sound");
        prop_assert_eq!(parameters.created, Some(created));
        prop_assert_eq!(parameters.keyid.as_deref(), Some(keyid.as_str()));
        prop_assert_eq!(parameters.nonce.as_deref(), Some(nonce.as_str()));
        let base = signature.base(&received, &KnownFields::STANDARD).expect("a base");
        prop_assert_eq!(&base, &signed.base);
        prop_assert_eq!(base.lines().count(), components.len() + 1);
        prop_assert!(signature.verify(&base, &verifying).is_ok());

        // A line that is not signed changes nothing, one that is changes the base.
        with_signature.push(("X-Other", "1"));
        let received = Request { fields: &with_signature, ..request };
        prop_assert_eq!(&signature.base(&received, &KnownFields::STANDARD).expect("a base"), &base);
        with_signature.push(("x-field", "1"));
        let received = Request { fields: &with_signature, ..request };
        let changed = signature.base(&received, &KnownFields::STANDARD).expect("a base");
        prop_assert!(signature.verify(&changed, &verifying).is_err());
    }

    #[test]
    fn a_digest_is_the_same_however_the_content_is_cut(
        content in proptest::collection::vec(any::<u8>(), 0..200),
        cut in any::<prop::sample::Index>(),
    ) {
        let at = cut.index(content.len() + 1);
        let mut digester = Digester::new(&DigestAlgorithm::ALL);
        digester.update(&content[..at]);
        digester.update(&content[at..]);
        let digest = digester.finish();
        prop_assert!(digest.check_content(&content).is_ok());
        prop_assert_eq!(ContentDigest::parse([digest.to_string()]), Ok(digest));
        for algorithm in DigestAlgorithm::ALL {
            let single = ContentDigest::of(&content, algorithm);
            prop_assert!(single.check(&digest).is_ok());
            prop_assert!(digest.check(&single).is_err(), "the other one is missing");
        }
        let mut longer = content.clone();
        longer.push(0);
        prop_assert!(digest.check_content(&longer).is_err());
    }
}
