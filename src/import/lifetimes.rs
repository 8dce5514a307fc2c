//! How long the tokens of a client last: as there, and never longer than there.

use portcullis_core::model::{Client, TokenTtl};

/// The lifetimes of access and refresh tokens in seconds, and what is to be told where they are not as there; none where
/// nothing is said of them. A refresh token outlives its access token here.
pub(super) fn kept(there: [Option<u64>; 2]) -> Option<([u64; 2], Option<String>)> {
    if there == [None; 2] {
        return None;
    }
    // Where nothing is said, a client here has what the panel begins with.
    let usual = Client::default();
    let access = there[0].unwrap_or(usual.access_ttl().as_secs());
    let refresh = there[1].unwrap_or(usual.refresh_ttl().as_secs());
    let kept_refresh = refresh.clamp(2, TokenTtl::MOST);
    let kept_access = access.clamp(1, kept_refresh - 1);
    let told = (kept_access, kept_refresh) != (access, refresh);
    let told = told.then(|| {
        format!(
            "its access and refresh tokens last {kept_access} s and {kept_refresh} s, there {access} s and {refresh} s: a \
             refresh token outlives its access token, and lasts 3650 days at most"
        )
    });
    Some(([kept_access, kept_refresh], told))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_last_as_long_as_there_and_no_longer() {
        for (there, expected, is_told) in [
            ([None, None], None, false),
            ([Some(60), Some(120)], Some([60, 120]), false),
            ([Some(1_800), None], Some([1_800, 1_728_000]), false),
            ([None, Some(2_000_000)], Some([604_800, 2_000_000]), false),
            ([None, Some(3_600)], Some([3_599, 3_600]), true),
            ([Some(3_600), Some(3_600)], Some([3_599, 3_600]), true),
            ([Some(0), Some(0)], Some([1, 2]), true),
            ([Some(u64::MAX), Some(u64::MAX)], Some([TokenTtl::MOST - 1, TokenTtl::MOST]), true),
        ] {
            let found = kept(there);
            assert_eq!(found.as_ref().map(|(kept, _)| *kept), expected, "{there:?}");
            assert_eq!(found.is_some_and(|(_, told)| told.is_some()), is_told, "{there:?}");
        }
    }
}
