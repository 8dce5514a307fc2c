//! Certificates for tests: an authority that issues and revokes, by the real `openssl`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// An authority with a root of its own.
pub(crate) struct Authority {
    directory: TempDir,
}

/// A certificate and its key, as files.
#[derive(Debug, Clone)]
pub(crate) struct Issued {
    /// The certificate.
    pub(crate) certificate: PathBuf,
    /// Its key.
    pub(crate) key: PathBuf,
}

impl Issued {
    /// As the value of `tls.certificates`.
    pub(crate) fn setting(&self) -> String {
        format!("{{certificate = {:?}, key = {:?}}}", self.certificate, self.key)
    }

    /// SHA-256 of the certificate, as openssl writes it: upper case, with colons.
    pub(crate) fn fingerprint(&self) -> String {
        let output = openssl(&["x509", "-noout", "-sha256", "-fingerprint", "-in", text(&self.certificate)]);
        output.trim().split_once('=').expect("a fingerprint").1.to_owned()
    }
}

impl Authority {
    /// A new one.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let place = directory.path();
        fs::write(place.join("index.txt"), "").expect("written");
        fs::write(place.join("crlnumber"), "01\n").expect("written");
        fs::write(
            place.join("ca.cnf"),
            format!(
                "[ca]\ndefault_ca = own\n[own]\ndatabase = {place}/index.txt\nnew_certs_dir = {place}\n\
                 certificate = {place}/ca.pem\nprivate_key = {place}/ca.key\nrand_serial = yes\ndefault_md = sha256\n\
                 default_days = 30\ndefault_crl_days = 30\ncrlnumber = {place}/crlnumber\npolicy = any\nunique_subject = no\n\
                 [any]\ncommonName = supplied\n",
                place = place.display()
            ),
        )
        .expect("written");
        let authority = Self { directory };
        let (key, root) = (authority.place("ca.key"), authority.root());
        // No two authorities have the same name.
        let subject = format!("/CN={}", authority.directory.path().display().to_string().replace('/', " "));
        openssl(
            &[
                &["req", "-x509", "-nodes", "-days", "30", "-subj", &subject][..],
                &EC,
                &["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"],
                &["-keyout", text(&key), "-out", text(&root)],
            ]
            .concat(),
        );
        authority
    }

    /// Its root.
    pub(crate) fn root(&self) -> PathBuf {
        self.place("ca.pem")
    }

    /// A certificate under a file name, good for these names: `DNS:a.example,URI:spiffe://a`.
    pub(crate) fn issue(&self, file: &str, names: &str) -> Issued {
        self.issue_with(file, names, &EC, &[])
    }

    /// One as public authorities issue them: for months, and it says where what was revoked is listed.
    pub(crate) fn issue_as_usual(&self, file: &str, names: &str) -> Issued {
        let names = format!("{names}\ncrlDistributionPoints = URI:http://127.0.0.1/list.crl");
        self.issue_with(file, &names, &EC, &["-days", "90"])
    }

    /// One with an RSA key.
    pub(crate) fn issue_rsa(&self, file: &str, names: &str) -> Issued {
        self.issue_with(file, names, &["-newkey", "rsa:2048"], &[])
    }

    /// One that has expired.
    pub(crate) fn issue_expired(&self, file: &str, names: &str) -> Issued {
        self.issue_with(file, names, &EC, &["-startdate", "20200101000000Z", "-enddate", "20200201000000Z"])
    }

    /// One that is good from now on for so long.
    pub(crate) fn issue_for(&self, file: &str, names: &str, life: std::time::Duration) -> Issued {
        let end = time::UtcDateTime::now() + life;
        let form = time::macros::format_description!("[year][month][day][hour][minute][second]Z");
        let end = end.format(form).expect("a moment");
        self.issue_with(file, names, &EC, &["-enddate", &end])
    }

    fn issue_with(&self, file: &str, names: &str, kind: &[&str], life: &[&str]) -> Issued {
        let issued =
            Issued { certificate: self.place(&format!("{file}.pem")), key: self.place(&format!("{file}.key")) };
        let (request, extensions) = (self.place(&format!("{file}.csr")), self.place(&format!("{file}.ext")));
        fs::write(&extensions, format!("subjectAltName = {names}\nextendedKeyUsage = serverAuth, clientAuth\n"))
            .expect("written");
        let subject = format!("/CN={file}");
        let output = ["-keyout", text(&issued.key), "-out", text(&request)];
        openssl(&[&["req", "-new", "-nodes", "-subj", &subject][..], kind, &output].concat());
        self.ca(&[
            &["-batch", "-notext", "-in", text(&request), "-extfile", text(&extensions)][..],
            &["-out", text(&issued.certificate)],
            life,
        ]
        .concat());
        issued
    }

    /// Takes a certificate back; what it returns is the list of all that were.
    pub(crate) fn revoke(&self, issued: &Issued) -> PathBuf {
        self.ca(&["-revoke", text(&issued.certificate)]);
        self.revoked()
    }

    /// The list of all certificates that were taken back.
    pub(crate) fn revoked(&self) -> PathBuf {
        let list = self.place("crl.pem");
        self.ca(&["-gencrl", "-out", text(&list)]);
        list
    }

    fn ca(&self, arguments: &[&str]) {
        let configuration = self.place("ca.cnf");
        openssl(&[&["ca", "-config", text(&configuration)][..], arguments].concat());
    }

    fn place(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

const EC: [&str; 4] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];

fn openssl(arguments: &[&str]) -> String {
    let output = Command::new("openssl").args(arguments).output().expect("openssl is installed");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}
