//! Every key of the file: its name, what its value must be, and a line that is right.
//!
//! Errors are made of these rows and nothing else, so that what they propose to write is always accepted (a test
//! writes them all). The keys of `[limits]` have their table in `limits`.

use super::limits;
use super::read::Key;

macro_rules! keys {
    ($list:ident: $($constant:ident = $name:literal, $expected:expr, $write:literal;)*) => {
        $(pub(super) const $constant: Key<'static> = Key { name: $name, expected: $expected, write: $write };)*
        pub(super) const $list: &[Key<'static>] = &[$($constant,)*];
    };
}

const BOOLEAN: &str = "true or false";
const A_PATH: &str = "a path in quotes, relative to this file";
const MECHANISM_NAMES: &str = "a list of SCRAM-SHA-256-PLUS, SCRAM-SHA-1-PLUS, SCRAM-SHA-256, SCRAM-SHA-1, PLAIN and EXTERNAL, the preferred first";

keys! { TOP:
    DATA_DIR = "data_dir", A_PATH, r#"data_dir = "/var/lib/stonechat""#;
    USER = "user", "the name of a user of this machine in quotes", r#"user = "stonechat""#;
    SANDBOX = "sandbox", BOOLEAN, "sandbox = true";
    LOG_LEVEL = "log_level", "one of off, error, warn, info, debug and trace", r#"log_level = "warn""#;
    TLS_REQUIRED = "tls_required", BOOLEAN, "tls_required = true";
    LEGACY = "legacy", BOOLEAN, "legacy = true";
    MECHANISMS = "mechanisms", MECHANISM_NAMES, r#"mechanisms = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN"]"#;
    SCRAM_ITERATIONS = "scram_iterations", "a whole number from 4096 to 5000000", "scram_iterations = 10000";
    ADMINS = "admins", "a list of account addresses in quotes", r#"admins = ["alice@localhost"]"#;
    REGISTRATION = "registration", r#""closed", "invite" or "open""#, r#"registration = "invite""#;
    CONTACT = "contact", "a section", "[contact]\nabuse = [\"mailto:abuse@example.org\"]";
    COMPONENT = "component", "one [[component]] section for each component", "[[component]]\nname = \"gateway.example.org\"\nsecret = \"words\"";
    DOMAIN = "domain", "one [[domain]] section for each domain", "[[domain]]\nname = \"example.org\"";
    LISTENER = "listener", "one [[listener]] section for each kind of listener", "[[listener]]\nkind = \"starttls\"";
    LIMITS = "limits", "a section", "[limits]\nconnections = 50000";
    STORAGE = "storage", "a section", "[storage]\ncache_bytes = 262144";
}

keys! { IN_DOMAIN:
    NAME = "name", "a domain name in quotes", r#"name = "example.org""#;
    CERTIFICATE = "certificate", A_PATH, r#"certificate = "example.org.pem""#;
    KEY = "key", A_PATH, r#"key = "example.org.key""#;
    SELF_SIGNED = "self_signed", BOOLEAN, "self_signed = true";
    CLIENT_ROOTS = "client_roots", A_PATH, r#"client_roots = "client-ca.pem""#;
    CRLS = "crls", "a list of paths in quotes, relative to this file", r#"crls = ["client-ca.crl"]"#;
    CLIENT_SERVER_AUTH = "client_server_auth", BOOLEAN, "client_server_auth = false";
    DOMAIN_TLS_REQUIRED = "tls_required", BOOLEAN, "tls_required = true";
    DOMAIN_MECHANISMS = "mechanisms", MECHANISM_NAMES, r#"mechanisms = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN"]"#;
    ANONYMOUS = "anonymous", BOOLEAN, "anonymous = false";
}

const CONTACT_URIS: &str = "a list of addresses in quotes, each with its scheme";

keys! { CONTACTS:
    ABUSE = "abuse", CONTACT_URIS, r#"abuse = ["mailto:abuse@example.org"]"#;
    ADMIN = "admin", CONTACT_URIS, r#"admin = ["xmpp:admin@example.org"]"#;
    FEEDBACK = "feedback", CONTACT_URIS, r#"feedback = ["mailto:feedback@example.org"]"#;
    SALES = "sales", CONTACT_URIS, r#"sales = ["mailto:sales@example.org"]"#;
    SECURITY = "security", CONTACT_URIS, r#"security = ["mailto:security@example.org"]"#;
    STATUS = "status", CONTACT_URIS, r#"status = ["https://status.example.org"]"#;
    SUPPORT = "support", CONTACT_URIS, r#"support = ["mailto:support@example.org"]"#;
}

keys! { IN_COMPONENT:
    COMPONENT_NAME = "name", "a domain name in quotes", r#"name = "gateway.example.org""#;
    SECRET = "secret", "a text in quotes", r#"secret = "words that nobody guesses""#;
    SECRET_FILE = "secret_file", A_PATH, r#"secret_file = "gateway.secret""#;
}

keys! { IN_LISTENER:
    KIND = "kind", r#""starttls", "direct" or "component""#, r#"kind = "starttls""#;
    ADDRESSES = "addresses", "a list of IP addresses in quotes, each with or without a port", r#"addresses = ["0.0.0.0:5222", "[::]:5222"]"#;
    SOCKET = "socket", A_PATH, r#"socket = "components.sock""#;
    SOCKET_MODE = "socket_mode", r#""0600" (the owner alone) or "0660" (the group, too)"#, r#"socket_mode = "0660""#;
    IN_THE_CLEAR = "in_the_clear", BOOLEAN, "in_the_clear = true";
}

keys! { IN_STORAGE:
    CACHE_BYTES = "cache_bytes", "a whole number from 65536 to 1073741824", "cache_bytes = 262144";
    RESERVE_BYTES = "reserve_bytes", "a whole number from 0 to 1099511627776", "reserve_bytes = 4194304";
}

/// The rows of `[limits]`, whose texts are made from its table.
pub(super) struct LimitTexts(Vec<(String, String)>);

impl LimitTexts {
    pub(super) fn new() -> Self {
        let row = |key: &limits::LimitKey| {
            (format!("a whole number from {} to {}", key.least, key.most), format!("{} = {}", key.name, key.default))
        };
        Self(limits::KEYS.iter().map(row).collect())
    }

    pub(super) fn keys(&self) -> Vec<Key<'_>> {
        let rows = limits::KEYS.iter().zip(&self.0);
        rows.map(|(key, (expected, write))| Key { name: key.name, expected, write }).collect()
    }
}

/// Every section with its keys, to tell where a misplaced one belongs.
pub(super) type Sections<'k> = &'k [(&'static str, &'k [Key<'k>])];
