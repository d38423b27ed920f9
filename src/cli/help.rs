//! What `--help` says, for the whole and for each verb.

/// What help is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    All,
    Serve,
    Check,
    User,
    Compact,
    Backup,
    Salvage,
    Export,
    Import,
    Invite,
    Announce,
    Motd,
    Status,
    Reload,
    Stop,
    Help,
}

/// Every verb.
pub(super) const VERBS: [(&str, Topic); 15] = [
    ("serve", Topic::Serve),
    ("check", Topic::Check),
    ("user", Topic::User),
    ("compact", Topic::Compact),
    ("backup", Topic::Backup),
    ("salvage", Topic::Salvage),
    ("export", Topic::Export),
    ("import", Topic::Import),
    ("invite", Topic::Invite),
    ("announce", Topic::Announce),
    ("motd", Topic::Motd),
    ("status", Topic::Status),
    ("reload", Topic::Reload),
    ("stop", Topic::Stop),
    ("help", Topic::Help),
];

/// The text about one verb, or about all.
pub(super) fn text(topic: Topic) -> String {
    let (usage, about) = match topic {
        Topic::All => return format!("{ALL}\n\n{COMMON}"),
        Topic::Serve => ("stonechat [serve]", SERVE),
        Topic::Check => ("stonechat check", CHECK),
        Topic::User => {
            ("stonechat user add|passwd|del|disable|enable ADDRESS\n       stonechat user list [DOMAIN]", USER)
        }
        Topic::Compact => ("stonechat compact", COMPACT),
        Topic::Backup => ("stonechat backup [--replace] FILE", BACKUP),
        Topic::Salvage => ("stonechat salvage FILE", SALVAGE),
        Topic::Export => ("stonechat export FILE", EXPORT),
        Topic::Import => (
            "stonechat import [--replace] FILE\n       stonechat import [--replace] --from prosody FOLDER|FILE",
            IMPORT,
        ),
        Topic::Invite => ("stonechat invite [--domain DOMAIN] [--days N] [NAME]", INVITE),
        Topic::Announce => ("stonechat announce [--domain DOMAIN] TEXT", ANNOUNCE),
        Topic::Motd => ("stonechat motd [--domain DOMAIN] TEXT|--clear", MOTD),
        Topic::Status => ("stonechat status", STATUS),
        Topic::Reload => ("stonechat reload", RELOAD),
        Topic::Stop => ("stonechat stop", STOP),
        Topic::Help => ("stonechat help [VERB]", "Says what the program, or one verb, does."),
    };
    format!("Usage: {usage}\n\n{about}\n\n{COMMON}")
}

const ALL: &str = "\
Stonechat: a Jabber/XMPP server that speaks both dialects of STARTTLS.

Usage: stonechat [--config FILE] [VERB]

Verbs:
  serve                  Serve until told to stop. The default.
  check                  Look at the configuration and everything it names; start nothing.
  user add ADDRESS       Make an account. The password is asked for, or read from standard input.
  user passwd ADDRESS    Give an account another password.
  user del ADDRESS       Remove an account.
  user disable ADDRESS   Let an account log in no more; user enable ADDRESS lets it again.
  user list [DOMAIN]     List the accounts of a domain, or of all.
  compact                Give unused room in the data file back. Only while the server does not run.
  backup FILE            Copy the whole store, while the server runs or while it does not.
  salvage FILE           Save what can still be read of a damaged store.
  export FILE            Write all accounts into a file that other servers can read (XEP-0227).
  import FILE            Take accounts over from such a file, or --from prosody FOLDER.
  invite [NAME]          Print a link with which somebody can make an account.
  announce TEXT          Tell everybody who is online.
  motd TEXT              Show everybody a message once, at their next login; --clear takes it back.
  status                 Say how the running server is.
  reload                 Have it load certificates and log level again.
  stop                   Have it say goodbye to everybody and end.
  help [VERB]            More about a verb. So does VERB --help.";

const COMMON: &str = "\
Options:
  -c, --config FILE      Use this configuration. Without it the first of these that is there:
                         ./stonechat.toml, /etc/stonechat/stonechat.toml; else the defaults:
                         the domain localhost, for this machine only.
  -h, --help             This text.
  -V, --version          The version.

Data is in the folder that the configuration calls data_dir, else in ./stonechat-data.
Environment: RUST_LOG says how much is logged, before log_level of the configuration does.
Exit codes: 0 done, 1 failed, 2 the command line is wrong, 3 the configuration is wrong.";

const INVITE: &str = "\
Prints a link with which one person can make one account, under NAME if it is given and under a name
of their own choice if not. It is good for seven days, or --days N. Registration must not be closed
(registration = \"invite\" in the configuration). The link is a secret: whoever has it can use it.";

const ANNOUNCE: &str = "\
Sends a headline to everybody who is online at the domain, the first of the configuration unless
--domain says which. The server must be running.";

const MOTD: &str = "\
Sets the message of the day of a domain, the first of the configuration unless --domain says which:
every account sees it once, at its next login. --clear takes it back.";

const SERVE: &str = "\
Serves until it is told to stop (SIGTERM, SIGINT, or `stonechat stop`), then says goodbye to every
client, and ends with 0. At the first start it makes the data folder, a key and a self-signed
certificate, and prints the certificate's fingerprint. SIGHUP, or `stonechat reload`, loads
certificates and log level again without dropping anybody. Only this verb ever makes a data folder.";

const CHECK: &str = "\
Reads the configuration as `serve` would, and every file it names: certificates, keys, roots,
revocation lists, the data folder. Prints what is good and what is not, one a line; ends with 3
if the server would not start. Makes and changes nothing, and may be used while the server runs.";

const USER: &str = "\
Makes, changes, removes and lists accounts. ADDRESS is localpart@domain, such as alice@localhost;
the domain must be hosted. Works while the server runs and while it does not.

A password is asked for twice on a terminal, unseen. Where standard input is no terminal its first
line is the password: printf '%s\\n' \"$PASSWORD\" | stonechat user add alice@localhost
It is never an argument, which every user of the machine could read. It is not stored: only SCRAM
keys derived from it are.

`passwd` leaves open sessions open. `del` ends them. `list` prints one address a line.";

const COMPACT: &str = "\
Rewrites the data file so that it takes no more room than what is in it: the file by itself never
shrinks. Only while the server does not run. Needs some free room beside the file.";

const BACKUP: &str = "\
Copies the whole store into FILE, which can be put in the place of store.redb. Works while the
server runs, without anybody waiting for it, and while it does not.

The copy is the store as it was at one moment near the end of the backup: everything that was
acknowledged before the backup began is in it, and every change whole or not at all.

FILE must not be there yet, unless --replace is given. It appears when it is whole and on disk, and
is for its owner only (mode 0600): whoever has it has the keys of all accounts. While it is written
it is FILE.new. A backup that fails leaves nothing behind. Certificates and the configuration are
not in it.";

const SALVAGE: &str = "\
Reads a store that the server refuses, or fails on, page by page, and writes what is whole into
FILE, a new store that can be put in the place of store.redb. The damaged one is not changed. Only
while the server does not run. A backup is better where there is one: what lay in a damaged page is
lost, and what is found in pages that the store had given up may be older than its last change;
both are counted at the end. FILE must not be there yet; it is for its owner only (mode 0600).";

const EXPORT: &str = "\
Writes all accounts, with keys, rosters, subscription requests, waiting messages, vCards, private
XML and block lists, into one XML file that other servers can read (XEP-0227). Passwords are not in
it, SCRAM keys are: whoever has the file could log in with them at servers that use the same ones,
so it is made for its owner only (mode 0600). It appears under its name when it is whole. Only while
the server does not run: `backup` copies the store of a running one, for Stonechat alone.";

const IMPORT: &str = "\
Takes accounts over from a file of XEP-0227, as `export` and other servers write it, with all files
that it includes; or, with --from prosody, from Prosody's data folder (such as /var/lib/prosody), or
its SQLite file (prosody.sqlite, in that folder or named itself). Users keep their passwords.
Only while the server does not run; for Prosody's data, only while Prosody does not run either.

Accounts that are there already stay as they are and are named; --replace puts the file's in their
place. What cannot be taken over is named, the rest is; at the end all is counted. After a crash the
same import, run again, goes on.";

const STATUS: &str = "\
Prints how the running server is: version, process, since when, connections, sessions, counters;
one a line. Ends with 1 if no server runs on the data folder.";

const RELOAD: &str = "\
Has the running server load certificates, keys, client roots, revocation lists and the log level
again, as SIGHUP does. Nobody is dropped. If anything does not load, the old ones stay and the
reason is printed. Everything else of the configuration needs a restart.";

const STOP: &str = "\
Has the running server end as SIGTERM does: every client is told, everything is on disk.";
