//! Whether an identity holds: its dates, its roots, its key. What a handshake would find, without one.
use super::identity::Identity;
use super::{clock, tls};
use crate::time::{Civil, SECOND};
use rustls::CertificateError;
use rustls::Error;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::UnixTime;
use rustls::server::ParsedCertificate;
use std::time::Duration;
use x509_parser::prelude::{FromDer, X509Certificate};

/// An identity as it stands at some instant.
#[derive(Clone, Debug, PartialEq)]
pub struct Examined {
    /// The certificate's dates; both [`Civil`] 0 where it cannot be read.
    pub from: Civil,
    pub until: Civil,
    pub verdict: Verdict,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    Holds,
    /// Of a clock that is not set, or a certificate made ahead.
    NotYet,
    Expired,
    /// No root of the folder has signed it.
    Foreign(String),
    /// `node.key` is another certificate's.
    WrongKey,
    Unusable(String),
}

/// Dates are judged by `now`; where that is before there were any nodes, they are not.
pub fn examine(identity: &Identity, now: Civil) -> Examined {
    let unreadable = |text: String| Examined { from: Civil(0), until: Civil(0), verdict: Verdict::Unusable(text) };
    let Some(leaf) = identity.chain.first() else { return unreadable("there is no certificate".into()) };
    let (from, until) = match dates(leaf) {
        Ok(dates) => dates,
        Err(error) => return unreadable(error),
    };
    let judged = |verdict| Examined { from, until, verdict };
    if let Err(error) = tls::client(identity) {
        return judged(match error {
            Error::InconsistentKeys(_) => Verdict::WrongKey,
            other => Verdict::Unusable(other.to_string()),
        });
    }
    // The chain is judged at an instant at which the dates hold: they are told apart from it.
    let within = (from + SECOND).0.max(0).unsigned_abs() / SECOND.unsigned_abs();
    let at = UnixTime::since_unix_epoch(Duration::from_secs(within));
    let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
    let intermediates = identity.chain.get(1..).unwrap_or_default();
    let chain = ParsedCertificate::try_from(leaf).and_then(|parsed| {
        verify_server_cert_signed_by_trust_anchor(&parsed, &identity.trust, intermediates, at, algorithms.all)
    });
    judged(match chain {
        Err(Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)) => {
            Verdict::Foreign("no certificate in roots/ has signed it".into())
        }
        Err(error) => Verdict::Foreign(error.to_string()),
        Ok(()) if now < clock::EARLIEST => Verdict::Holds,
        Ok(()) if now < from => Verdict::NotYet,
        Ok(()) if now >= until => Verdict::Expired,
        Ok(()) => Verdict::Holds,
    })
}

/// When the certificate that a node shows expires; `None` if it cannot be read.
pub fn until(identity: &Identity) -> Option<Civil> {
    dates(identity.shown().ok()?.chain().first()?).ok().map(|(_, until)| until)
}

/// The dates of a certificate in DER.
pub fn dates(leaf: &[u8]) -> Result<(Civil, Civil), String> {
    let (_, parsed) = X509Certificate::from_der(leaf).map_err(|error| error.to_string())?;
    let at = |time: i64| Civil(time.saturating_mul(SECOND));
    Ok((at(parsed.validity.not_before.timestamp()), at(parsed.validity.not_after.timestamp())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Role;
    use std::sync::Arc;

    #[test]
    fn dates_roots_and_key_are_told_apart() {
        let own = tls::tests::identity(&[1; 32], Role::Speaker);
        let now = clock::wall();
        let good = examine(&own, now);
        assert_eq!(good.verdict, Verdict::Holds);
        assert!(good.from < now && now < good.until);
        assert_eq!(until(&own), Some(good.until));
        assert_eq!(examine(&own, good.until).verdict, Verdict::Expired);
        assert_eq!(examine(&own, good.from - SECOND).verdict, Verdict::Holds, "before 2025 no clock is set");

        let other = tls::tests::identity(&[2; 32], Role::Speaker);
        let mut foreign = tls::tests::identity(&[1; 32], Role::Speaker);
        foreign.trust = Arc::clone(&other.trust);
        assert!(matches!(examine(&foreign, now).verdict, Verdict::Foreign(_)));

        let mut mixed = tls::tests::identity(&[1; 32], Role::Speaker);
        mixed.key = other.key;
        assert_eq!(examine(&mixed, now).verdict, Verdict::WrongKey);
    }
}
