//! First starts, later starts, everything that can be in the way, and reloads.

use super::*;
use crate::config::{ConfigSource, DomainConfig};
use crate::scratch::Folder;
use crate::storage::StoreError;
use crate::transport::certs;
use crate::{config, sasl};

impl Folder {
    /// A certificate and key for `domain`, not made by the server under test.
    fn pair(&self, domain: &str) -> (PathBuf, PathBuf) {
        let (certificate, key) = (self.path(&format!("{domain}.pem")), self.path(&format!("{domain}.key")));
        certs::make_self_signed(domain, &certificate, &key).unwrap();
        (certificate, key)
    }

    /// The configuration of a text in this folder, with the data in `data`.
    fn config(&self, text: &str) -> Config {
        let path = self.file("stonechat.toml", &format!("data_dir = \"data\"\n{text}"));
        Config::load(&path).unwrap_or_else(|error| panic!("{error}"))
    }
}

fn prepare(config: &Config) -> Result<Boot, String> {
    Boot::prepare(config, LogRule::Environment).map_err(|error| error.to_string())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_first_start_makes_everything_for_its_owner_only_and_the_second_keeps_it() {
    let folder = Folder::new("boot-first");
    let config = folder.config("");
    let first = prepare(&config).unwrap();
    assert!(first.data_dir_is_new && first.domains[0].is_new && first.domains[0].self_signed && !first.has_accounts);
    let data = folder.join("data");
    assert_eq!(first.data_dir, data);
    assert_eq!(first.socket_path(), data.join("control.sock"));
    let made = first.domains[0].tls.clone().unwrap();
    assert_eq!(made.key, data.join("certificates/localhost.key"));
    let modes = [&data, &data.join("certificates"), &made.key, &store_path(&data)].map(|path| mode(path));
    assert_eq!(modes, [0o700, 0o700, 0o600, 0o600]);
    assert!(first.tls.as_ref().unwrap().has("localhost"));
    let fingerprint = first.domains[0].fingerprint.clone();
    assert!(fingerprint.as_deref().is_some_and(|text| text.len() == 95), "{fingerprint:?}");

    drop(first);
    let second = prepare(&config).unwrap();
    assert!(!second.data_dir_is_new && !second.domains[0].is_new);
    assert_eq!(second.domains[0].fingerprint, fingerprint);
}

/// A crash between key and certificate leaves a key alone; the next start makes the certificate for it. A certificate
/// alone is refused: clients trust its fingerprint.
#[test]
fn half_a_pair_is_made_whole_or_refused() {
    let folder = Folder::new("boot-half");
    let config = folder.config("");
    let made = prepare(&config).unwrap().domains[0].tls.clone().unwrap();
    fs::remove_file(&made.certificate).unwrap();
    let key = fs::read(&made.key).unwrap();
    let again = prepare(&config).unwrap();
    assert!(again.domains[0].is_new);
    assert!(certs::inspect("localhost", &made.certificate, &made.key, Clock::new().now().unix_s()).is_ok());
    assert_eq!(fs::read(&made.key).unwrap(), key, "the key stays");
    drop(again);
    let certificate = fs::read(&made.certificate).unwrap();
    fs::remove_file(&made.key).unwrap();
    let said = prepare(&config).unwrap_err();
    assert!(said.contains("localhost.pem is there without"), "{said}");
    assert_eq!(fs::read(&made.certificate).unwrap(), certificate, "nothing is replaced");
    assert!(faults(&config).iter().any(|fault| fault.contains("is there without")));
}

#[test]
fn a_lock_names_the_other_process() {
    let folder = Folder::new("boot-lock");
    let config = folder.config("");
    let first = prepare(&config).unwrap();
    let expected = format!(
        "the data folder {} is in use by process {}; stop that one first, or name another one in the configuration: data_dir = \"/path/to/folder\"",
        first.data_dir.display(),
        std::process::id()
    );
    assert_eq!(prepare(&config).unwrap_err(), expected);
    let offline = open_store(&first.data_dir, &config.storage, false).unwrap_err();
    assert_eq!(offline.to_string(), expected);
    assert!(!offline.is_of_configuration());
}

#[test]
fn what_is_no_folder_or_too_deep_is_refused() {
    let folder = Folder::new("boot-folder");
    let config = folder.config("");
    folder.file("data", "");
    let path = folder.join("data");
    let advice = "name another one in the configuration: data_dir = \"/path/to/folder\"";
    assert_eq!(prepare(&config).unwrap_err(), format!("the data folder {} is not a folder; {advice}", path.display()));
    let deep = Config { data_dir: folder.join("x".repeat(100)), ..Config::default() };
    let over = admin::socket_path(&deep.data_dir).as_os_str().len() - SOCKET_PATH_BYTES_MAX;
    let expected = format!(
        "the path of the data folder {} is {over} bytes too long for a control socket; {advice}",
        deep.data_dir.display()
    );
    assert_eq!(prepare(&deep).unwrap_err(), expected);
    assert!(!deep.data_dir.exists());
    // A file where a folder above it should be.
    let below = Config { data_dir: path.join("data"), ..Config::default() };
    assert!(prepare(&below).unwrap_err().contains("cannot be used: Not a directory"));
}

#[test]
fn only_serving_makes_a_store() {
    let folder = Folder::new("boot-missing");
    let error = open_store(&folder, &StorageConfig::default(), false).unwrap_err();
    assert!(matches!(&error, BootError::Store { error: StoreError::Missing { .. }, .. }), "{error:?}");
    assert!(error.to_string().contains("start the server once, it makes one"), "{error}");
    assert_eq!(fs::read_dir(&*folder).unwrap().count(), 0);
}

#[test]
fn a_certificate_that_cannot_be_used_is_named_with_its_domain() {
    let folder = Folder::new("boot-certificate");
    let (certificate, key) = folder.pair("a.example");
    let text = |name: &str, key: &str| {
        format!("[[domain]]\nname = \"{name}\"\ncertificate = \"a.example.pem\"\nkey = \"{key}\"\n")
    };
    let boot = prepare(&folder.config(&text("a.example", "a.example.key"))).unwrap();
    assert!(!boot.domains[0].self_signed && !boot.domains[0].is_new);
    drop(boot);
    let (_, other) = folder.pair("b.example");
    let rows = [
        (
            "b.example",
            "a.example.key",
            format!("no certificate for b.example: {}: not for b.example but for", certificate.display()),
        ),
        (
            "a.example",
            "b.example.key",
            format!("no certificate for a.example: {}: does not belong to", other.display()),
        ),
        ("a.example", "c.example.key", "No such file or directory".to_owned()),
    ];
    for (name, key, expected) in rows {
        let said = prepare(&folder.config(&text(name, key))).unwrap_err();
        assert!(said.contains(&expected), "{said}");
    }
    assert!(key.exists());
}

#[test]
fn a_broken_pair_of_the_servers_own_is_not_replaced_without_asking() {
    let folder = Folder::new("boot-own");
    let config = folder.config("");
    let made = prepare(&config).unwrap().domains[0].tls.clone().unwrap();
    fs::write(&made.certificate, "nonsense").unwrap();
    let said = prepare(&config).unwrap_err();
    assert!(said.ends_with("(the server made this one: remove both files, and it makes new ones)"), "{said}");
    assert_eq!(fs::read(&made.certificate).unwrap(), b"nonsense");
}

#[test]
fn a_domain_without_tls_has_no_certificate() {
    let folder = Folder::new("boot-plain");
    let boot = prepare(&folder.config("tls_required = false\n[[domain]]\nname = \"localhost\"\nself_signed = false\n"));
    let boot = boot.unwrap();
    assert!(boot.tls.is_none() && boot.domains[0].tls.is_none() && boot.domains[0].fingerprint.is_none());
}

#[test]
fn the_defaults_of_the_configuration_are_those_of_the_layers_beside_it() {
    let (config, disk) = (Config::default(), DiskOptions::default());
    assert_eq!(config.storage.cache_bytes, disk.cache_bytes as u64);
    assert_eq!(config.storage.reserve_bytes, disk.reserve_bytes);
    assert_eq!(config.scram_iterations, sasl::ITERATIONS_DEFAULT);
    let names: Vec<_> = config::SaslMechanism::ALL.iter().map(|mechanism| mechanism.name()).collect();
    assert!(names.iter().all(|name| sasl::Mechanism::parse(name).is_some()), "{names:?}");
}

fn faults(config: &Config) -> Vec<String> {
    let fault = |finding| match finding {
        Finding::Fault(what) => Some(what),
        Finding::Good(_) | Finding::Warning(_) => None,
    };
    check(config).into_iter().filter_map(fault).collect()
}

#[test]
fn a_check_finds_every_fault_and_makes_nothing() {
    let folder = Folder::new("boot-check");
    assert_eq!(faults(&folder.config("")), [""; 0]);
    assert!(!folder.join("data").exists());

    folder.pair("a.example");
    let (roots, _) = folder.pair("ca.example");
    let text = |roots: &str, key: &str| {
        format!(
            "[[domain]]\nname = \"a.example\"\ncertificate = \"a.example.pem\"\nkey = \"{key}\"\n\
             [[domain]]\nname = \"b.example\"\nself_signed = true\nclient_roots = \"{roots}\"\n"
        )
    };
    assert_eq!(faults(&folder.config(&text("ca.example.pem", "a.example.key"))), [""; 0]);
    let found = faults(&folder.config(&text("missing.pem", "ca.example.key")));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("a.example: ") && found[0].contains("does not belong to"), "{found:?}");
    assert!(found[1].starts_with("b.example: ") && found[1].contains("missing.pem: cannot be read"), "{found:?}");
    fs::write(roots, "nonsense").unwrap();
    assert_eq!(faults(&folder.config(&text("ca.example.pem", "a.example.key"))).len(), 1);
    assert!(!folder.join("data").exists());
    folder.file("data", "");
    assert!(faults(&folder.config(""))[0].contains("is not a folder"));
}

/// The certificates of `config`, as they are in use.
fn running(config: &Config) -> (Boot, TlsDomains) {
    let mut boot = prepare(config).unwrap();
    let tls = boot.tls.take().unwrap();
    (boot, tls)
}

#[test]
fn a_reload_follows_certificates_and_log_level_and_nothing_else() {
    let folder = Folder::new("boot-reload");
    let config = folder.config("[[domain]]\nname = \"a.example\"\n");
    let (boot, tls) = running(&config);
    let reloaded = reload(&config, &boot.data_dir, Some(&tls)).unwrap();
    assert!(!reloaded.needs_restart);
    assert_eq!(reloaded.domains[0].fingerprint, boot.domains[0].fingerprint);

    // From self-signed to a pair, as when the first real certificate comes.
    let (certificate, _) = folder.pair("a.example");
    let pair = "log_level = \"debug\"\n[[domain]]\nname = \"a.example\"\ncertificate = \"a.example.pem\"\nkey = \"a.example.key\"\n";
    folder.config(pair);
    let reloaded = reload(&config, &boot.data_dir, Some(&tls)).unwrap();
    assert_eq!(reloaded.log_level, log::LevelFilter::Debug);
    assert_eq!(reloaded.domains[0].fingerprint, Some(certs::fingerprint(&certificate).unwrap()));
    assert!(!reloaded.needs_restart);

    for more in ["legacy = false\n", "scram_iterations = 20000\n"] {
        folder.config(&format!("{more}{pair}"));
        assert!(reload(&config, &boot.data_dir, Some(&tls)).unwrap().needs_restart, "{more}");
    }
    folder.config(&format!("{pair}[[domain]]\nname = \"b.example\"\nself_signed = true\n"));
    let reloaded = reload(&config, &boot.data_dir, Some(&tls)).unwrap();
    assert!(reloaded.needs_restart && !reloaded.tls.has("b.example"));
}

#[test]
fn a_reload_that_fails_says_why() {
    let folder = Folder::new("boot-reload-fails");
    let (certificate, _) = folder.pair("a.example");
    let text = "[[domain]]\nname = \"a.example\"\ncertificate = \"a.example.pem\"\nkey = \"a.example.key\"\n";
    let config = folder.config(text);
    let (boot, tls) = running(&config);
    let mut reloader = boot.reloader(&config);
    assert!(reloader(Some(&tls)).is_ok());
    fs::write(&certificate, "nonsense").unwrap();
    let said = reloader(Some(&tls)).unwrap_err();
    assert!(said.starts_with("no certificate for a.example: "), "{said}");
    folder.file("stonechat.toml", "legacy = 1\n");
    let said = reloader(Some(&tls)).unwrap_err();
    assert!(said.contains("stonechat.toml:1: `legacy` is a whole number"), "{said}");
}

/// Without a file there is still something to load again: the certificates.
#[test]
fn the_defaults_can_be_reloaded() {
    let folder = Folder::new("boot-defaults");
    let config = Config { data_dir: folder.join("data"), ..Config::default() };
    assert_eq!(config.source, ConfigSource::Defaults);
    let (boot, tls) = running(&config);
    let made = boot.domains[0].tls.clone().unwrap();
    certs::make_self_signed("localhost", &made.certificate, &made.key).unwrap();
    let reloaded = reload(&config, &boot.data_dir, Some(&tls)).unwrap();
    assert_ne!(reloaded.domains[0].fingerprint, boot.domains[0].fingerprint);
    assert!(config.domains.iter().all(DomainConfig::has_tls));
}

/// A component's secret comes from a file that nobody else may read; what is wrong with it is said, and the secret never.
#[test]
fn the_secret_of_a_component_is_read_from_its_file() {
    let folder = Folder::new("boot-secret");
    let config = folder.config("[[component]]\nname = \"c.example\"\nsecret_file = \"c.secret\"\n");
    let path = folder.join("c.secret");
    let said = |why: &str| format!("no secret for the component c.example: {}: {why}", path.display());
    let missing = prepare(&config).unwrap_err();
    assert!(missing.starts_with(&said("No such file")), "{missing}");
    folder.file("c.secret", "hunter2 and more words\nsecond line\n");
    let rows = [(0o644, false), (0o604, false), (0o660, true), (0o640, true), (0o600, true)];
    for (mode, is_good) in rows {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let prepared = prepare(&config);
        assert_eq!(faults(&config).is_empty(), is_good, "{mode:o}");
        match prepared {
            Ok(boot) => {
                assert!(is_good, "{mode:o}");
                assert_eq!(boot.components, [("c.example".into(), Secret::new("hunter2 and more words".into()))]);
                assert!(!format!("{boot:?}").contains("hunter2"));
            }
            Err(refused) => {
                let why = format!("mode {mode:04o} lets everybody read it; run chmod 0640 or 0600 on it");
                assert_eq!((refused, is_good), (said(&why), false));
            }
        }
    }
    folder.file("c.secret", "\nsecond line\n");
    assert_eq!(prepare(&config).unwrap_err(), said("its first line is empty; write the secret there"));
    fs::write(&path, [0xFF, 0xFE]).unwrap();
    assert!(prepare(&config).unwrap_err().contains("UTF-8"));
}

#[test]
fn a_check_looks_at_what_components_need() {
    let folder = Folder::new("boot-component-check");
    let lines = "[[component]]\nname = \"c.example\"\nsecret = \"short\"\n\
        [[listener]]\nkind = \"component\"\nsocket = \"nowhere/c.sock\"\n\
        [[listener]]\nkind = \"component\"\naddresses = [\"192.0.2.1\"]\nin_the_clear = true\n";
    let config = folder.config(lines);
    let findings: Vec<String> = check(&config).iter().map(|finding| format!("{finding:?}")).collect();
    for expected in [
        "Good(\"the component c.example may connect\")",
        "Good(\"will listen on 192.0.2.1:5347 (components)\")",
        "Warning(\"components are awaited on 192.0.2.1:5347 in the clear",
        "Warning(\"the secret of the component c.example is short",
        "Fault(\"the socket ",
    ] {
        assert!(findings.iter().any(|found| found.starts_with(expected)), "{expected}: {findings:#?}");
    }
    assert!(!findings.concat().contains("\"short\""));
}
